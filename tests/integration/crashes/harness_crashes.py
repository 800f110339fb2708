"""An environment whose commands die where a test says: the real ledger, pipeline, rollout engine and performer, on fakes."""

from __future__ import annotations

import contextlib
import copy
import inspect
import shutil
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_place import FakePlace, State
from mortal import Crash, Mortal, MortalLedger

from deploykit.ledger import open_ledger
from deploykit.ledger.sql import SqlLedger
from deploykit.model import DeploykitError
from deploykit.release.owner import Owner
from deploykit.release.releaser import Releaser
from deploykit.release.reporter import Silent
from deploykit.release.status import read_status
from deploykit.release.surroundings import Surroundings
from deploykit.settings import load
from deploykit.settings.paths import StatePaths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITING = frozenset(
    name
    for name, method in inspect.getmembers(SqlLedger, inspect.isfunction)
    if not name.startswith("_") and "_write" in method.__code__.co_names
)
"""The ledger's public methods that write, whatever their names."""

SETTINGS = """
[tool.deploykit]
app = "shop"
[tool.deploykit.service]
command = "serve --port {{port}}"
health = "/health"
replicas = {replicas}
warm_for = {warm_for}
[tool.deploykit.environments.local]
target = "process"
preflight = ["settings", "variables", "target"]
"""


@dataclass
class Ended:
    """How a command ended: its exit code, None when it died; what it wrote, in order; and then, in the ledger, the tree of what
    is live and of what that was released over, "" for none.
    """

    code: int | None
    said: str
    writes: list[str]
    live: str
    previous: str


@dataclass
class Environment:
    """One environment in `folder`. Each command is a process of its own, and knows of the others by what they left."""

    folder: Path
    shared: bool
    state: State = field(default_factory=State)
    pid: int = 1
    unserved: list[str] = field(default_factory=list)

    @property
    def paths(self) -> StatePaths:
        return StatePaths(self.folder / "state", "shop", "local")

    def settings(self, *, warm_for: float, replicas: int = 1) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = SETTINGS.format(warm_for=warm_for, replicas=replicas)
        (self.folder / "pyproject.toml").write_text(text)
        self.paths.root.mkdir(parents=True, exist_ok=True)
        self.loaded = load(self.folder)
        with self._opened(Mortal()):
            """The ledger is made: that takes longer than a release here, and each case would do it."""

    def saved(self) -> Environment:
        """Another one like it, which `restore` takes up."""
        copied = self.folder.with_name(f"{self.folder.name}.saved")
        shutil.copytree(self.folder, copied)
        return Environment(copied, self.shared, copy.deepcopy(self.state), self.pid)

    def restore(self, saved: Environment) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(saved.folder, self.folder)
        self.state, self.pid = copy.deepcopy(saved.state), saved.pid
        self.unserved = []

    # -- commands

    def me(self) -> Owner:
        """The process of the present command; those before it have ended."""
        return Owner(who="robin", host=socket.gethostname(), pid=self.pid, started="now")

    def __call__(self, command: str, tree: str = "", *, at: int | None = None, when: str = "after") -> Ended:
        """Run `release`, `resume` or `rollback`, which dies `when` it has come to its write number `at`."""
        process = Mortal(at, when)
        with self._opened(process, tree) as around:
            if around.ledger.live() is not None:  # there are users, and each of them gets an answer
                process.noticed = lambda: self._look_for_users(process.writes[-1])
            try:
                report = getattr(Releaser(around=around, reporter=Silent()), command)()
                code, said = report.exit_code, report.reason
            except DeploykitError as error:
                code, said = error.exit_code, error.message
            except Crash:
                code, said = None, ""
            ended = Ended(code, said, process.writes, *self._in_ledger(around))
        self.pid += 1
        return ended

    def _look_for_users(self, write: str) -> None:
        if "" in self.state.serving():
            self.unserved.append(write)

    @contextlib.contextmanager
    def _opened(self, process: Mortal, tree: str = "") -> Iterator[Surroundings]:
        environment = self.loaded.environment("local")
        around = Surroundings(self.folder, "shop", "local", self.paths, self.loaded, environment)
        ledger = open_ledger(self.paths.ledger, app="shop", environment="local")
        vars(around)["ledger"] = MortalLedger(ledger, process, WRITING)
        vars(around)["place"] = FakePlace(self.state, process, tree, shared=self.shared)
        try:
            yield around
        finally:
            ledger.close()

    # -- what is found afterwards

    def _in_ledger(self, around: Surroundings) -> tuple[str, str]:
        ledger = around.ledger.real
        live = ledger.live()
        previous = ledger.release(live.previous) if live is not None and live.previous else None
        return live.tree if live is not None else "", previous.tree if previous is not None else ""

    def problems(self) -> list[str]:
        """What is wrong after a command has ended: the record, the locks, what runs, and who was left without an answer."""
        with self._opened(Mortal()) as around:
            status = read_status(around)
            found = [f"the record: {problem.message}" for problem in around.ledger.check()]
            holder = around.target.lock_holder()
        found += [f"the lock: {status.lock}"] if status.lock else []
        found += [f"on the target: {holder.owner}"] if holder else []
        found += [f"unfinished: {status.unfinished}"] if status.unfinished else []
        found += [f"{item.name} is left over" for item in status.instances if item.role == "left over"]
        found += [f"users got nothing after {write!r}" for write in self.unserved]
        proxy = self.state.proxy
        found += ["the port takes connections, and nobody answers"] if proxy.bound and not proxy.runs else []
        # A server without weight that only one of them knows does no harm.
        weights = [{n: e.weight for n, e in table.items() if e.weight} for table in (proxy.running, proxy.file)]
        if proxy.runs and weights[0] != weights[1]:
            found.append(f"the proxy has the weights {weights[0]}, and would come back with {weights[1]}")
        return found
