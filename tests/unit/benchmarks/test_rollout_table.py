"""What the rollouts' benchmark makes of answers and of a journal: a figure that is wrong there would be published."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PROXY, APP = False, True


def _imported(name):
    sys.path.insert(0, str(REPOSITORY))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(REPOSITORY))


load = _imported("benchmarks.load")
table = _imported("benchmarks.rollout_table")
measure = _imported("benchmarks.measure")
rollouts = _imported("benchmarks.rollouts")

GOOD = table.Case(name="good", behaviour={})
ERRORS = table.Case(name="10 % errors", behaviour={}, bad=True)
LATE = table.Case(name="late errors", behaviour={}, bad=True, late=True)


def answer(sent, text="old", status=200, by_app=APP, problem="", client=0):
    return load.Answer(client, sent, sent + 0.001, text, problem, status, by_app)


def page(sent):
    return answer(sent, f"{load.PAGE}\n", 503, PROXY)


def row(case, answers, moments=None, **more):
    words = {"strategy": "canary", "target": "process", "old": "old", "new": "new", "exit_code": 0, **more}
    return table.row_of(case, answers, moments or table.Moments(), **words)


@pytest.mark.parametrize(
    ("status", "by_app", "text", "kind"),
    [
        (200, APP, "old", load.Kind.GOOD),
        (500, APP, "new", load.Kind.FAILED),
        (503, APP, "new", load.Kind.FAILED),
        (404, APP, "new", load.Kind.FAILED),
        (503, APP, "maintenance", load.Kind.FAILED),
        (503, PROXY, "maintenance\n", load.Kind.MAINTENANCE),
        (503, PROXY, "tiny (local): no version is up right now\n", load.Kind.LOST),
        (502, PROXY, "maintenance", load.Kind.LOST),
        (504, PROXY, "", load.Kind.LOST),
        (200, PROXY, "who says that?", load.Kind.LOST),
        (0, PROXY, "", load.Kind.LOST),
    ],
)
def test_an_answer_is_good_failed_the_maintenance_page_or_lost(status, by_app, text, kind):
    assert load.kind_of(answer(1.0, text, status, by_app)) is kind


def test_a_bad_version_is_noticed_between_its_first_request_and_the_abort():
    answers = [
        answer(1.0),
        answer(2.0, "new", 500),
        answer(3.0, "new"),
        answer(4.25, "new"),
        answer(5.0),
        answer(5.1, "", 0, PROXY, "ConnectionResetError"),
    ]
    found = row(ERRORS, answers, table.Moments(full=None, aborted=4.0, back=4.1), exit_code=1)
    assert (found.sent, found.lost, found.failed, found.new) == (6, 1, 1, 3)
    assert found.noticed == pytest.approx(2.0)
    assert found.back == pytest.approx(250), "a user got the new version after the edge had said that nobody does"
    assert (found.switch, found.rollback) == (None, None)
    assert found.problems == {"ConnectionResetError": 1}
    assert not found.is_missed
    assert not found.is_aborted


def test_a_version_that_nobody_got_was_noticed_before():
    found = row(ERRORS, [answer(1.0)], table.Moments(aborted=2.0), exit_code=1)
    assert (found.new, found.noticed, found.back) == (0, None, None)
    assert "before" in table.lines([found])[-1]


def test_the_switch_ends_with_the_last_request_of_the_old_version_and_leaves_the_rollback_out():
    answers = [answer(1.0), answer(2.0, "new"), answer(2.5), answer(3.0, "new"), answer(9.0, "new"), answer(9.2)]
    found = row(GOOD, answers, table.Moments(full=2.0), rollback=(8.0, 0))
    assert found.switch == pytest.approx(500)
    assert found.rollback == pytest.approx(1000)


def test_the_seconds_of_maintenance_are_those_between_answers_of_the_app():
    answers = [answer(0.0), page(1.0), page(2.5), answer(3.0, "new"), page(10.0), page(11.0), answer(11.1)]
    found = row(GOOD, answers, rollback=(9.0, 0))
    assert (found.page, found.lost) == (4, 0)
    assert found.page_seconds == pytest.approx(2.5)
    assert found.switch is None
    assert found.rollback == pytest.approx(2000), "the page is not the old version"
    assert row(GOOD, [answer(0.0), page(1.0), page(2.0)]).page_seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("case", "strategy", "exit_code", "missed", "aborted"),
    [
        (GOOD, "canary", 0, False, False),
        (GOOD, "canary", 2, False, True),
        (ERRORS, "rolling", 0, True, False),
        (ERRORS, "rolling", 1, False, False),
        (LATE, "canary", 0, True, False),
        (LATE, "rolling", 0, False, False),
    ],
)
def test_what_is_missed_and_what_is_aborted_by_mistake(case, strategy, exit_code, missed, aborted):
    found = row(case, [answer(1.0, "new")], strategy=strategy, exit_code=exit_code)
    assert (found.is_missed, found.is_aborted) == (missed, aborted)


def test_a_good_version_that_nobody_got_is_no_success():
    assert row(GOOD, [answer(1.0)]).is_aborted


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([row(GOOD, [answer(1.0, "new"), page(2.0)]), row(ERRORS, [answer(1.0)], exit_code=1)], []),
        ([row(GOOD, [answer(1.0, "new"), answer(2.0, "", 0, PROXY, "reset")])], ["lost requests"]),
        ([row(ERRORS, [answer(1.0, "new")])], ["bad versions that were not noticed"]),
        ([row(GOOD, [answer(1.0, "new")], exit_code=1)], ["good versions that were aborted"]),
        ([row(GOOD, [answer(1.0, "new")], rollback=(1.0, 1))], ["rollbacks that failed"]),
    ],
)
def test_a_bound_is_not_kept_where_one_release_breaks_it(rows, broken):
    section = rollouts.section_of(rows)
    assert [figure.name for figure in section.figures if not figure.holds] == broken
    assert len(section.as_json()["rows"]) == len(rows)


def test_moments_are_read_from_the_journal():
    steps = [
        table.Step(name="plan", result="", began=0.0, ended=1.0),
        table.Step(name="raise-1", result="done", began=1.0, ended=2.0),
        table.Step(name="verify-1", result="undecided", began=2.0, ended=3.0),
        table.Step(name="raise-2", result="done", began=3.0, ended=4.0),
        table.Step(name="verify-2", result="failed", began=4.0, ended=5.0),
        table.Step(name="restore", result="done", began=5.0, ended=6.0),
        table.Step(name="withdraw", result="done", began=6.0, ended=7.0),
        table.Step(name="stop-new", result="failed", began=7.0, ended=8.0),
    ]
    assert table.moments_of(steps) == table.Moments(full=3.0, aborted=5.0, back=7.0)
    assert table.moments_of(steps[:1]) == table.Moments()


def test_the_table_fits_a_terminal_of_80_columns():
    wide = row(
        table.Case(name="late errors", behaviour={}, bad=True),
        [answer(float(number), "new", 500) for number in range(50)],
        table.Moments(full=0.0, aborted=12_345.6, back=12_345.7),
        strategy="blue-green",
        exit_code=1,
        rollback=(1.0, 2),
    )
    good = row(GOOD, [answer(1.0), page(2.0)], table.Moments(full=0.9), strategy="recreate", target="docker")
    lines = table.lines([wide, wide, good])
    section = measure.Section(title="", figures=[measure.Figure(name="lost", unit="", samples=[0])], lines=lines)
    assert max(map(len, measure.table(section))) <= 80
    assert [line for line in lines if not line.startswith(" ")] == ["blue-green, process", "recreate, docker"]
    assert lines[3].split() == ["late", "errors", "50", "0", "50", "50", "12345.6", "100", "48,000", "1,", "2"]


def test_a_row_is_a_json_object():
    found = row(GOOD, [answer(1.0)]).as_json()
    assert (found["case"], found["sent"], found["exit_code"]) == ("good", 1, 0)
