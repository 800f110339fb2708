"""Invariants of all strategies, for every order of successes, failures, cancellations and verdicts that are none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploykit.rollout import (
    Action,
    CanaryStep,
    Kind,
    Members,
    Observation,
    Plan,
    Result,
    State,
    Strategy,
    begin,
    decide,
    fold,
    make_stages,
)
from deploykit.rollout.shares import routes, share_of, weights

counts = st.integers(1, 6)
results = st.lists(st.sampled_from(list(Result)), min_size=0, max_size=60)
UNJUDGED = {Kind.SMOKE, Kind.VERIFY}


def names(release: int, count: int, process: str = "web") -> tuple[str, ...]:
    return tuple(f"r{release}-{process}-{number}" for number in range(count))


@st.composite
def strategies(draw: st.DrawFn) -> Strategy:
    name = draw(st.sampled_from(["blue-green", "rolling", "canary", "recreate"]))
    if name == "canary":
        shares = sorted(draw(st.sets(st.integers(1, 99), max_size=4)))
        steps = tuple(CanaryStep(share=share) for share in (*shares, 100))
        return Strategy(
            name=name, steps=steps, sticky=draw(st.booleans()), tester_header=draw(st.sampled_from(["", "X"]))
        )
    return Strategy(name=name, max_surge=draw(st.integers(1, 3)), max_unavailable=draw(st.integers(0, 3)))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    strategy = draw(strategies())
    members = Members(
        candidate=names(9, draw(counts)),
        stable=draw(st.just(()) | counts.map(lambda count: names(8, count))),
        others=names(9, draw(st.integers(0, 2)), "worker"),
    )
    kept = () if strategy.name == "rolling" else tuple(draw(st.lists(st.sampled_from(members.candidate), unique=True)))
    return Plan(
        candidate=(*members.candidate, *members.others),
        stable=members.stable,
        older=names(7, draw(st.integers(0, 3))),
        kept=kept,
        stages=make_stages(strategy, members, 10),
        judged=draw(st.booleans()),
        warm=strategy.name in {"blue-green", "canary"},
        lease=60.0 if strategy.name == "canary" and members.stable else 0.0,
    )


def drive(plan: Plan, outcomes: list[Result]) -> tuple[State, list[tuple[Action, Result]]]:
    """Answer each action with the next outcome, and with success when they run out."""
    state, history, left = begin(plan), [], list(outcomes)
    for _ in range(400):
        if state.pending is None:
            return state, history
        outcome = left.pop(0) if left else Result.DONE
        history.append((state.pending, outcome))
        state, _actions = decide(state, Observation(action=state.pending.name, result=outcome, reason="because"))
    raise AssertionError("the rollout did not end in 400 actions")


class Edge:
    """The weights that these actions make, each whole or not at all; and whether users get the maintenance page."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.weights = dict(plan.before)
        self.closed = False
        self.routes: dict[str, str] = {}

    def act(self, action: Action) -> None:
        if action.kind in {Kind.RAISE, Kind.LOWER}:
            self.weights |= action.parameters["weights"]
        elif action.kind is Kind.MAINTENANCE:
            self.closed = action.parameters["on"]
        elif action.kind is Kind.ROUTES:
            self.routes = dict(action.parameters["routes"])
        elif action.kind is Kind.CLOSE:
            self.weights.clear()

    @property
    def share(self) -> float:
        return share_of(self.plan.candidate, self.weights)


def done(history: list[tuple[Action, Result]]) -> list[Action]:
    return [action for action, outcome in history if outcome is Result.DONE]


@given(plans(), results)
def test_every_rollout_ends(plan: Plan, outcomes: list[Result]) -> None:
    state, _ = drive(plan, outcomes)
    assert state.done is not state.failed


