"""Each strategy on each target releases good and bad versions, while keep-alive clients that never retry send requests:
what was lost, what users got of a bad version until it was noticed, and how fast they have the old one again.

The bake times are seconds where a real rollout takes minutes. A version whose errors begin after a minute is released
by a canary whose first step takes 90 seconds.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.docker import BASE, EDGE, forget, free_port
from benchmarks.docker_load import Hammer
from benchmarks.load import PAGE, Clients
from benchmarks.measure import Figure, Section, timed
from benchmarks.rollout_table import Case, Step, lines, moments_of, row_of
from benchmarks.switch import Commands, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.measure import Ran
    from benchmarks.rollout_table import Row

__all__ = ["measure", "section_of"]

STRATEGIES = ("blue-green", "rolling", "canary", "recreate")
TARGETS = ("process", "docker")
GOOD = Case(name="good", behaviour={})
ERRORS = Case(name="10 % errors", behaviour={"FAIL_EVERY": 10}, bad=True)
HANGS = Case(name="hangs", behaviour={"IGNORES_SIGTERM": True})
LATE = Case(name="late errors", behaviour={"FAIL_EVERY": 10, "ERRORS_AFTER": 60.0}, bad=True, late=True)
CASES = (
    GOOD,
    Case(name="crash", behaviour={"CRASH": True}, bad=True),
    Case(name="unhealthy", behaviour={"HEALTH_STATUS": 500}, bad=True),
    Case(name="slow", behaviour={"PAGE_SECONDS": 0.8}, bad=True),
    ERRORS,
    LATE,
    HANGS,
)
_CLIENTS, _PAUSE = 8, 0.02
_LIMIT = 1_500.0
"""Seconds after which the clients of one strategy stop, and no further release is begun with `--requests`."""
_WARM = 4
"""Seconds for which a version stays warm: longer than it takes to type `invoke rollback`."""
_OLD = "old"
_STEPS = ((5, 5.0), (25, 5.0), (50, 5.0), (100, 3.0))
_QUICK_STEPS = ((25, 1.0), (100, 1.0))
_LATE_BAKE = 90.0
_FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def measure(*, quick: bool = False, requests: int = 0, target: str | None = None) -> Section:
    """`quick`: a small part, for CI. `requests`: send so many during good releases instead. `target`: only there."""
    if requests:
        return _many(requests)
    if quick:
        with _service("process", _QUICK_STEPS) as service:
            return section_of(_quick_rows(service))
    rows: list[Row] = []
    for each in [target] if target else TARGETS:
        with _service(each, _STEPS) as service:
            rows += _rows(service)
    return section_of(rows)


def _rows(service: _Service) -> list[Row]:
    rows = []
    for strategy in STRATEGIES:
        service.release(strategy, _OLD, GOOD)
        print(f"{strategy}, {service.target} …", file=sys.stderr, flush=True)
        with Clients(service.url, clients=_CLIENTS, pause=_PAUSE, limit=_LIMIT, posts=True) as clients:
            for case in CASES:
                rows.append(_row(service, clients, strategy, case, old=_OLD))
                print(lines(rows)[-1], file=sys.stderr, flush=True)
    return rows


def _quick_rows(service: _Service) -> list[Row]:
    """The good version of each strategy is what the next one is measured against, which saves the rollbacks."""
    rows, old = [], _OLD
    service.release("blue-green", old, GOOD)
    with Clients(service.url, clients=_CLIENTS, pause=_PAUSE, limit=_LIMIT, posts=True) as clients:
        for strategy, case in itertools.product(STRATEGIES, (GOOD, ERRORS)):
            row = _row(service, clients, strategy, case, old=old, goes_back=False)
            old = old if row.exit_code else _text(strategy, case)
            rows.append(row)
    return rows


def _row(service: _Service, clients: Clients, strategy: str, case: Case, *, old: str, goes_back: bool = True) -> Row:
    """Release the case, and go back where it passed."""
    new = _text(strategy, case)
    service.write(strategy, new, case)
    began = time.monotonic()
    done, told = service.tried(new)
    moments = moments_of(service.steps(told["release"]))
    rollback = None
    if done.code == 0 and goes_back:
        typed = time.monotonic()
        rollback = typed, service.kit.tried("rollback")[0].code
        if case is HANGS:
            # It is kept warm where both versions may run: that ends with a time, which no event tells.
            time.sleep(_WARM)
            service.kit("reap")
    clients.wait_for(new if done.code == 0 and rollback is None else old, since=time.monotonic())
    return row_of(
        case,
        clients.since(began),
        moments,
        strategy=strategy,
        target=service.target,
        old=old,
        new=new,
        exit_code=done.code,
        rollback=rollback,
        reason=told["reason"],
    )


def _text(strategy: str, case: Case) -> str:
    """What that version says."""
    return f"{strategy}: {case.name}"


def section_of(rows: Sequence[Row]) -> Section:
    """The table, and what has to hold for all of it."""

    def count(name: str, number: int, bound: float | None = None) -> Figure:
        return Figure(name=name, unit="", samples=[number], bound=bound)

    return Section(
        title=f"Rollouts: {len(rows)} releases, {_CLIENTS} keep-alive clients, {_PAUSE * 1000:.0f} ms between requests",
        lines=lines(rows),
        rows=[row.as_json() for row in rows],
        figures=[
            count("requests", sum(row.sent for row in rows)),
            count("lost requests", sum(row.lost for row in rows), 0),
            count("requests that got the maintenance page", sum(row.page for row in rows)),
            count("bad versions that were not noticed", sum(row.is_missed for row in rows), 0),
            count("good versions that were aborted", sum(row.is_aborted for row in rows), 0),
            count("rollbacks that failed", sum(bool(row.rollback_exit_code) for row in rows), 0),
        ],
        notes=[f"{row.strategy}, {row.target}, {row.case.name}: {text}" for row in rows for text in _unexpected(row)],
    )


def _unexpected(row: Row) -> list[str]:
    lost = [f"lost: {problem}, {count} times" for problem, count in row.problems.items()]
    return [*lost, row.reason] if row.is_aborted else lost


def _many(wanted: int) -> Section:
    """Good releases of each strategy in turn, until so many requests were sent."""
    releases, failed = dict.fromkeys(STRATEGIES, 0), []
    began = time.monotonic()
    with _service("process", _QUICK_STEPS) as service:
        service.release("blue-green", _OLD, GOOD)
        with Hammer(service.url) as hammer:
            for strategy in itertools.cycle(STRATEGIES):
                if hammer.sent >= wanted or time.monotonic() - began > _LIMIT:
                    break
                service.write(strategy, f"{strategy} {releases[strategy]}", GOOD)
                done, told = service.tried(strategy)
                releases[strategy] += 1
                failed += [] if done.code == 0 else [f"{strategy}: {told['reason']}"]
    seen = hammer.seen
    return Section(
        title=f"Rollouts under load: {sum(releases.values())} good releases, clients that never retry and never pause",
        figures=[
            Figure(name="lost requests", unit="", samples=[sum(seen["lost"].values())], bound=0),
            Figure(name="requests", unit="", samples=[hammer.sent]),
            Figure(name=f"requests short of {wanted:,}", unit="", samples=[max(0, wanted - hammer.sent)], bound=0),
            Figure(name="requests besides that got the maintenance page", unit="", samples=[seen["pages"]]),
            Figure(name="good versions that were aborted", unit="", samples=[len(failed)], bound=0),
            *(Figure(name=f"releases, {name}", unit="", samples=[count]) for name, count in releases.items()),
            timed("all of it", [time.monotonic() - began]),
        ],
        notes=[*failed[:3], *(f"lost: {problem}, {count} times" for problem, count in seen["lost"].items())][:6],
    )


@dataclass(frozen=True, kw_only=True)
class _Service:
    """The tiny app on a target, and the kit. `canary`: shares in per cent, and bake times in seconds."""

    target: str
    app: str
    port: int
    repo: Path
    state: Path
    kit: Commands
    canary: Sequence[tuple[int, float]]
    fixtures: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, strategy: str, text: str, case: Case) -> None:
        """Commit a version that says `text` on its page."""
        first, *others = self.canary
        steps = [(first[0], _LATE_BAKE if case.late else first[1]), *others]
        (self.repo / "pyproject.toml").write_text(_settings(self, strategy, steps))
        self.fixtures.behave(self.repo, VERSION_TEXT=text, **case.behaviour)
        self.fixtures.commit(self.repo, text)

    def release(self, strategy: str, text: str, case: Case) -> None:
        """Raises RuntimeError where it fails."""
        self.write(strategy, text, case)
        self.kit("release")

    def tried(self, what: str) -> tuple[Ran, dict[str, Any]]:
        """Release, and what was said of it. Raises RuntimeError where none was begun: that is no judgement."""
        done, told = self.kit.tried("release")
        if not told["release"]:
            raise RuntimeError("\n".join([f"{what} was not released: {told['reason']}", *told["details"]]))
        return done, told

    def steps(self, release: str) -> list[Step]:
        """The journal of a release, with times of the clients' clock."""
        offset = time.time() - time.monotonic()
        file = self.state / "apps" / self.app / "local" / "ledger.sqlite3"
        query = "select name, result, started_at, finished_at from deploykit_steps where release = ? order by sequence"
        connection = sqlite3.connect(file)
        try:
            found = connection.execute(query, [release]).fetchall()
        finally:
            connection.close()
        return [
            Step(name=name, result=json.loads(result).get("result", ""), began=began - offset, ended=ended - offset)
            for name, result, began, ended in found
            if ended is not None
        ]


