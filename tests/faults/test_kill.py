"""A command killed by -9 anywhere: the three ways on each find theirs, and users notice nothing.

By default each kind of step is met once, at one of its points, and gone on from in one way; with --every-case at all
and in all. `tests/integration/crashes` has all of them in one process, on fakes. The steps are those that a real
command wrote into its journal in this very run. A step that is not in STEPS fails the suite before its cases run:
look at it, and at what a kill in it should lead to, then add it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from driver import POINTS, writing_methods
from harness import KEPT_WARM, Load, Machine, Ran, ReleasedService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PIPELINE = ["plan", "build", "migrate", "rollout"]
START = ["start", "health", "smoke", "trust", "edge", "attach", "raise"]
STEPS = {
    "first": [*PIPELINE, *START, "verify", "live"],
    "second": [*PIPELINE, *START, "lower", "verify", "live", "drain", "warm"],
    "third": [*PIPELINE, *START, "lower", "verify", "live", "drain", "warm", "retire"],
    "undone": ["restore", "withdraw", "drain-new", "detach-new", "stop-new"],
    "rollback": [
        *("target", "rollout", "start", "health", "trust", "edge", "attach"),
        *("raise", "lower", "live", "drain", "warm"),
    ],
}
"""The journal's steps, by what is released over what. "undone" are those after a verdict that was against the
release.
"""

FIRST = ("edge", "attach", "raise", "verify", "live")
"""Steps that go another way when nothing was released before; by default the first release is killed in these alone."""
BACK = ("target", "rollout", "start", "attach", "raise", "lower", "live")
"""The same for a rollback: its own steps, and those by which another version gets the traffic."""
WRITES = [
    *("acquire", "add_evidence", "add_timer", "amend", "answer", "ask", "begin", "break_lock", "claim", "finish"),
    *("heartbeat", "intend", "record_maintenance", "remove_timer", "result", "set_live", "unlock"),
]
"""Every method of the ledger that writes."""

RESUME, ROLLBACK, PLAIN = ("release", "--resume"), ("rollback",), ("release",)
WAYS = (RESUME, ROLLBACK, PLAIN)
NOBODY = ("ConnectionRefusedError", "HTTPException")
"""What users get where nothing is live: no proxy, or its 503."""
TEXTS = ("alpha", "beta", "gamma", "delta")
SOON = 0.02
"""Seconds. An action that takes less has no middle that a kill could be aimed at."""
BATCH = 30
"""So many cases in one environment: the record's check walks its whole chain, which grows."""
WARM, COLD = {"warm_for": KEPT_WARM}, {"warm_for": 0}


@dataclass(frozen=True)
class Case:
    """Where a command is killed, and what is typed afterwards."""

    name: str
    plan: dict[str, Any]
    way: Sequence[str]

    @property
    def point(self) -> str:
        return str(self.plan["point"])

    def __str__(self) -> str:
        return f"{self.name} {self.point}, then {' '.join(self.way)}"


@dataclass
class Trial:
    """One worker's released, the behaviours in it, and what went wrong."""

    released: ReleasedService
    wrong: list[str] = field(default_factory=list)
    cases: int = 0
    during: int = 0
    turn: int = 0
    fresh: int = 0
    live: str = ""
    stop: bool = False

    @property
    def enough(self) -> bool:
        """It need not go on."""
        return self.stop or len(self.wrong) > 12

    def next_text(self) -> str:
        """Another behaviour than the last ones; built before, since the tree is the same as some rounds ago."""
        self.turn += 1
        return TEXTS[self.turn % len(TEXTS)]

    def new_text(self) -> str:
        """A behaviour that was never built."""
        self.fresh += 1
        return f"fresh {self.fresh}"

    def release(self) -> str:
        """Release another behaviour than what is live: a rollback does not go back to the same."""
        text = self.next_text()
        self.live = text if text != self.live else self.next_text()
        self.released.release(self.live)
        return self.live

    def killed(self, case: Case, *argv: str) -> bool:
        ran = self.released(*argv, kill=case.plan)
        self.cases += 1
        if ran.struck == (case.name, "during"):
            self.during += 1
        elif case.point == "during" and ran.struck == (case.name, "after-action"):
            pass  # it was over sooner than the time before
        elif ran.struck != (case.name, case.point):
            self.fail(case, f"was struck at {ran.struck}", ran)
            return False
        if ran.returncode != -9:
            self.fail(case, f"exit code {ran.returncode} of the command that should have been killed", ran)
        return ran.returncode == -9

    def goes_on(self, case: Case, expected: str, *, code: int = 0, url: str) -> Ran:
        """Type what the case says; `expected` is then what users get, "" for nothing."""
        ran = self.released(*case.way)
        if ran.returncode != code:
            self.fail(case, f"exit code {ran.returncode} instead of {code}", ran)
        if (got := self.released.serves(url)) not in {expected, *(NOBODY if expected == "" else ())}:
            self.fail(case, f"users get {got!r} instead of {expected!r}", ran)
        self.live = expected
        for problem in self.released.problems():
            self.fail(case, problem, ran)
        return ran

    def fail(self, case: Case, what: str, ran: Ran | None = None) -> None:
        tail = "" if ran is None else "\n    " + "\n    ".join(ran.output.splitlines()[-14:])
        self.wrong.append(f"{case}: {what}{tail}")


