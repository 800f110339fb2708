"""Rolling, recreate and canary releases, killed by -9 or cancelled at the steps that only they have.

The cases are as in test_kill.py, which has blue-green: by default each strategy's own steps once, with --every-case all
steps at every point and in every way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harness import KEPT_WARM, PAGE, Load
from test_cancel import HOWS, Scene
from test_kill import (  # noqa: F401 - `share` and `trials` are fixtures
    PIPELINE,
    PLAIN,
    RESUME,
    ROLLBACK,
    Case,
    Trial,
    cases_of,
    share,
    trials,
    under_load,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness import ReleasedService

SETTINGS: dict[str, dict[str, Any]] = {
    "rolling": {"replicas": 2, "rollout": {"max_surge": 0, "max_unavailable": 1}},
    "recreate": {},
    "canary": {"warm_for": KEPT_WARM, "rollout": {"steps": [{"share": 20}, {"share": 100}], "sticky": True}},
}
NUMBERED = ("start", "health", "smoke", "trust", "edge", "attach", "raise")
STEPS = {
    "rolling": [
        *PIPELINE,
        *(f"{name}-1" for name in ("lower-old", "drain-old", "detach-old", "stop-old", *NUMBERED, "verify")),
        *(f"{name}-2" for name in ("lower-old", "drain-old", "detach-old", "stop-old", *NUMBERED, "verify")),
        *("live", "retire"),
    ],
    "recreate": [
        *PIPELINE,
        *("maintenance", "drain-old", "stop-old", *NUMBERED, "lower", "open", "verify", "live", "retire"),
    ],
    "canary": [
        *PIPELINE,
        *(f"{name}-1" for name in NUMBERED[:-1]),
        *("lease", "raise-1", "lower-1", "routes-1", "verify-1", "raise-2", "lower-2", "routes-2", "verify-2"),
        *("unlease", "live", "clear-routes", "drain", "warm", "retire"),
    ],
}
"""The journal's steps of a release that is good."""
UNDONE = {
    "rolling": [
        *("start-old", "health-old", "trust-old", "attach-old"),
        *("restore", "withdraw", "drain-new", "detach-new", "stop-new"),
    ],
    "recreate": [
        *("close-again", "stop-new", "start-old", "health-old", "trust-old", "attach-old"),
        *("restore", "withdraw", "reopen", "detach-new"),
    ],
    "canary": ["restore", "withdraw", "unroute", "unlease-old", "drain-new", "detach-new", "stop-new"],
}
"""The journal's steps after the first verdict, where that is against the release."""
OWN = {
    "rolling": ("stop-old-1", "verify-1", "raise-2"),
    "recreate": ("maintenance", "stop-old", "open"),
    "canary": ("lease", "routes-1", "verify-1", "unlease"),
}
OWN_UNDONE = {"rolling": ("start-old",), "recreate": ("start-old",), "canary": ("unlease-old",)}
"""Steps in which a release is killed by default."""
IMPOSSIBLE = {"p95_ms": 0.001}
CANCELLED: dict[str, dict[str, str]] = {
    "rolling": {"stop-old": "deploykit.release.execution.actions:RolloutActions._stop"},
    "recreate": {"start": "deploykit.release.execution.actions:RolloutActions._start"},
    "canary": {"routes": "deploykit.release.execution.actions:RolloutActions._routes"},
}
"""Steps in which a release is cancelled: these by default, and with --every-case those below."""
CANCELLED_TOO: dict[str, dict[str, str]] = {
    "rolling": {
        "drain-old": "deploykit.release.execution.actions:RolloutActions._drain",
        "start": "deploykit.release.execution.actions:RolloutActions._start",
        "raise": "deploykit.release.execution.actions:RolloutActions._raise",
        "verify": "deploykit.release.execution.actions:RolloutActions._verify",
    },
    "recreate": {
        "maintenance": "deploykit.release.execution.actions:RolloutActions._maintenance",
        "stop-old": "deploykit.release.execution.actions:RolloutActions._stop",
        "health": "deploykit.verify.health:wait_healthy",
        "verify": "deploykit.release.execution.actions:RolloutActions._verify",
    },
    "canary": {
        "lease": "deploykit.release.execution.actions:RolloutActions._lease",
        "raise": "deploykit.release.execution.actions:RolloutActions._raise",
        "verify": "deploykit.release.execution.actions:RolloutActions._verify",
        "unlease": "deploykit.release.execution.actions:RolloutActions._unlease",
    },
}