@given(plans(), results)
def test_the_total_weight_is_never_lowered_to_zero(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    edge = Edge(plan)
    for action in done(history):
        had = any(edge.weights.values())
        edge.act(action)
        if had and action.kind in {Kind.RAISE, Kind.LOWER}:
            assert any(edge.weights.values())


@given(plans(), results)
def test_the_candidate_s_share_never_exceeds_its_stage_s(plan: Plan, outcomes: list[Result]) -> None:
    """A stage begins when the one before was judged good."""
    _, history = drive(plan, outcomes)
    edge, stage = Edge(plan), 0
    judged = [action.name for action in begin(plan).steps if action.kind is Kind.VERIFY]
    for action in done(history):
        edge.act(action)
        if plan.judged:
            assert edge.share <= plan.stages[stage].share + 1e-9
        if action.name in judged[:-1]:
            stage = judged.index(action.name) + 1


@given(plans(), results)
def test_an_undecided_judge_never_raises_the_share(plan: Plan, outcomes: list[Result]) -> None:
    state, left, edge = begin(plan), list(outcomes), Edge(plan)
    for _ in range(400):
        if state.pending is None:
            return
        pending, share = state.pending, edge.share
        outcome = left.pop(0) if left else Result.DONE
        after, _ = decide(state, Observation(action=pending.name, result=outcome, reason="because"))
        if outcome is Result.UNDECIDED:
            assert after == state
        elif outcome is Result.DONE:
            edge.act(pending)
        if pending.kind is Kind.VERIFY:
            assert edge.share == share
        state = after
    raise AssertionError("the rollout did not end in 400 actions")


@given(plans(), st.integers(0, 80), st.booleans())
def test_an_abort_at_any_step_ends_with_the_stable_version_at_100_percent(plan: Plan, at: int, halfway: bool) -> None:
    """`halfway`: what failed has happened all the same."""
    state, edge = begin(plan), Edge(plan)
    for number in range(400):
        if state.pending is None:
            break
        pending = state.pending
        fails = number == at
        if not fails or halfway:
            edge.act(pending)
        result = Result.FAILED if fails else Result.DONE
        state, _ = decide(state, Observation(action=pending.name, result=result, reason="because"))
    if state.failed and plan.stable:
        assert edge.share == 0
        assert edge.weights | plan.before == edge.weights
        assert not edge.closed
        assert edge.routes == {}


@given(plans(), results)
def test_nothing_new_is_stopped_before_the_edge_was_asked_about_it(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    kinds = [action.kind for action, _ in history]
    told = [action.name for action, _ in history]
    if "stop-new" in told and Kind.ATTACH in kinds and not plan.stages[0].closed:
        before = kinds[: told.index("stop-new")]
        assert Kind.DETACH in before or Kind.CLOSE in before or set(plan.kept) == set(plan.candidate)
        if Kind.RAISE in before:
            assert Kind.DRAIN in before or Kind.CLOSE in before


@given(plans(), results)
def test_an_old_instance_is_stopped_only_by_a_strategy_that_says_so(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    allowed = {name for stage in plan.stages for name in stage.stop}
    for action, _ in history:
        if action.kind in {Kind.STOP, Kind.DETACH}:
            assert set(action.instances) & set(plan.stable) <= allowed
        if action.kind is Kind.RETIRE and plan.warm:
            assert not set(action.instances) & set(plan.stable)


@given(plans(), results)
def test_what_was_stopped_is_started_again_before_the_traffic_comes_back(plan: Plan, outcomes: list[Result]) -> None:
    state, history = drive(plan, outcomes)
    stopped = {name for action, _ in history if action.kind is Kind.STOP for name in action.instances}
    if state.failed and (gone := stopped & set(plan.stable)):
        told = [action.name for action, _ in history]
        assert told.index("start-old") < told.index("health-old") < told.index("restore")
        # More than once where it was not answered: a cancellation while it is undone leaves the step pending.
        assert all(gone <= set(action.instances) for action, _ in history if action.name == "start-old")


@given(plans(), results)
def test_what_could_be_rolled_back_to_is_retired_only_by_a_release_that_succeeded(
    plan: Plan, outcomes: list[Result]
) -> None:
    state, history = drive(plan, outcomes)
    if state.failed:
        assert {Kind.RETIRE, Kind.LIVE}.isdisjoint({action.kind for action, _ in history})


@given(plans(), results)
def test_an_abort_leaves_running_what_ran_before(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    for action, _ in history:
        if action.kind is Kind.STOP:
            assert not set(action.instances) & set(plan.kept)


@given(plans(), results)
def test_folding_the_journal_gives_the_state_that_the_engine_had(plan: Plan, outcomes: list[Result]) -> None:
    state, history = drive(plan, outcomes)
    observations = [Observation(action=a.name, result=outcome, reason="because") for a, outcome in history]
    assert fold(plan, observations) == state
    for cut in range(len(observations) + 1):
        assert fold(plan, observations[:cut]).ended == (cut == len(observations))


@given(plans(), st.integers(0, 80))
def test_a_cancellation_before_the_verdict_undoes_and_after_it_finishes(plan: Plan, at: int) -> None:
    state = begin(plan)
    for _ in range(at):
        if state.pending is None:
            return
        state, _ = decide(state, Observation(action=state.pending.name, result=Result.DONE))
    if state.pending is None:
        return
    past = state.past_verdict
    state, _ = decide(state, Observation(action=state.pending.name, result=Result.CANCELLED, reason="Ctrl-C"))
    while state.pending is not None:
        state, _ = decide(state, Observation(action=state.pending.name, result=Result.DONE))
    assert state.done is past
    assert state.cancelled is not past


@given(plans(), results)
def test_a_version_that_was_judged_before_is_not_judged_again(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    if not plan.judged:
        assert {action.kind for action, _ in history}.isdisjoint(UNJUDGED)


@given(plans(), results)
def test_actions_and_plans_survive_the_journal(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    for action, _ in history:
        assert Action.from_json(action.as_json()) == action
    assert Plan.from_json(plan.as_json()) == plan


@given(plans())
def test_the_names_of_steps_are_unique(plan: Plan) -> None:
    steps = begin(plan).steps
    assert len({step.name for step in steps}) == len(steps)


@given(plans(), results)
def test_what_is_done_is_what_the_ledger_calls_live_and_the_old_version_has_its_end(
    plan: Plan, outcomes: list[Result]
) -> None:
    """Whatever fails past the verdict: without LIVE and WARM a rollout does not go on, and it does not turn back."""
    judging = [step.kind for step in begin(plan).steps].index(Kind.LIVE)
    state, history = drive(plan, [Result.DONE] * judging + outcomes)
    assert state.done
    kinds = [action.kind for action in done(history)]
    assert Kind.LIVE in kinds
    assert Kind.WARM in kinds or not plan.stable or not plan.warm


@given(plans(), st.sampled_from([Kind.LIVE, Kind.WARM]), st.integers(1, 5))
def test_what_has_to_happen_is_asked_for_again_until_it_does(plan: Plan, kind: Kind, failures: int) -> None:
    state = begin(plan)
    while state.pending is not None:
        failed = state.pending.kind is kind and failures > 0
        failures -= failed
        before, result = state, Result.FAILED if failed else Result.DONE
        state, _ = decide(state, Observation(action=state.pending.name, result=result, reason="busy"))
        if failed:
            assert state == before
    assert state.done
    assert state.reason == ""


@given(counts, counts, st.integers(0, 4), st.integers(0, 4))
def test_a_rolling_release_keeps_to_its_limits(new: int, old: int, surge: int, unavailable: int) -> None:
    """As of a Deployment in Kubernetes: never more than wanted + surge, never fewer ready than wanted - unavailable,
    once it is within its limits; and somebody always has the traffic.
    """
    strategy = Strategy(name="rolling", max_surge=surge, max_unavailable=unavailable)
    try:
        stages = make_stages(strategy, Members(candidate=names(9, new), stable=names(8, old)), 10)
    except ValueError:
        assert surge == 0
        assert unavailable == 0 or old == 1 or new == 1
        return
    ready, total = old, old
    for stage in stages:
        assert ready - len(stage.stop) >= min(new - unavailable, ready)
        assert ready - len(stage.stop) >= 1
        total += len(stage.start) - len(stage.stop)
        assert total <= max(new + surge, old)
        ready = total
    assert [name for stage in stages for name in stage.start] == list(names(9, new))


@given(st.integers(1, 99), st.integers(1, 64), st.integers(1, 64))
def test_weights_give_the_share_or_the_next_less(share: int, new: int, old: int) -> None:
    candidate, stable = names(9, new), names(8, old)
    given_weights = weights(share, candidate, stable)
    actual = share_of(candidate, given_weights)
    assert share * 0.6 <= actual <= share + 1e-9
    assert all(0 <= weight <= 256 for weight in given_weights.values())
    assert min(given_weights[name] for name in stable) >= 1


@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), counts, counts)
def test_a_user_moves_to_the_new_version_at_most_once_and_never_back(shares: list[int], new: int, old: int) -> None:
    candidate, stable = names(9, new), names(8, old)
    before: set[str] = set()
    for share in sorted(shares):
        found = routes(share, candidate, stable, sticky=True, testers=True)
        moved = {user for user, name in found.items() if name in candidate and user != "tester"}
        assert len(moved) == share
        assert before <= moved
        assert found["tester"] in candidate
        before = moved
