"""The target `process`: instances are programs of this machine, on loopback ports, kept by the supervisor.

An instance gets a clean environment: its variables, `PORT`, and the few words below that any program needs. What
belongs to the caller's shell or virtual environment does not reach it, so that what runs does not depend on them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, Labels, Problem, RepositoryIdentity, Secret
from deploykit.process.files import write_atomically
from deploykit.process.foreground import Identity, run_in_foreground
from deploykit.process.supervisor.client import base_interpreter
from deploykit.process.supervisor.interface import Program, ProgramStatus
from deploykit.targets.environment_lock import EnvironmentLock
from deploykit.targets.interface import (
    Instance,
    InstanceSpec,
    InstanceState,
    LockHolder,
    OneOff,
    OneOffResult,
    require_same_version,
)
from deploykit.targets.logs import Follower, follow, prune, rotated_log, tail
from deploykit.targets.ports import LOOPBACK, free_port
from deploykit.targets.program_user import ProgramUser

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from deploykit.process.supervisor.client import Supervisor
    from deploykit.settings.paths import StatePaths

__all__ = ["OneOffTimedOut", "ProcessTarget"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "TMPDIR", "TZ", "USER")
_OF_THE_USER = ("HOME", "LOGNAME", "TMPDIR", "USER")
_KIND = "deploykit"  # the label that distinguishes the target's programs from those of edge and database
_INSTANCE = "instance"
_ONE_OFF = "one-off"
_STEP_SECONDS = 0.02
_LATE_CODE_SECONDS = 4.0
_KEPT_LOGS = 40
_ONE_OFF_SECONDS = 3_600.0
"""After so long nobody waits for a one-off command that has ended."""
_TAIL = 20


class OneOffTimedOut(DeploykitError):
    """A one-off command was ended with its children since it took longer than its `timeout`."""


class ProcessTarget:
    """One app in one environment on this machine. `avoid` are ports that no instance may get, such as the edge's.

    `wait` sleeps for so many seconds; it may raise Cancelled.
    """

    name = "process"
    starts_at_once = False

    def __init__(  # noqa: PLR0913 - where it is, and what is passed in for tests; by keyword
        self,
        app: str,
        environment: str,
        paths: StatePaths,
        supervisor: Supervisor,
        *,
        avoid: Collection[int] = (),
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._app = app
        self._environment = environment
        self._paths = paths
        self._supervisor = supervisor
        self._avoid = frozenset(avoid)
        self._wait = wait
        self._lock = EnvironmentLock(paths.root, clock=clock)
        self._prepared: set[str] = set()

    def preflight(self) -> Sequence[Problem]:
        problems = []
        if not sys.platform.startswith(("linux", "darwin")):
            problems.append(
                Problem(f"the target process needs Linux or macOS, this is {sys.platform}", "set another target")
            )
        there = next(folder for folder in (self._paths.root, *self._paths.root.parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            problems.append(
                Problem(
                    f"the state folder {self._paths.root} can't be written",
                    f"chown or chmod {there}, or set DEPLOYKIT_STATE_DIR",
                )
            )
        if not os.access(base_interpreter(), os.X_OK):
            problems.append(
                Problem(
                    f"the base Python interpreter {base_interpreter()} is gone", "create the virtual environment again"
                )
            )
        return problems

    # ---- instances

    def start(self, spec: InstanceSpec) -> Instance:
        known = self._supervisor.programs()
        for status in known:
            if status.name == spec.name and status.alive:
                present = _instance(status)
                require_same_version(spec, present)
                return present
        self._forget_one_offs(known, spec.labels.release)
        prune(self._logs, used={status.log.name for status in known}, keep=_KEPT_LOGS)
        taken = {int(status.labels["port"]) for status in known if status.labels.get(_KIND) == _INSTANCE}
        port = free_port(self._avoid | taken)
        labels = {
            **spec.labels.as_json(),
            _KIND: _INSTANCE,
            "process": spec.process,
            "replica": str(spec.replica),
            "port": str(port),
        }
        user = self._user(spec.user)
        program = Program(
            name=spec.name,
            argv=tuple(word.replace("{port}", str(port)) for word in spec.argv),
            cwd=spec.cwd,
            env={**_program_environment(spec.variables, user), "PORT": str(port)},
            log=self._log(spec.name),
            user=spec.user,
            groups=user.groups if user else (),
            stop_timeout=spec.stop_timeout,
            labels=labels,
        )
        return _instance(self._supervisor.start(program))

    def _forget_one_offs(self, known: Sequence[ProgramStatus], release: str) -> None:
        """Those of other releases that ended without a caller, who was killed: the supervisor keeps their variables."""
        for status in known:
            left = status.labels.get(_KIND) == _ONE_OFF and not status.alive and status.labels["release"] != release
            if left and status.started_at < time.time() - _ONE_OFF_SECONDS:
                self._supervisor.stop(status.name)

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        self._supervisor.keep_alive(name, enabled=enabled)

    def stop(self, name: str, *, timeout: float) -> None:
        self._supervisor.stop(name, timeout=timeout)

    def instances(self) -> Sequence[Instance]:
        return tuple(_instance(status) for status in self._supervisor.programs() if self._is_ours(status))

    def instance(self, name: str) -> Instance | None:
        return next((found for found in self.instances() if found.name == name), None)

    def _is_ours(self, status: ProgramStatus) -> bool:
        wanted = (_INSTANCE, self._app, self._environment)
        return tuple(status.labels.get(key) for key in (_KIND, "app", "environment")) == wanted

    # ---- logs

    @property
    def _logs(self) -> Path:
        return self._paths.supervisor / "logs"

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def logs(self, name: str, *, lines: int = 20) -> Sequence[str]:
        return tail(self._log(name), lines)

    def follow(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        return follow({name: self._log(name) for name in names})

    # ---- one-off commands

    def run(self, one_off: OneOff, *, on_line: Callable[[str], None] | None = None) -> OneOffResult:
        """Run it under the supervisor, so that a caller that was killed finds it again: the same command of the same
        release is never run twice at a time, the second call waits for the first run's end.

        Whatever interrupts the caller otherwise (a cancellation, Ctrl-C, an error in `on_line`) ends the command with
        its children.
        """
        digest = hashlib.sha256("\0".join(one_off.argv).encode()).hexdigest()[:8]
        name = f"{one_off.labels.release}-run-{digest}"
        log = self._log(name)
        started = time.monotonic()
        status = self._supervisor.status(name)
        if status is None or not status.alive:
            log.unlink(missing_ok=True)
            rotated_log(log).unlink(missing_ok=True)
            user = self._user(one_off.user)
            status = self._supervisor.start(
                Program(
                    name=name,
                    argv=one_off.argv,
                    cwd=one_off.cwd,
                    env=_program_environment(one_off.variables, user),
                    log=log,
                    user=one_off.user,
                    groups=user.groups if user else (),
                    labels={**one_off.labels.as_json(), _KIND: _ONE_OFF},
                )
            )
        output: list[str] = []
        follower = Follower(log, position=0)

        def read_new_lines(*, last: bool) -> None:
            for line in follower.lines(last=last):
                output.append(line)
                if on_line is not None:
                    on_line(line)

        try:
            while status is not None and status.alive:
                read_new_lines(last=False)
                if time.monotonic() - started > one_off.timeout:
                    raise OneOffTimedOut(
                        f"{PurePath(one_off.argv[0]).name} did not end within {one_off.timeout:g} s and was ended",
                        details=output[-_TAIL:],
                    )
                self._wait(_STEP_SECONDS)
                status = self._supervisor.status(name)
            read_new_lines(last=True)
            status = self._with_code(name, status)
        finally:
            self._supervisor.stop(name)
        if status is None or status.exit_code is None:
            raise DeploykitError(
                f"{PurePath(one_off.argv[0]).name} was ended by somebody else, its exit code is not known",
                details=output[-_TAIL:],
                next_step="run the same command again",
            )
        return OneOffResult(exit_code=status.exit_code, output=tuple(output), seconds=time.monotonic() - started)

    def attach(self, one_off: OneOff, redact: Callable[[str], str]) -> int:
        """Run it as a child of this process, which has the terminal."""
        user = self._user(one_off.user)
        env = _program_environment(one_off.variables, user)
        identity = Identity(uid=user.uid, gid=user.gid, groups=user.groups) if user else None
        return run_in_foreground(one_off.argv, cwd=one_off.cwd, env=env, redact=redact, identity=identity)

    def _user(self, name: str) -> ProgramUser | None:
        """The user of that name or number, who owns what it has to; None: whoever runs this."""
        user = ProgramUser.find(name, self._paths)
        if user is not None and name not in self._prepared:
            user.prepare(self._paths)
            self._prepared.add(name)
        return user

    def _with_code(self, name: str, status: ProgramStatus | None) -> ProgramStatus | None:
        """The exit code of a process that outlived a killed supervisor comes late, if at all."""
        deadline = time.monotonic() + _LATE_CODE_SECONDS
        while status is not None and status.exit_code is None and time.monotonic() < deadline:
            self._wait(_STEP_SECONDS)
            status = self._supervisor.status(name)
        return status

    # ---- the lock

    def lock(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        return self._lock.acquire(owner, reason, token=token, lease=lease)

    def unlock(self, owner: str, *, token: int) -> None:
        self._lock.release(owner, token=token)

    def lock_holder(self) -> LockHolder | None:
        return self._lock.holder()

    def remove_lock(self) -> None:
        """Nothing is to be done: it is a file of the environment's folder, and not in the way."""

    # ---- whose it is

    @property
    def _claims(self) -> Path:
        return self._paths.root / "repositories.json"

    def claim(self, repositories: Sequence[RepositoryIdentity]) -> None:
        self._paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self._claims, json.dumps([each.as_json() for each in repositories], indent=1), durable=True)

    def repositories(self) -> Sequence[RepositoryIdentity]:
        try:
            return [RepositoryIdentity.from_json(each) for each in json.loads(self._claims.read_text("utf-8"))]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeploykitError(
                f"it can't be read whose environment this is: {error}",
                next_step=f"make sure that it is this repository's, then remove {self._claims}",
            ) from None

    # ---- the end

    def down(self) -> None:
        self._supervisor.shutdown()


def _program_environment(variables: Mapping[str, str | Secret], user: ProgramUser | None) -> dict[str, str]:
    """The whole environment of a program. Output is not held back in a buffer: a log that comes late is no log."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if user is not None:
        passed = {name: value for name, value in passed.items() if name not in _OF_THE_USER} | dict(user.variables)
    given = {name: value.reveal() if isinstance(value, Secret) else value for name, value in variables.items()}
    return {"PATH": _PATH, "PYTHONUNBUFFERED": "1", **passed, **given}


def _instance(status: ProgramStatus) -> Instance:
    """What the supervisor knows, in the target's words: STARTING is one that waits to be started again."""
    labels = status.labels
    state = InstanceState.STARTING if status.keep_alive else InstanceState.EXITED
    return Instance(
        name=status.name,
        labels=Labels(**{name: labels.get(name, "") for name in Labels.__dataclass_fields__}),
        process=labels["process"],
        replica=int(labels["replica"]),
        state=InstanceState.RUNNING if status.alive else state,
        host=LOOPBACK,
        port=int(labels["port"]),
        started_at=status.started_at,
        restarts=status.restarts,
        exit_code=status.exit_code,
        pid=status.pid,
    )
