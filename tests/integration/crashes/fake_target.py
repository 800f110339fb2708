"""A target without processes: instances are entries in memory, and their programs say what they would do."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, Secret
from deploykit.targets.interface import Instance, InstanceState, LockHolder, OneOffResult, require_same_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.model import Problem, RepositoryIdentity
    from deploykit.targets.interface import InstanceSpec, OneOff

SECONDS = 0.005
"""Between two looks at something that changes by itself."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What an instance or a one-off command does: it prints `lines` and ends with `exit_code`; None: it runs on.

    `answers`: it listens. `ends_after_answer`: it ends with that code when it has answered. `deaf`: to SIGTERM.
    """

    lines: tuple[str, ...] = ()
    exit_code: int | None = None
    answers: bool = False
    ends_after_answer: int | None = None
    deaf: bool = False
    line_after_line: bool = False


@dataclass
class Machine:
    """What is left when a process dies: instances, the last lines of each, and who holds the environment."""

    instances: dict[str, Instance] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    variables: dict[str, dict[str, str]] = field(default_factory=dict)
    trusted: set[str] = field(default_factory=set)
    logs: dict[str, list[str]] = field(default_factory=dict)
    lock: LockHolder | None = None
    ports: int = 20_000
    repositories: tuple[RepositoryIdentity, ...] = ()

    def running(self, name: str) -> bool:
        return name in self.instances and self.instances[name].state is InstanceState.RUNNING

    def ask(self, instance: Instance) -> str | None:
        """What it answers on its port, None while nothing listens there."""
        found = self.instances.get(instance.name)
        if found is None or not self.running(found.name) or found.port != instance.port:
            return None
        program = self.programs[found.name]
        if not program.answers:
            return None
        if program.ends_after_answer is not None:
            self.end(found.name, program.ends_after_answer)
        return f"{found.port} {self.variables[found.name].get('WORD', '')}"

    def end(self, name: str, exit_code: int) -> None:
        """It ends by itself; what is trusted is started again."""
        found = self.instances[name]
        if name in self.trusted:
            self.instances[name] = replace(found, restarts=found.restarts + 1)
        else:
            self.instances[name] = replace(found, state=InstanceState.EXITED, exit_code=exit_code, pid=None)


def _directly(_name: str, change: Callable[[], Any]) -> Any:
    return change()


class FakeTarget:
    """Implements `Target` on a `Machine`. `write` makes each change, given its name.

    `does` tells what a program of that argv does, given its variables. `starts_at_once` also makes of starting and
    ending two changes each, as on an engine, where a container is created and started, ended and removed.
    """

    name = "fake"

    def __init__(
        self,
        machine: Machine,
        does: Callable[[Sequence[str], dict[str, str]], Program],
        *,
        starts_at_once: bool = False,
        write: Callable[[str, Callable[[], Any]], Any] = _directly,
    ) -> None:
        self.starts_at_once = starts_at_once
        self._machine = machine
        self._does = does
        self._write = write
        self._one = threading.Lock()

    def preflight(self) -> Sequence[Problem]:
        return ()

    # -- instances

    def start(self, spec: InstanceSpec) -> Instance:
        known = self.instance(spec.name)
        if known is not None and known.state is InstanceState.RUNNING:
            require_same_version(spec, known)
            return known
        with self._one:
            self._machine.ports += 1
            port = self._machine.ports
        variables = {
            key: value.reveal() if isinstance(value, Secret) else value for key, value in spec.variables.items()
        }
        made = Instance(
            name=spec.name,
            labels=spec.labels,
            process=spec.process,
            replica=spec.replica,
            state=InstanceState.EXITED,
            host="127.0.0.1",
            port=port,
            started_at=time.time(),
        )

        def create() -> None:
            self._machine.trusted.discard(spec.name)
            self._machine.programs[spec.name] = self._does(spec.argv, variables)
            self._machine.variables[spec.name] = variables
            self._machine.instances[spec.name] = made

        def start() -> None:
            program = self._machine.programs[spec.name]
            self._machine.logs[spec.name] = list(program.lines)
            self._machine.instances[spec.name] = replace(made, state=InstanceState.RUNNING, pid=port)
            if program.exit_code is not None:
                self._machine.end(spec.name, program.exit_code)

        if self.starts_at_once:
            self._write(f"create {spec.name}", create)
            self._write(f"start {spec.name}", start)
        else:
            self._write(f"start {spec.name}", lambda: (create(), start()))
        return replace(made, state=InstanceState.RUNNING, pid=port)

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        keep = self._machine.trusted.add if enabled else self._machine.trusted.discard
        self._write(f"keep_alive {name}", lambda: keep(name))

    def stop(self, name: str, *, timeout: float) -> None:
        if name not in self._machine.instances:
            return
        if self._machine.programs[name].deaf:
            time.sleep(timeout)
        if self.starts_at_once:
            self._write(f"end {name}", lambda: (self._machine.trusted.discard(name), self._machine.end(name, -15)))
        self._write(f"remove {name}", lambda: self._machine.instances.pop(name))

    def instances(self) -> Sequence[Instance]:
        return tuple(self._machine.instances.values())

    def instance(self, name: str) -> Instance | None:
        return self._machine.instances.get(name)

    # -- logs and one-off commands

    def logs(self, name: str, *, lines: int = 20) -> Sequence[str]:
        return self._machine.logs.get(name, [])[-lines:]

    def follow(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        sources = {name: iter(self._machine.logs[name]) for name in names}
        while sources:
            for name, lines in list(sources.items()):
                if (line := next(lines, None)) is None:
                    del sources[name]
                else:
                    yield name, line

    def run(self, one_off: OneOff, *, on_line: Callable[[str], None] | None = None) -> OneOffResult:
        variables = {
            key: value.reveal() if isinstance(value, Secret) else value for key, value in one_off.variables.items()
        }
        program = self._does(one_off.argv, variables)
        began = time.monotonic()
        for line in self._write("run", lambda: program.lines):
            if on_line is not None:
                on_line(line)
        if program.exit_code is None:
            raise DeploykitError(f"it did not end within {one_off.timeout:g} s and was ended", details=program.lines)
        return OneOffResult(exit_code=program.exit_code, output=program.lines, seconds=time.monotonic() - began)

    # -- the lock

    def lock(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        def take() -> LockHolder | None:
            last = self._machine.lock
            if last is not None:
                held_by_other = last.expires_at > time.time() and (last.owner, last.token) != (owner, token)
                if held_by_other or token < last.token:
                    return last
            self._machine.lock = LockHolder(owner=owner, reason=reason, token=token, expires_at=time.time() + lease)
            return None

        with self._one:
            return self._write("target.lock", take)

    def unlock(self, owner: str, *, token: int) -> None:
        def give_back() -> None:
            last = self._machine.lock
            if last is not None and (last.owner, last.token) == (owner, token):
                self._machine.lock = replace(last, expires_at=0.0)

        self._write("target.unlock", give_back)

    def lock_holder(self) -> LockHolder | None:
        last = self._machine.lock
        return last if last is not None and last.expires_at > time.time() else None

    def remove_lock(self) -> None: ...

    # -- whose it is

    def claim(self, repositories: Sequence[RepositoryIdentity]) -> None:
        self._write("target.claim", lambda: setattr(self._machine, "repositories", tuple(repositories)))

    def repositories(self) -> Sequence[RepositoryIdentity]:
        return self._machine.repositories

    def down(self) -> None:
        self._write("down", self._machine.instances.clear)