def choose(released: ReleasedService, strategy: str, **more: Any) -> None:
    released.settings(**{"warm_for": 0, **SETTINGS[strategy], "strategy": strategy, **more})


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("strategy", list(SETTINGS))
def test_a_release_that_ends_at_a_step_of_its_strategy_goes_on_or_back(
    trials: Any,  # noqa: F811 - the fixture
    strategy: str,
    every_case: bool,
) -> None:
    """Good releases that are killed, then bad ones that are killed while they undo themselves, then some that are
    cancelled.
    """
    closed = strategy == "recreate"

    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released

        def begin() -> None:
            own.settings(warm_for=KEPT_WARM, replicas=SETTINGS[strategy].get("replicas", 1))
            for _ in range(2):
                trial.release()
            choose(own, strategy)

        def kill(case: Case, url: str) -> None:
            before, text = trial.live, trial.next_text()
            own.behave(text)
            if trial.killed(case, "release"):
                trial.goes_on(case, before if case.way == ROLLBACK and not judged(case, names) else text, url=url)

        def kill_undoing(case: Case, url: str) -> None:
            before, text = trial.live, trial.next_text()
            choose(own, strategy, thresholds=IMPOSSIBLE)
            own.behave(text)
            if trial.killed(case, "release"):
                choose(own, strategy)
                code = 1 if case.way == RESUME else 0
                trial.goes_on(case, text if case.way == PLAIN else before, code=code, url=url)

        begin()
        own.behave(trial.next_text())
        good = own.ok("release").steps
        trial.live = own.serves(own.url)
        names = [name for name, _ in good]
        assert names == STEPS[strategy], "new steps: look at them, then change STEPS"
        choose(own, strategy, thresholds=IMPOSSIBLE)
        own.behave(trial.next_text())
        refused = own("release")
        assert refused.returncode == 1, refused.output
        skip = next(place for place, (name, _) in enumerate(refused.steps) if name.startswith("verify")) + 1
        assert [name for name, _ in refused.steps[skip:]] == UNDONE[strategy], "new steps: change UNDONE"
        choose(own, strategy)

        under_load(trial, part(cases_of(good), OWN[strategy]), begin, kill, maintenance=closed)
        undoing = part(cases_of(refused.steps, skip=skip), OWN_UNDONE[strategy])
        under_load(trial, undoing, begin, kill_undoing, maintenance=closed)
        with Load(own.url, maintenance=closed) as load:
            for how in HOWS if every_case else ("Ctrl-C",):
                cancel(trial, how, CANCELLED[strategy] | (CANCELLED_TOO[strategy] if every_case else {}))
            load.next_answers()
        load.assert_nothing_lost()
        assert (PAGE in load.answers) == closed

    trials(work)


def judged(case: Case, names: Sequence[str]) -> bool:
    """Whether the release was past its last verdict when the kill came: then a rollback finishes it."""
    last = names.index("live") - 1
    here = names.index(case.name)
    return here > last or (here == last and case.point == "after-result")


def cancel(trial: Trial, how: str, stages: dict[str, str]) -> None:
    """Releases that are cancelled there: each leaves everything as it was."""
    scene = Scene(trial.released, how)
    scene.live = trial.live
    for stage, where in stages.items():
        before = scene.running()
        ran = scene.cancelled("release", where)
        scene.look(stage, ran, code=1, text=scene.live)
        if (left := scene.running()) != before:
            scene.wrong.append(f"{how} in {stage}: {before} ran before, and now {left}")
    trial.wrong += scene.wrong
