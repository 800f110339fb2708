from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import open_ledger
from deploykit.model import ReleaseOutcome
from deploykit.process.cancellation import Cancellation
from deploykit.release.environment.owner import Owner
from deploykit.release.execution.journal import ReleaseJournal
from deploykit.rollout import CanaryStep, Engine, Members, Plan, Strategy, UndecidedError, make_stages
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    """A real ledger of the app `shop` in `local`."""
    made = open_ledger(tmp_path / "ledger.sqlite3", app="shop", environment="local")
    yield made
    made.close()


@pytest.fixture
def released(ledger: Any, tmp_path: Path) -> Any:
    """Write a release into the ledger as the pipeline does; it is live afterwards when it was done.

    `here`: by this machine, which keeps how it is run.
    """

    def release(
        version: str, *, outcome: str = "done", kind: str = "release", spec: dict | None = None, here: bool = True
    ) -> Any:
        held = ledger.acquire("tests", "a release", lease=60)
        live = ledger.live()
        record = ledger.begin(
            version=version,
            digest=f"sha256:{version}",
            commit="c" * 40,
            tree="t" * 40,
            actor="robin",
            kind=kind,
            previous=live.id if live else "",
            token=held.token,
        )
        if spec is not None:
            from deploykit.release.version.released import Released, keep_released
            from deploykit.release.version.spec import ReleaseSpec

            ledger.result(ledger.intend(record.id, "plan", spec, token=held.token), StepState.DONE, {})
            if here and "argv" in spec:
                made = Released(spec=ReleaseSpec.from_json(spec), digest=record.digest)
                keep_released(StatePaths(tmp_path, "shop", "local").released, record.id, made)
        if outcome == "done":
            ledger.set_live(record.id)
        if outcome != "running":
            record = ledger.finish(record.id, ReleaseOutcome(outcome))
        ledger.unlock("tests", held.token)
        return record

    return release


@pytest.fixture
def spec() -> Any:
    from deploykit.release.version.spec import DatabaseSpec, ReleaseSpec, SmokeSpec, ThresholdSpec

    return ReleaseSpec(
        app="shop",
        environment="local",
        argv=("serve", "--port", "{port}"),
        health="/health",
        smoke=(SmokeSpec(path="/", contains="shop"),),
        replicas=2,
        start_timeout=30.0,
        drain_timeout=5.0,
        stop_timeout=3.0,
        warm_for=60.0,
        thresholds=ThresholdSpec(error_rate=0.01, p95_ms=500.0, requests=50),
        watch=(),
        database=DatabaseSpec(
            kind="env", source="SHOP_URL", variable="DATABASE_URL", driver="", migrations="", timeout=600.0
        ),
        variables={"MODE": "fair"},
    )


@pytest.fixture
def environment(ledger: Any, tmp_path: Path) -> Any:
    """As much of an environment as the smaller parts of a release look at."""
    edge = SimpleNamespace(
        servers=tuple,
        url=lambda: "http://127.0.0.1:1",
        running=lambda: False,
        lease=lambda: None,
        maintenance_since=lambda: None,
    )
    return SimpleNamespace(
        app="shop",
        name="local",
        root=tmp_path,
        variable=lambda _name: "",
        ledger=ledger,
        paths=StatePaths(tmp_path, "shop", "local"),
        hosting=SimpleNamespace(shared=False),
        edge=edge,
        target=ProcessTarget(
            "shop", "local", StatePaths(tmp_path, "shop", "local"), supervisor=SimpleNamespace(programs=tuple)
        ),
        repository=None,
        cancellation=Cancellation(),
    )


@pytest.fixture
def stage() -> Any:
    from deploykit.release.reporting.reporter import Stage

    plain = Stage(name="build", seconds=1.5, outcome="done", note="made")
    return lambda **changes: dataclasses.replace(plain, **changes)


class Until:
    """Does every step until the one of this name; there the process is killed. `undecided`: what the judge said of that
    step before.
    """

    def __init__(self, name: str, undecided: str = "") -> None:
        self._name = name
        self._undecided = undecided

    def perform(self, action: Any) -> Any:
        if action.name != self._name:
            return {}
        if self._undecided:
            said, self._undecided = self._undecided, ""
            raise UndecidedError(said)
        raise KeyboardInterrupt


@pytest.fixture
def killed_at() -> Any:
    return Until


@pytest.fixture
def canary(ledger: Any, released: Any) -> Any:
    """`canary(at)`: a canary over 1.2.3, whose journal ends with the intent of the step `at`, and its lock."""

    def begin(
        at: str = "verify-2",
        *,
        owner: Owner | None = None,
        reason: str = "release",
        judged: bool = True,
        kind: str = "release",
        undecided: str = "",
    ) -> Any:
        released("1.2.3")
        held = ledger.acquire(str(owner or Owner.me()), reason, lease=60)
        record = ledger.begin(
            version="1.3.0", digest="", commit="", tree="", actor="ann", kind=kind, previous="r1", token=held.token
        )
        if not at:
            return record, held
        steps = (CanaryStep(share=5), CanaryStep(share=25), CanaryStep(share=100))
        members = Members(candidate=("r2-web-0",), stable=("r1-web-0",))
        plan = Plan(
            candidate=members.candidate,
            stable=members.stable,
            stages=make_stages(Strategy(name="canary", steps=steps), members, 10),
            judged=judged,
        )
        ledger.result(ledger.intend(record.id, "rollout", plan.as_json(), token=held.token), StepState.DONE, {})
        with pytest.raises(KeyboardInterrupt):
            Engine(plan, ReleaseJournal(ledger, record.id, held.token), Until(at, undecided)).drive()
        return record, held

    return begin
