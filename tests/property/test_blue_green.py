"""Invariants of the blue-green strategy, for every order of successes, failures and cancellations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploykit.rollout import Action, Kind, Observation, Phase, Plan, Result, State, begin, decide, fold

NAMES = st.sampled_from([f"r{release}-web-{replica}" for release in range(1, 10) for replica in range(10)])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    every = draw(st.lists(NAMES, unique=True, min_size=1, max_size=9))
    cuts = sorted(draw(st.lists(st.integers(1, len(every)), min_size=2, max_size=2)))
    candidate = tuple(every[: cuts[0]])
    return Plan(
        candidate=candidate,
        stable=tuple(every[cuts[0] : cuts[1]]),
        older=tuple(every[cuts[1] :]),
        kept=tuple(draw(st.lists(st.sampled_from(candidate), unique=True))),
        judged=draw(st.booleans()),
    )


BOOK_KEEPING = {Kind.LIVE, Kind.DRAIN, Kind.WARM, Kind.RETIRE}
results = st.lists(st.sampled_from(list(Result)), min_size=0, max_size=40)


def drive(plan: Plan, outcomes: list[Result]) -> tuple[State, list[tuple[Action, Result]]]:
    """Answer each action with the next outcome, and with success when they run out."""
    state, history, left = begin(plan), [], list(outcomes)
    for _ in range(100):
        if state.ended:
            return state, history
        assert state.pending is not None
        outcome = left.pop(0) if left else Result.DONE
        history.append((state.pending, outcome))
        state, _actions = decide(state, Observation(action=state.pending.name, result=outcome, reason="because"))
    raise AssertionError("the rollout did not end in 100 actions")


def done(history: list[tuple[Action, Result]]) -> list[Action]:
    return [action for action, outcome in history if outcome is Result.DONE]


@given(plans(), results)
def test_every_rollout_ends(plan: Plan, outcomes: list[Result]) -> None:
    state, _ = drive(plan, outcomes)
    assert state.phase in {Phase.DONE, Phase.FAILED}


@given(plans(), results)
def test_the_total_weight_is_never_lowered_to_zero(plan: Plan, outcomes: list[Result]) -> None:
    """Whatever fails: servers are lowered only after others were asked to be raised, the old before the way back."""
    _, history = drive(plan, outcomes)
    asked: set[str] = set(plan.stable)
    for action, outcome in history:
        if action.kind is Kind.RAISE and outcome is Result.DONE:
            asked |= set(action.instances)
        if action.kind is Kind.LOWER and outcome is Result.DONE:
            others = asked - set(action.instances)
            raised = any(earlier.kind is Kind.RAISE for earlier, _ in history)
            assert others
            assert raised
            asked -= set(action.instances)


@given(plans(), results)
def test_nothing_is_stopped_before_the_edge_was_asked_about_it(plan: Plan, outcomes: list[Result]) -> None:
    """A STOP of what was attached comes after a DETACH or a CLOSE, and after RAISE also after a DRAIN or a CLOSE."""
    _, history = drive(plan, outcomes)
    kinds = [action.kind for action, _ in history]
    if Kind.STOP in kinds and Kind.ATTACH in kinds:
        before = kinds[: kinds.index(Kind.STOP)]
        assert Kind.DETACH in before or Kind.CLOSE in before
        if Kind.RAISE in before:
            assert Kind.DRAIN in before or Kind.CLOSE in before


@given(plans(), results)
def test_the_stable_version_is_never_stopped(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    for action, _ in history:
        if action.kind in {Kind.STOP, Kind.RETIRE, Kind.DETACH}:
            assert not set(action.instances) & set(plan.stable)


@given(plans(), results)
def test_what_could_be_rolled_back_to_is_retired_only_by_a_release_that_succeeded(
    plan: Plan, outcomes: list[Result]
) -> None:
    state, history = drive(plan, outcomes)
    if state.phase is Phase.FAILED:
        assert Kind.RETIRE not in [action.kind for action, _ in history]
        assert Kind.LIVE not in [action.kind for action, _ in history]


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


@given(plans(), st.integers(0, 20))
def test_a_cancellation_before_the_verdict_undoes_and_after_it_finishes(plan: Plan, at: int) -> None:
    state = begin(plan)
    for _ in range(at):
        if state.ended:
            return
        assert state.pending is not None
        state, _ = decide(state, Observation(action=state.pending.name, result=Result.DONE))
    if state.ended:
        return
    past = state.past_verdict
    assert state.pending is not None
    state, _ = decide(state, Observation(action=state.pending.name, result=Result.CANCELLED, reason="Ctrl-C"))
    while not state.ended:
        assert state.pending is not None
        state, _ = decide(state, Observation(action=state.pending.name, result=Result.DONE))
    assert state.phase is (Phase.DONE if past else Phase.FAILED)
    assert state.cancelled is not past


@given(plans(), results)
def test_a_version_that_was_judged_before_is_not_judged_again(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    if not plan.judged:
        assert {action.kind for action, _ in history}.isdisjoint({Kind.SMOKE, Kind.VERIFY})


@given(plans(), results)
def test_actions_survive_the_journal(plan: Plan, outcomes: list[Result]) -> None:
    _, history = drive(plan, outcomes)
    for action, _ in history:
        assert Action.from_json(action.as_json()) == action
    assert Plan.from_json(plan.as_json()) == plan


@given(plans(), results)
def test_what_is_done_is_what_the_ledger_calls_live_and_the_old_version_has_its_end(
    plan: Plan, outcomes: list[Result]
) -> None:
    """Whatever fails past the verdict: without LIVE and WARM a rollout does not go on, and it does not turn back."""
    judging = len([action for action, _ in drive(plan, [])[1] if action.kind not in BOOK_KEEPING])
    state, history = drive(plan, [Result.DONE] * judging + outcomes)
    assert state.phase is Phase.DONE
    kinds = [action.kind for action in done(history)]
    assert Kind.LIVE in kinds
    assert Kind.WARM in kinds or not plan.stable


@given(plans(), st.sampled_from([Kind.LIVE, Kind.WARM]), st.integers(1, 5))
def test_what_has_to_happen_is_asked_for_again_until_it_does(plan: Plan, kind: Kind, failures: int) -> None:
    state = begin(plan)
    while not state.ended:
        assert state.pending is not None
        failed = state.pending.kind is kind and failures > 0
        failures -= failed
        before, result = state, Result.FAILED if failed else Result.DONE
        state, _ = decide(state, Observation(action=state.pending.name, result=result, reason="busy"))
        if failed:
            assert state == before
    assert state.phase is Phase.DONE
    assert state.reason == ""