def cases_of(steps: Sequence[tuple[str, float]], *, skip: int = 0, rotate: bool = False) -> list[Case]:
    """Every step, at every point that differs from its neighbours, in every way.

    Before an intent is where the kill after the result before it leaves the record, so only the first one's is met;
    what is written between two steps has a test of its own. And only what takes its time is killed in the middle.

    `rotate` takes the ways by turns, so that each step meets each: for a journal whose steps are also another's.
    """
    return [
        Case(name, {"step": index, "point": point, "delay": seconds / 2}, way)
        for index, (name, seconds) in enumerate(steps)
        if index >= skip
        for number, point in enumerate(POINTS)
        for turn, way in enumerate(WAYS)
        if point != "before-intent" or index == skip
        if point != "during" or seconds >= SOON
        if not rotate or (index + number) % len(WAYS) == turn
    ]


def one_of_each_step(cases: list[Case]) -> list[Case]:
    """Each step once, its points and the ways on by turns."""
    steps: dict[Any, list[Case]] = {}
    for case in cases:
        # Beside the journal it is the calls of the ledger that are counted.
        steps.setdefault(case.plan.get("step", case.plan.get("call")), []).append(case)
    return [of_step[turn * 5 % len(of_step)] for turn, of_step in enumerate(steps.values())]


@pytest.fixture
def share(every_case: bool) -> Callable[[list[Case]], list[Case]]:
    """Which of the cases are run."""
    return list if every_case else one_of_each_step


