"""The strategies by examples; tests/property/test_strategies.py has what holds for all of them."""

from __future__ import annotations

import pytest

from deploykit.rollout import CanaryStep, Members, Plan, Stage, Strategy, begin, make_stages
from deploykit.rollout.shares import share_of, weights
from deploykit.rollout.steps import backward
from tests.shared.rollouts import plan_of

OLD, NEW = [f"r1-web-{number}" for number in range(4)], [f"r2-web-{number}" for number in range(4)]


def names(plan: Plan) -> list[str]:
    return [step.name for step in begin(plan).steps]


def rolling(surge: int | str, unavailable: int | str, new: int = 4, old: int = 4) -> list[tuple[int, int]]:
    """How many are stopped and how many started, batch by batch."""
    strategy = Strategy(name="rolling", max_surge=surge, max_unavailable=unavailable)
    members = Members(
        candidate=tuple(f"r2-web-{number}" for number in range(new)),
        stable=tuple(f"r1-web-{number}" for number in range(old)),
    )
    return [(len(stage.stop), len(stage.start)) for stage in make_stages(strategy, members, 10)]


def test_blue_green_keeps_the_old_version_for_a_rollback():
    plan = plan_of(NEW[:1], OLD[:1])
    assert names(plan) == [
        *("start", "health", "smoke", "trust", "edge", "attach", "raise", "lower", "verify"),
        *("live", "drain", "warm"),
    ]


@pytest.mark.parametrize(
    ("surge", "unavailable", "batches"),
    [
        ("25%", "25%", [(1, 2), (2, 2)]),  # Kubernetes' own default
        (1, 0, [(0, 1), (1, 1), (1, 1), (1, 1)]),
        (0, 1, [(1, 1), (1, 1), (1, 1), (1, 1)]),
        (4, 0, [(0, 4)]),
        ("100%", "0%", [(0, 4)]),
        (0, 4, [(3, 3), (1, 1)]),  # somebody has to have the traffic
    ],
)
def test_a_rolling_release_goes_batch_by_batch(surge, unavailable, batches):
    assert rolling(surge, unavailable) == batches


def test_a_percentage_is_rounded_up_for_the_surge_and_down_for_what_may_be_missing():
    assert rolling("25%", "25%", new=3, old=3) == [(0, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize(("new", "old"), [(2, 6), (6, 2)])
def test_a_rolling_release_changes_the_number_of_instances(new, old):
    batches = rolling(1, 0, new=new, old=old)
    assert sum(started for _, started in batches) == new


@pytest.mark.parametrize(("new", "old", "unavailable"), [(1, 1, 1), (3, 3, 0)])
def test_a_rolling_release_that_can_do_nothing_is_refused(new, old, unavailable):
    with pytest.raises(ValueError, match="neither one more nor one less"):
        rolling(0, unavailable, new=new, old=old)


def test_a_batch_is_judged_before_the_next_and_the_old_ones_are_drained_before_they_stop():
    plan = plan_of(NEW[:2], OLD[:2], Strategy(name="rolling", max_surge=1, max_unavailable=0))
    assert names(plan) == [
        *("start-1", "health-1", "smoke-1", "trust-1", "edge-1", "attach-1", "raise-1", "verify-1"),
        *("lower-old-2", "drain-old-2", "detach-old-2", "stop-old-2"),
        *("start-2", "health-2", "smoke-2", "trust-2", "edge-2", "attach-2", "raise-2", "lower-2", "verify-2"),
        *("live", "drain", "retire"),
    ]


def test_an_app_that_cannot_run_twice_is_closed_meanwhile():
    plan = plan_of(NEW[:1], OLD[:1], Strategy(name="recreate"))
    steps = names(plan)
    assert steps.index("maintenance") < steps.index("stop-old") < steps.index("start")
    assert steps.index("start") < steps.index("raise") < steps.index("open") < steps.index("verify")
    back = [step.name for step in backward(plan, steps.index("verify"))]
    assert back.index("close-again") < back.index("stop-new") < back.index("start-old") < back.index("reopen")


def test_a_canary_shares_step_by_step_and_has_a_lease():
    steps = (CanaryStep(share=5, bake=60), CanaryStep(share=50, bake=60, confirm=True), CanaryStep(share=100))
    plan = plan_of(NEW[:2], OLD[:2], Strategy(name="canary", steps=steps, tester_cookie="canary"))
    assert [round(share_of(plan.candidate, stage.weights)) for stage in plan.stages] == [5, 50, 100]
    told = names(plan)
    assert told.index("attach-1") < told.index("lease") < told.index("raise-1") < told.index("routes-1")
    assert told.index("verify-3") < told.index("unlease") < told.index("live") < told.index("clear-routes")
    confirmed = [step.parameters["confirm"] for step in begin(plan).steps if "confirm" in step.parameters]
    assert confirmed == [False, True, False]


def test_the_first_version_has_nobody_to_take_over_from():
    for name in ("rolling", "canary", "recreate"):
        assert names(plan_of(NEW, (), Strategy(name=name))) == names(plan_of(NEW))


@pytest.mark.parametrize("share", [0, -5, 100.5, 0.001])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        weights(share, NEW, OLD)


def test_where_weights_can_not_give_the_share_only_some_instances_get_traffic():
    given = weights(1, [f"r2-web-{number}" for number in range(64)], ["r1-web-0"])
    assert sum(weight > 0 for weight in given.values()) == 3
    assert share_of([name for name in given if name.startswith("r2")], given) <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": ("r1-web-0",), "weights": {"r2-web-0": 1}},
        {"stop": ("r2-web-0",), "weights": {"r2-web-0": 1}},
        {"weights": {"r2-web-0": 0}},
        {"weights": {"r2-web-0": 257, "r1-web-0": 1}},
        {"weights": {}},
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"a stage|weights"):
        Plan(candidate=("r2-web-0",), stable=("r1-web-0",), stages=(Stage(share=100, **wrong),))
