"""The engine with a journal and a traffic in memory: killed, cancelled and failing at every step."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from deploykit.model import DeploykitError
from deploykit.process.cancellation import Cancellation
from deploykit.rollout import (
    DEFAULT_STEPS,
    Action,
    CanaryStep,
    Cancelled,
    Engine,
    JournalledStep,
    Kind,
    Observation,
    Plan,
    Result,
    Strategy,
    UndecidedError,
)
from tests.shared.rollouts import plan_of

OLD, NEW = [f"r1-web-{number}" for number in range(3)], [f"r2-web-{number}" for number in range(3)]
FAST_CANARY = (CanaryStep(share=10), CanaryStep(share=100))
PLANS = {
    "over another": plan_of(["r2-web-0", "r2-web-1"], ["r1-web-0"], older=("r0-web-0",)),
    "the first": plan_of(["r1-web-0"]),
    "a rollback to what is warm": plan_of(["r1-web-0"], ["r2-web-0"], kept=("r1-web-0",), judged=False),
    "a rollback to what is gone": plan_of(["r1-web-0"], ["r2-web-0"], judged=False),
    "rolling": plan_of(NEW, OLD, Strategy(name="rolling", max_surge=1, max_unavailable=1), older=("r0-web-0",)),
    "rolling, surge only": plan_of(NEW[:2], OLD, Strategy(name="rolling", max_surge=1, max_unavailable=0)),
    "rolling, no surge": plan_of(NEW, OLD, Strategy(name="rolling", max_surge=0, max_unavailable=1)),
    "recreate": plan_of(NEW[:2], OLD[:1], Strategy(name="recreate"), older=("r0-web-0",)),
    "canary": plan_of(NEW[:2], OLD, Strategy(name="canary", steps=FAST_CANARY, sticky=True, tester_header="X-Canary")),
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the engine may catch it."""


@dataclass
class Memory:
    """A journal in memory, which survives what happens to the engine. `die_at` counts its writes, from 0."""

    rows: list[list] = field(default_factory=list)
    writes: int = 0
    die_at: int = -1

    def _write(self) -> None:
        if self.writes == self.die_at:
            raise Killed
        self.writes += 1

    def intend(self, action: Action) -> int:
        self._write()
        self.rows.append([action, None])
        return len(self.rows) - 1

    def result(self, sequence: int, observation: Observation) -> None:
        self._write()
        self.rows[sequence][1] = observation

    def steps(self) -> list[JournalledStep]:
        return [
            JournalledStep(action=action, result=seen and seen.result, reason=seen.reason if seen else "")
            for action, seen in self.rows
        ]

    @property
    def names(self) -> list[str]:
        return [action.name for action, _ in self.rows]


@dataclass
class Traffic:
    """What runs and what users get. Each action looks first, so it can be done twice."""

    running: set[str]
    weights: dict[str, int]
    fail: frozenset[str] = frozenset()
    times: int = 1_000
    """So often each of `fail` fails."""
    cancel: frozenset[str] = frozenset()
    die: str = ""
    halfway: bool = False
    performed: list[str] = field(default_factory=list)
    dark: bool = False
    """Users had a version, and at some moment nobody got the traffic, or an instance that did not run did."""
    closed: bool = False
    leased: bool = False
    routes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, **faults: object) -> Traffic:
        running = {*plan.stable, *plan.older, *plan.kept}
        weights = dict.fromkeys(plan.stable, 100) | dict.fromkeys((*plan.older, *plan.kept), 0)
        return cls(running, weights, **faults)

    def perform(self, action: Action) -> dict[str, object]:
        self.performed.append(action.name)
        if action.name == self.die and not self.halfway:
            raise Killed
        if action.name in self.fail and self.performed.count(action.name) <= self.times:
            raise DeploykitError(f"{action.name} does not work", next_step="mend it")
        if action.name in self.cancel:
            self.cancel -= {action.name}
            raise Cancelled("cancelled by Ctrl-C")
        had = self.serving
        self._act(action)
        nobody = not self.serving or not self.serving <= self.running
        self.dark = self.dark or (bool(had) and nobody and action.kind is not Kind.CLOSE and not self.closed)
        if action.name == self.die:
            raise Killed
        return {"note": action.name}

    def _act(self, action: Action) -> None:
        match action.kind:
            case Kind.START:
                self.running |= set(action.instances)
            case Kind.ATTACH:
                for name in action.instances:
                    self.weights.setdefault(name, 0)
            case Kind.RAISE | Kind.LOWER:
                changed = action.parameters["weights"]
                assert all(name in self.running or weight == 0 for name, weight in changed.items())
                self.weights |= {name: weight for name, weight in changed.items() if weight or name in self.weights}
            case Kind.MAINTENANCE:
                self.closed = action.parameters["on"]
            case Kind.LEASE:
                self.leased = True
            case Kind.UNLEASE:
                self.leased = False
            case Kind.ROUTES:
                self.routes = dict(action.parameters["routes"])
            case Kind.CLOSE:
                self.weights.clear()
            case Kind.DETACH:
                for name in action.instances:
                    self.weights.pop(name, None)
            case Kind.STOP | Kind.RETIRE:
                for name in action.instances:
                    assert not self.weights.get(name) or self.closed, f"{name} was stopped while users get it"
                    self.running.discard(name)
                    if not self.closed:
                        self.weights.pop(name, None)

    @property
    def serving(self) -> set[str]:
        return {name for name, weight in self.weights.items() if weight}