@pytest.fixture
def trials(
    machine: Machine,
    tmp_path: Path,
    counted: Callable[[str], None],
    target: str,
    share: Callable[[list[Case]], list[Case]],
    every_case: bool,
) -> Any:
    """Run `work(trial, part)`, with many cases in two services at once; `part` picks each one's share of the cases.

    `part(cases, of)`: by default only those of these steps.
    """
    workers = 2 if every_case else 1

    def picked(cases: list[Case], of: Sequence[str] = ()) -> list[Case]:
        return share([case for case in cases if every_case or not of or case.name in of])

    def run(work: Callable[[Trial, Callable[..., list[Case]]], None]) -> None:
        made: list[Trial] = []
        crashed: list[BaseException] = []

        def worker(number: int) -> None:
            try:
                with machine.service(tmp_path / f"tiny-{number}", target=target) as own:
                    trial = Trial(own)
                    made.append(trial)
                    work(trial, lambda *wanted: picked(*wanted)[number::workers])
            except BaseException as error:
                crashed.append(error)

        threads = [threading.Thread(target=worker, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:  # a timeout, or Ctrl-C: each ends its case and takes down what it started
            for trial in made:
                trial.stop = True
            for thread in threads:
                thread.join()
        wrong = [text for trial in made for text in trial.wrong]
        cases, during = sum(trial.cases for trial in made), sum(trial.during for trial in made)
        counted(f"{cases} kills, {during} of them in the middle of the action")
        if crashed:
            raise crashed[0]
        assert cases
        assert not wrong, f"{len(wrong)} things went wrong in {cases} cases:\n\n" + "\n\n".join(wrong[:12])

    return run


def under_load(
    trial: Trial,
    cases: list[Case],
    begin: Callable[[], None],
    act: Callable[[Case, str], None],
    *,
    maintenance: bool = False,
) -> None:
    """Run the cases while clients that never retry use the service; none of them may notice anything, or with
    `maintenance` nothing but the maintenance page.

    `begin` makes the releases that go before, in an environment without a past. At first they are there already.
    """
    url = trial.released.url
    for first in range(0, len(cases), BATCH):
        if first:
            trial.released.afresh()
            begin()
        with Load(url, maintenance=maintenance) as load:
            for case in cases[first : first + BATCH]:
                lost = len(load.lost)
                act(case, url)
                if len(load.lost) > lost:
                    trial.fail(case, f"lost requests: {load.lost[lost : lost + 3]}")
                if trial.enough:
                    return
            load.next_answers()
        load.assert_nothing_lost()


@pytest.mark.timeout(1800)
def test_a_first_release_that_was_killed_goes_on_or_leaves_nothing(trials: Any) -> None:
    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        steps = own.release(trial.next_text()).steps
        names = [name for name, _ in steps]
        assert names == STEPS["first"], "new steps: look at them, then change STEPS"
        for case in part(cases_of(steps), FIRST):
            own.afresh()
            text = trial.next_text()
            own.behave(text)
            if not trial.killed(case, "release"):
                continue
            url = own.url
            judged = after(case, names, "verify")
            if case.way == ROLLBACK:
                # Judged good, it is finished, and the first release has nothing before it: that's said.
                trial.goes_on(case, text if judged else "", code=3 if judged else 0, url=url)
            elif case.way == RESUME and own.serves(url) == text:
                with Load(url) as load:
                    trial.goes_on(case, text, url=url)
                    load.next_answers()
                if load.lost:
                    trial.fail(case, f"lost requests: {load.lost[:3]}")
            else:
                trial.goes_on(case, text, url=url)
            if trial.enough:
                return

    trials(work)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "service"),
    [pytest.param("second", COLD, marks=pytest.mark.every_case), ("third", WARM)],
    ids=["second", "third"],
)
def test_a_release_that_was_killed_goes_on_or_back(trials: Any, kind: str, service: dict[str, Any]) -> None:
    """`second`: over a stable version, and nothing else is there. `third`: with an older one that is retired, and all
    the steps of the second besides.
    """

    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        own.settings(**service)
        for _ in range(2):
            trial.release()
        steps = own.release(trial.next_text()).steps
        trial.live = TEXTS[trial.turn % len(TEXTS)]
        assert [name for name, _ in steps] == STEPS[kind], "new steps: look at them, then change STEPS"

        def act(case: Case, url: str) -> None:
            before = trial.live
            # The cases of the build shall meet a real one.
            text = trial.new_text() if case.name == "build" else trial.next_text()
            own.behave(text)
            if trial.killed(case, "release"):
                trial.goes_on(case, before if case.way == ROLLBACK else text, url=url)

        def begin() -> None:
            for _ in range(2):
                trial.release()

        under_load(trial, part(cases_of(steps, rotate=kind == "second")), begin, act)

    trials(work)


@pytest.mark.timeout(1800)
def test_a_release_that_was_killed_while_it_undid_itself_is_undone(trials: Any) -> None:
    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        trial.release()
        trial.release()
        strict = {"p95_ms": 0.001}
        own.settings(thresholds=strict)
        own.behave(trial.next_text())
        refused = own("release")
        assert refused.returncode == 1
        names = [name for name, _ in refused.steps]
        skip = names.index("verify") + 1
        assert names[skip:] == STEPS["undone"], "new steps: look at them, then change STEPS"

        def act(case: Case, url: str) -> None:
            before = trial.live
            text = trial.next_text()
            own.settings(thresholds=strict)
            own.behave(text)
            if not trial.killed(case, "release"):
                return
            own.settings()
            code = 1 if case.way == RESUME else 0
            trial.goes_on(case, text if case.way == PLAIN else before, code=code, url=url)

        def begin() -> None:
            own.settings()
            for _ in range(2):
                trial.release()

        under_load(trial, part(cases_of(refused.steps, skip=skip)), begin, act)

    trials(work)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("where", "service"),
    [pytest.param("warm", WARM, marks=pytest.mark.every_case), ("gone", COLD)],
    ids=["warm", "gone"],
)
def test_a_rollback_that_was_killed_is_finished(trials: Any, where: str, service: dict[str, Any]) -> None:
    """To a version that is still warm, and to one that has to be started again from its artefact."""

    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        own.settings(**service)
        trial.release()
        stack = [trial.live, trial.release()]
        steps = own.ok("rollback").steps
        stack.pop()
        assert [name for name, _ in steps] == STEPS["rollback"], "new steps: look at them, then change STEPS"

        def begin() -> None:
            trial.release()
            stack[:] = [trial.live, trial.release()]

        def act(case: Case, url: str) -> None:
            if len(stack) < 2:
                stack.append(trial.release())
            running = len([item for item in own.instances() if item["state"] == "running"])
            if (running >= 2) != (where == "warm") and where == "warm":
                trial.fail(case, "the version before is not warm")
            old = stack[-2]
            text = trial.next_text()
            while text in stack[-2:]:
                text = trial.next_text()
            own.behave(text)
            if not trial.killed(case, "rollback"):
                return
            if case.way == PLAIN:
                trial.goes_on(case, text, url=url)
                # What the new release is over depends on whether the rollback had been judged done.
                stack[:] = [old if after(case, STEPS["rollback"], "lower") else stack[-1], text]
            else:
                trial.goes_on(case, old, url=url)
                stack[:] = [old]

        under_load(trial, part(cases_of(steps, rotate=where == "gone"), BACK), begin, act)

    trials(work)


