from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.ledger.sql import open_ledger
from deploykit.model import ReleaseOutcome
from deploykit.process.cancellation import Cancellation
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
            from deploykit.ledger.interface import StepState
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
    edge = SimpleNamespace(servers=tuple, url=lambda: "http://127.0.0.1:1", running=lambda: False)
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