def run(plan: Plan, journal: Memory, traffic: Traffic, **options: object) -> Engine:
    return Engine(plan, journal, traffic, sleep=lambda _seconds: None, **options)


def names_of(plan: Plan) -> list[str]:
    journal = Memory()
    run(plan, journal, Traffic.of(plan)).drive()
    return journal.names


def cases() -> list[object]:
    return [pytest.param(plan, name, id=f"{title}: {name}") for title, plan in PLANS.items() for name in names_of(plan)]


BOOK_KEEPING = {"live", "clear-routes", "drain", "warm", "retire"}
MUST_HAPPEN = {"live", "warm"}


def failing_cases() -> list[object]:
    return [case for case in cases() if case.values[1] not in MUST_HAPPEN]


def required_cases() -> list[object]:
    return [case for case in cases() if case.values[1] in MUST_HAPPEN]


def plan_is_decided_by(plan: Plan, name: str) -> bool:
    """Whether the verdict is in with that action: all that comes after it is book-keeping."""
    names = names_of(plan)
    return names[names.index(name) + 1] in BOOK_KEEPING


def is_open(traffic: Traffic) -> bool:
    """Nothing of the rollout is left at the edge."""
    return not traffic.closed and not traffic.leased and not traffic.routes


def is_new(plan: Plan, traffic: Traffic) -> bool:
    return is_open(traffic) and traffic.serving == set(plan.candidate) and set(plan.candidate) <= traffic.running


def is_old(plan: Plan, traffic: Traffic) -> bool:
    """As if nothing had been tried: the old serve, what was warm still runs, and nothing else of the new."""
    left = traffic.running & set(plan.candidate)
    back = is_open(traffic) and traffic.serving == set(plan.stable)
    return back and left == set(plan.kept) and set(plan.stable) <= traffic.running


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_rollout_in_which_all_goes_well_is_done_and_every_step_has_its_result(plan):
    journal, traffic, told = Memory(), Traffic.of(plan), []
    engine = run(plan, journal, traffic, notice=lambda action, seen: told.append((action.name, seen.result)))
    state = engine.drive()
    assert state.done
    assert is_new(plan, traffic)
    assert engine.failure is None
    assert [step.result for step in journal.steps()] == [Result.DONE] * len(journal.rows)
    assert told == [(name, Result.DONE) for name in journal.names]
    assert not traffic.running & set(plan.older)


def test_what_was_judged_when_it_was_released_is_not_judged_again():
    names = names_of(PLANS["a rollback to what is warm"])
    assert "smoke" not in names
    assert "verify" not in names


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("way", ["drive", "undo"])
def test_killed_at_any_write_of_the_journal_it_finds_its_way(plan, way):
    """Before an intent, after it (before its action), after the action, after the result: every prefix there is."""
    writes = 2 * len(names_of(plan))
    seen_live = 0
    for cut in range(writes):
        journal, traffic = Memory(die_at=cut), Traffic.of(plan)
        with pytest.raises(Killed):
            run(plan, journal, traffic).drive()
        journal.die_at = -1
        engine = run(plan, journal, traffic)
        state = engine.drive() if way == "drive" else engine.undo("its process was killed")
        assert state == run(plan, journal, traffic).state(), "a fold of the journal is the engine's state"
        assert not traffic.dark
        if way == "drive" or state.done:
            assert state.done
            assert is_new(plan, traffic)
            seen_live += 1
        else:
            assert state.failed
            assert state.cancelled
            assert is_old(plan, traffic)
    assert seen_live == writes if way == "drive" else 0 < seen_live < writes


@pytest.mark.parametrize(("plan", "name"), cases())
@pytest.mark.parametrize("halfway", [False, True], ids=["before", "after"])
def test_killed_in_any_action_that_action_is_done_again(plan, name, halfway):
    journal, traffic = Memory(), Traffic.of(plan, die=name, halfway=halfway)
    with pytest.raises(Killed):
        run(plan, journal, traffic).drive()
    assert journal.steps()[-1].result is None
    traffic.die = ""
    assert run(plan, journal, traffic).drive().done
    assert traffic.performed.count(name) == 2
    assert is_new(plan, traffic)
    assert not traffic.dark