@contextmanager
def _service(target: str, canary: Sequence[tuple[int, float]]) -> Iterator[_Service]:
    sys.path.insert(0, str(_FIXTURES))
    foreign_repo = importlib.import_module("foreign_repo")
    with state_folder() as state, tempfile.TemporaryDirectory(prefix="dk-rollouts-") as folder:
        repo = foreign_repo.make_tiny(Path(folder) / "tiny")
        (repo / "tasks.py").write_text("from deploykit.tasks import collection\n\nnamespace = collection()\n")
        (repo / "maintenance.html").write_text(f"{PAGE}\n")
        service = _Service(
            target=target,
            app=f"bench{os.getpid()}-{target}",
            port=free_port(),
            repo=repo,
            state=state,
            kit=Commands(repo, state),
            canary=canary,
            fixtures=foreign_repo,
        )
        try:
            yield service
        finally:
            service.kit("down")
            if target == "docker":
                forget(service.app)


def _settings(service: _Service, strategy: str, steps: Sequence[tuple[int, float]]) -> str:
    canary = ", ".join(f"{{ share = {share}, bake = {bake} }}" for share, bake in steps)
    judged = f"rollout.steps = [{canary}]" if strategy == "canary" else "watch = [3]"
    return f"""[tool.deploykit]
app = "{service.app}"
[tool.deploykit.service]
command = "python server.py --host 127.0.0.1 --port {{port}}"
health = "/health"
smoke = ["/slow?ms=1"]
replicas = 2
start_timeout = 5
drain_timeout = 5
stop_timeout = 2
warm_for = {_WARM}
[tool.deploykit.edge]
maintenance_page = "maintenance.html"
[tool.deploykit.image]
base = "{BASE}"
[tool.deploykit.docker]
edge_image = "{EDGE}"
[tool.deploykit.environments.local]
target = "{service.target}"
strategy = "{strategy}"
port = {service.port}
{judged}
rollout.patience = 120
"""
