"""An environment whose commands run in this process: the real ledger, workflow and rollout engine, on fakes."""

from __future__ import annotations

import contextlib
import copy
import inspect
import shutil
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fake_hosting import FakeHosting, State
from writes import WatchedLedger, Writes

from deploykit.ledger.sql import SqlLedger, open_ledger
from deploykit.model import DeploykitError, RepositoryIdentity
from deploykit.release.environment import Environment
from deploykit.release.environment.owner import Owner
from deploykit.release.queries.status import read_status
from deploykit.release.version.repository import Repository
from deploykit.release.workflow.release import release
from deploykit.release.workflow.resume import resume
from deploykit.release.workflow.rollback import rollback
from deploykit.settings.loader import load
from deploykit.settings.paths import StatePaths
from tests.shared.reporters import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploykit.settings.loader import Loaded

WRITING = frozenset(
    name
    for name, method in inspect.getmembers(SqlLedger, inspect.isfunction)
    if not name.startswith("_") and "_write" in method.__code__.co_names
)
"""The ledger's public methods that write, whatever their names."""

COMMANDS = {"release": release, "resume": resume, "rollback": rollback}

SETTINGS = """
[tool.deploykit]
app = "shop"
[tool.deploykit.service]
command = "serve --port {{port}}"
health = "/health"
replicas = {replicas}
warm_for = {warm_for}
[tool.deploykit.database]
migrations = ""
[tool.deploykit.environments.local]
target = "process"
preflight = ["settings", "variables", "target"]
{strategy}
"""


class Processes:
    """Each command counts as a process of its own: the present one lives, and those before it have ended."""

    def __init__(self) -> None:
        self.pid = 0

    def me(self) -> Owner:
        return Owner(who="robin", host=socket.gethostname(), pid=self.pid, started="now")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, why, and the names of what it wrote."""

    code: int
    reason: str
    writes: list[str]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One environment, in `folder` and `state`. `shared`: its hosting is like an engine, not like this machine."""

    folder: Path
    loaded: Loaded
    processes: Processes
    shared: bool
    state: State = field(default_factory=State)

    @classmethod
    def make(cls, folder: Path, processes: Processes, *, shared: bool, **settings: object) -> Scene:
        """`settings` fill SETTINGS."""
        folder.mkdir()
        (folder / "pyproject.toml").write_text(SETTINGS.format(**settings))
        made = cls(folder=folder, loaded=load(folder), processes=processes, shared=shared)
        made.paths.root.mkdir(parents=True)
        return made

    @property
    def paths(self) -> StatePaths:
        return StatePaths(self.folder / "state", "shop", "local")

    def copied(self, folder: Path) -> Scene:
        """Another one, as this one is at this moment."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder, loaded=replace(self.loaded, root=folder), state=copy.deepcopy(self.state))

    def __call__(self, command: str, tree: str, writes: Writes | None = None) -> Ended:
        """Run `release`, `resume` or `rollback`, where the sources are `tree`."""
        self.processes.pid += 1
        (self.folder / "tree").write_text(tree)
        writes = writes or Writes()
        with self._opened(writes) as environment:
            try:
                report = COMMANDS[command](environment, SilentReporter())
            except DeploykitError as error:
                return Ended(error.exit_code, error.message, writes.names)
            return Ended(report.exit_code, report.reason, writes.names)

    @contextlib.contextmanager
    def _opened(self, writes: Writes) -> Iterator[Environment]:
        environment = Environment(self.folder, self.paths, Repository(self.loaded, "local"))
        ledger = open_ledger(self.paths.ledger, app="shop", environment="local")
        vars(environment)["ledger"] = WatchedLedger(ledger, writes, WRITING)
        vars(environment.checkout)["identity"] = RepositoryIdentity(
            remotes=("example.org/shop",), first_commits=("f" * 40,)
        )
        vars(environment)["hosting"] = FakeHosting(self.state, writes, shared=self.shared)
        try:
            yield environment
        finally:
            ledger.close()

    # -- what is found afterwards

    def live(self) -> tuple[str, str]:
        """By the ledger: the tree of what is live and of what that was released over, "" for none."""
        with self._opened(Writes()) as environment:
            live = environment.ledger.live()
            previous = environment.ledger.release(live.previous) if live is not None and live.previous else None
        return live.tree if live is not None else "", previous.tree if previous is not None else ""

    def problems(self) -> list[str]:
        """What is wrong after a command has ended: the record, the locks, what runs."""
        with self._opened(Writes()) as environment:
            status = read_status(environment)
            found = [f"the record: {problem.message}" for problem in environment.ledger.check()]
            holder = environment.target.lock_holder()
        found += [f"the lock: {status.lock}"] if status.lock else []
        found += [f"on the target: {holder.owner}"] if holder else []
        found += [f"unfinished: {status.unfinished}"] if status.unfinished else []
        found += [f"{item.name} is left over" for item in status.instances if item.role == "left over"]
        proxy = self.state.proxy
        found += ["the port takes connections, and nobody answers"] if proxy.bound and not proxy.runs else []
        # A server without weight that only one of them knows does no harm.
        weights = [{n: e.weight for n, e in table.items() if e.weight} for table in (proxy.running, proxy.file)]
        found += ["users still get the maintenance page"] if proxy.running_maintenance is not None else []
        found += [f"a lease is left: {proxy.lease}"] if proxy.lease is not None else []
        found += [f"routes are left: {proxy.running_routes}"] if proxy.running_routes else []
        if proxy.runs and weights[0] != weights[1]:
            found.append(f"the proxy has the weights {weights[0]}, and would come back with {weights[1]}")
        return found


def unserved(environment: Scene) -> tuple[list[str], Callable[[str], None]]:
    """The writes after which a user got no answer, and who looks for them (`Writes.after`).

    Only where there are users.
    """
    found: list[str] = []
    users = environment.live() != ("", "")

    def look(name: str) -> None:
        if users and "" in environment.state.serving():
            found.append(f"users got nothing after {name!r}")

    return found, look