def after(case: Case, names: Sequence[str], step: str) -> bool:
    """Whether the result of `step` was on the record when the case's kill came."""
    here, there = names.index(case.name), names.index(step)
    return here > there or (here == there and case.point == "after-result")


def test_every_method_of_the_ledger_that_writes_is_known() -> None:
    assert writing_methods() == sorted(WRITES), "a new write: look at it, then change WRITES"


@pytest.mark.timeout(1800)
def test_a_release_that_was_killed_beside_its_journal_goes_on_or_back(trials: Any) -> None:
    """Before and after each write that is no step: the lock, the release's begin and end, what is live, timers."""

    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        own.settings(**WARM)
        for _ in range(3):
            trial.release()
        calls = own.release(trial.next_text()).calls
        trial.live = TEXTS[trial.turn % len(TEXTS)]
        small = [index for index, name in enumerate(calls) if name not in {"intend", "result"}]
        assert {calls[index] for index in small} >= {"acquire", "begin", "amend", "set_live", "add_timer", "finish"}
        begun, finished = calls.index("begin"), calls.index("finish")
        cases = [
            Case(calls[index], {"call": index, "point": point}, way)
            for index in small
            for point in ("before", "after")
            for way in WAYS
        ]

        def act(case: Case, url: str) -> None:
            before, text = trial.live, trial.next_text()
            own.behave(text)
            planned = own.ok("rollback", "--plan", "--json").json["facts"]["to"] if case.way == ROLLBACK else ""
            if not trial.killed(case, "release"):
                return
            call, past = case.plan["call"], case.point == "after"
            if call < begun or (call == begun and not past):
                # Nothing had begun: there is nothing to resume, and a rollback is one of what was live before.
                if case.way == ROLLBACK:
                    ran = own("rollback")
                    trial.live = own.serves(url)
                    if ran.returncode or planned.split()[0] != own.status()["version"]:
                        trial.fail(case, f"not rolled back to {planned}", ran)
                    return
                expected, code = (before, 3) if case.way == RESUME else (text, 0)
            elif call > finished or (call == finished and past):
                expected = before if case.way == ROLLBACK else text
                code = 3 if case.way == RESUME else 0
            else:
                expected, code = before if case.way == ROLLBACK else text, 0
            trial.goes_on(case, expected, code=code, url=url)

        def begin() -> None:
            for _ in range(3):
                trial.release()

        under_load(trial, part(cases), begin, act)

    trials(work)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("victim", ["supervisor", "candidate"])
def test_what_is_killed_beside_a_release_harms_no_user(trials: Any, victim: str) -> None:
    """The supervisor at every step; the new version's own process at every step until it has the traffic."""

    def work(trial: Trial, part: Callable[..., list[Case]]) -> None:
        own = trial.released
        own.settings(**WARM)
        for _ in range(3):
            trial.release()
        names = [name for name, _ in own.release(trial.next_text()).steps]
        trial.live = TEXTS[trial.turn % len(TEXTS)]
        first, last = (
            (0, len(names)) if victim == "supervisor" else (names.index("start") + 1, names.index("raise") + 1)
        )
        cases = [
            Case(name, {"step": index, "point": "after-intent", "victim": victim}, PLAIN)
            for index, name in enumerate(names)
            if first <= index < last
        ]

        def act(case: Case, url: str) -> None:
            before, text = trial.live, trial.next_text()
            own.behave(text)
            ran = own("release", kill=case.plan)
            trial.cases += 1
            if ran.struck is None or ran.returncode not in {0, 1}:
                trial.fail(case, f"struck at {ran.struck}, exit code {ran.returncode}", ran)
            trial.live = text if ran.returncode == 0 else before
            if (got := own.serves(url)) != trial.live:
                trial.fail(case, f"exit code {ran.returncode}, and users get {got!r}, not {trial.live!r}", ran)
            for problem in own.problems():
                trial.fail(case, problem, ran)

        def begin() -> None:
            for _ in range(3):
                trial.release()

        under_load(trial, part(cases), begin, act)

    trials(work)