@pytest.mark.parametrize(("plan", "name"), failing_cases())
def test_a_failure_in_any_phase_leaves_the_old_version_serving_or_the_new_one_when_it_was_judged(plan, name):
    journal, traffic = Memory(), Traffic.of(plan, fail=frozenset({name}))
    engine = run(plan, journal, traffic)
    state = engine.drive()
    assert not traffic.dark
    if name in BOOK_KEEPING:
        assert state.done
        assert state.reason == f"{name} does not work"
        assert traffic.serving == set(plan.candidate)
        assert engine.failure is None
    elif name.startswith("drain-old"):
        assert state.done, "requests that take too long don't stop a release"
        assert (state.reason, engine.failure) == ("", None)
        assert is_new(plan, traffic)
    else:
        assert state.failed
        assert not state.cancelled
        assert state.reason == f"{name} does not work"
        assert engine.failure is not None
        assert engine.failure.next_step == "mend it"
        assert is_old(plan, traffic)
    failed = [seen for _, seen in journal.rows if seen.result is Result.FAILED]
    assert [seen.data["next_step"] for seen in failed] == ["mend it"]


@pytest.mark.parametrize(("plan", "name"), required_cases())
def test_what_has_to_happen_and_fails_for_a_moment_is_tried_again(plan, name):
    journal, traffic, waited = Memory(), Traffic.of(plan, fail=frozenset({name}), times=2), []
    engine = Engine(plan, journal, traffic, sleep=waited.append)
    state = engine.drive()
    assert (state.done, state.reason, engine.failure) == (True, "", None)
    assert journal.names.count(name) == 3
    assert len(waited) == 2
    assert is_new(plan, traffic)


@pytest.mark.parametrize(("plan", "name"), required_cases())
@pytest.mark.parametrize("way", ["drive", "undo"])
def test_what_has_to_happen_and_can_not_leaves_the_rollout_unfinished_and_the_new_version_serving(plan, name, way):
    journal, traffic = Memory(), Traffic.of(plan, fail=frozenset({name}))
    with pytest.raises(DeploykitError, match=f"{name} does not work"):
        run(plan, journal, traffic).drive()
    assert not run(plan, journal, traffic).state().ended
    assert traffic.serving == set(plan.candidate)
    assert set(plan.older) <= traffic.running, "nothing after it is done"
    traffic.fail = frozenset()
    engine = run(plan, journal, traffic)
    assert (engine.drive() if way == "drive" else engine.undo("killed")).done
    assert is_new(plan, traffic)


@pytest.mark.parametrize(("plan", "name"), cases())
def test_a_cancellation_in_any_phase_leaves_the_old_version_serving_or_is_too_late(plan, name):
    shields = []
    journal, traffic = Memory(), Traffic.of(plan, cancel=frozenset({name}))
    engine = run(plan, journal, traffic, mask=lambda: shields.append(len(journal.rows)))
    state = engine.drive()
    assert shields, "what makes the traffic safe must not be interrupted"
    assert not traffic.dark
    assert state == run(plan, journal, traffic).state()
    if name in BOOK_KEEPING:
        assert state.done
        assert is_new(plan, traffic)
    else:
        assert state.failed
        assert state.cancelled
        assert state.reason == "cancelled by Ctrl-C"
        assert is_old(plan, traffic)


@pytest.mark.parametrize(("plan", "name"), cases())
def test_a_cancellation_between_two_actions_is_noticed_before_the_next_one(plan, name):
    journal, traffic, cancellation = Memory(), Traffic.of(plan), Cancellation()

    def notice(action: Action, _seen: Observation) -> None:
        if action.name == name:
            cancellation.cancel("cancelled by SIGTERM")

    engine = run(plan, journal, traffic, notice=notice, check=cancellation.check, mask=cancellation.mask)
    state = engine.drive()
    assert cancellation.masked
    assert not traffic.dark
    assert state == run(plan, journal, traffic).state()
    if name in BOOK_KEEPING or plan_is_decided_by(plan, name):
        assert state.done
        assert is_new(plan, traffic)
    else:
        assert state.cancelled
        assert state.reason == "cancelled by SIGTERM"
        assert is_old(plan, traffic)


@pytest.mark.parametrize(("name", "closed"), [("smoke", False), ("trust", False), ("edge", True), ("attach", True)])
def test_where_nothing_else_has_the_traffic_a_proxy_that_was_begun_is_ended(name, closed):
    """Half started it would take connections, and let them wait for ever."""
    plan = next(plan for plan in PLANS.values() if not plan.stable)
    traffic = Traffic.of(plan, fail=frozenset({name}))
    run(plan, Memory(), traffic).drive()
    assert ("close" in traffic.performed) is closed
    assert traffic.performed[-1] == "stop-new"


def test_a_cancelled_rollout_that_is_killed_while_it_undoes_itself_goes_on_undoing():
    plan = PLANS["over another"]
    journal, traffic = Memory(), Traffic.of(plan, cancel=frozenset({"verify"}), die="withdraw", halfway=True)
    with pytest.raises(Killed):
        run(plan, journal, traffic).drive()
    traffic.die = ""
    state = run(plan, journal, traffic).drive()
    assert state.failed
    assert state.cancelled
    assert is_old(plan, traffic)


def test_a_cancellation_between_a_result_and_its_hearing_does_not_undo_what_was_judged():
    """The journal knows best: VERIFY's result was committed, so the release stands."""
    plan, journal = PLANS["over another"], Memory()

    def notice(action: Action, _seen: Observation) -> None:
        if action.name == "verify":
            raise Cancelled("cancelled by SIGTERM")

    traffic = Traffic.of(plan)
    state = run(plan, journal, traffic, notice=notice).drive()
    assert state.done
    assert is_new(plan, traffic)


def test_a_failure_while_undoing_does_not_hide_the_first_one():
    plan = PLANS["over another"]
    journal, traffic = Memory(), Traffic.of(plan, fail=frozenset({"verify", "drain-new"}))
    engine = run(plan, journal, traffic)
    state = engine.drive()
    assert state.reason == "verify does not work"
    assert engine.failure is not None
    assert engine.failure.message == "verify does not work"
    assert engine.undo_failure is not None
    assert engine.undo_failure.message == "drain-new does not work"
    assert is_old(plan, traffic)


def test_a_step_of_undoing_a_killed_rollout_that_fails_is_known_and_the_others_are_done():
    """A proxy that could not be ended takes connections that nobody answers: who undoes must hear of it."""
    plan = PLANS["the first"]
    journal, traffic = Memory(), Traffic.of(plan, die="edge")
    with pytest.raises(Killed):
        run(plan, journal, traffic).drive()
    traffic.die, traffic.fail = "", frozenset({"close"})
    engine = run(plan, journal, traffic)
    assert engine.undo("its process was killed").failed
    assert engine.undo_failure is not None
    assert engine.undo_failure.message == "close does not work"
    assert not traffic.running


def test_what_has_ended_is_neither_driven_nor_undone_again():
    plan, journal = PLANS["the first"], Memory()
    traffic = Traffic.of(plan)
    run(plan, journal, traffic).drive()
    written = len(journal.rows)
    assert run(plan, journal, traffic).undo("too late").done
    assert run(plan, journal, traffic).drive().done
    assert len(journal.rows) == written


@pytest.mark.parametrize("name", ["start", "attach", "raise", "lower", "verify"])
def test_an_error_that_nobody_foresaw_is_undone_like_any_other_and_shows_its_whole_trace(name):
    plan, journal = PLANS["over another"], Memory()
    traffic = Traffic.of(plan)
    real = traffic.perform

    def perform(action: Action) -> dict[str, object]:
        if action.name == name:
            raise OSError(28, "No space left on device")
        return real(action)

    traffic.perform = perform
    engine = run(plan, journal, traffic)
    state = engine.drive()
    assert state.failed
    assert engine.failure is not None
    assert engine.failure.message == f"{name} failed: OSError: [Errno 28] No space left on device"
    assert any("in perform" in line for line in engine.failure.details)
    assert is_old(plan, traffic)
    assert not traffic.dark


def test_an_undecided_judge_is_asked_again_and_nothing_is_raised_meanwhile():
    plan, journal = PLANS["canary"], Memory()
    traffic = Traffic.of(plan)
    real, weights = traffic.perform, []

    def perform(action: Action) -> dict[str, object]:
        if action.name == "verify-1" and len(weights) < 5:
            weights.append(dict(traffic.weights))
            raise UndecidedError("undecided: no requests yet, 50 are wanted")
        return real(action)

    traffic.perform = perform
    state = run(plan, journal, traffic).drive()
    assert state.done
    assert weights == [weights[0]] * 5
    assert journal.names.count("verify-1") == 6
    undecided = [seen for _, seen in journal.rows if seen.result is Result.UNDECIDED]
    assert {seen.reason for seen in undecided} == {"undecided: no requests yet, 50 are wanted"}


def test_the_default_canary_is_the_template_s():
    plan = plan_of(NEW, OLD, Strategy(name="canary", steps=DEFAULT_STEPS))
    assert [stage.share for stage in plan.stages] == [5, 25, 50, 100]
    assert [stage.bake for stage in plan.stages] == [600, 600, 600, 0]
