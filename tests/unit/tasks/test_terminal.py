from __future__ import annotations

import io
import os
from dataclasses import replace

import pytest

from deploykit.model.printable import printed
from deploykit.release.reporting import text
from deploykit.release.reporting.live_view import Figures, LiveView
from deploykit.release.reporting.reporter import ReleaseReport, Stage
from deploykit.tasks.terminal import TerminalReporter, coloured, error_lines, release_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def wide(monkeypatch):
    def set_to(columns: int) -> None:
        monkeypatch.setattr(text.shutil, "get_terminal_size", lambda _fallback=None: os.terminal_size((columns, 24)))

    return set_to


@pytest.mark.parametrize(
    ("variables", "stream", "expected"),
    [
        ({}, io.StringIO, False),
        ({}, Terminal, True),
        ({"TERM": "dumb"}, Terminal, False),
        ({"FORCE_COLOR": "1"}, io.StringIO, True),
        ({"NO_COLOR": "1"}, Terminal, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal, False),
    ],
)
def test_colour_is_for_those_who_look_unless_they_say_otherwise(monkeypatch, variables, stream, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert coloured(stream()) is expected


def test_an_error_is_a_sentence_what_was_seen_and_the_next_command():
    lines = error_lines(
        "the new version ended before it was healthy, which nobody had thought that it ever would (exit code 3)",
        ["asked: GET /health", "last log lines:", "  a line of a log that is long " + "x" * 80],
        "mend it",
        stream=io.StringIO(),
    )
    assert lines == [
        "error: the new version ended before it was healthy, which nobody had thought",
        "       that it ever would (exit code 3)",
        "  asked: GET /health",
        "  last log lines:",
        "    a line of a log that is long " + "x" * 80,
        "  next: mend it",
    ]


def test_a_long_detail_of_ours_is_folded_and_a_next_step_may_have_lines_to_copy():
    lines = error_lines(
        "no command",
        ["looked for " + "a Flask application, " * 6],
        'add to pyproject.toml:\n\n[tool.deploykit.service]\ncommand = "…"\n',
        stream=io.StringIO(),
    )
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("    ")
    assert lines[-4:] == ["  next: add to pyproject.toml:", "", "  [tool.deploykit.service]", '  command = "…"']


def test_an_error_that_says_nothing_more_is_one_line():
    assert error_lines("no", [], "", stream=io.StringIO()) == ["error: no"]
    assert list(map(printed, error_lines("no", [], "", stream=Terminal()))) == ["\x1b[31merror: \x1b[0mno"]


def report(**changes) -> ReleaseReport:
    values = {
        "outcome": "done",
        "release": "r2",
        "app": "shop",
        "environment": "local",
        "version": "2.0.0",
        "digest": "sha256:" + "2" * 64,
        "url": "http://127.0.0.1:1",
        "anchor": "abcdef" * 10,
        "stages": (Stage(name="build", seconds=1.0, outcome="done"), Stage(name="start", seconds=0.5, outcome="done")),
        "live": "2.0.0 (r2)",
        "back_to": "1.0.0",
    }
    return ReleaseReport(**{**values, **changes})


def said(**changes) -> list[str]:
    return release_lines(report(**changes), stream=io.StringIO())


def test_a_release_ends_with_its_version_its_url_and_what_to_try():
    assert said() == [
        "",
        "2.0.0 (r2) is live in local, 1.5 s",
        "  url      http://127.0.0.1:1",
        "  version  2.0.0",
        "  digest   sha256:" + "2" * 64,
        "  ledger   abcdefabcdefabcd",
        "  next     invoke status --env local",
        "           invoke rollback --env local   (to 1.0.0)",
    ]


def test_a_rollback_says_by_which_method_the_version_got_its_users():
    lines = said(kind="rollback", method="traffic switch: 1.2.3 still runs (warm until 14:05 UTC)")
    assert "  method   traffic switch: 1.2.3 still runs (warm until 14:05 UTC)" in lines
    assert not any(line.startswith("  method") for line in said())


def test_nobody_is_told_to_roll_back_to_nothing():
    assert said(back_to="")[-2:] == ["  next     invoke status --env local", "           invoke history --env local"]


def test_a_rollback_says_what_users_get_and_not_its_own_name():
    assert said(kind="rollback", release="r3", version="1.0.0", live="1.0.0 (r1)")[1] == (
        "1.0.0 (r1) is live in local, 1.5 s"
    )


def test_when_all_was_undone_nothing_is_said_to_be_live():
    lines = said(outcome="undone", live="", back_to="", reason="r1 (1.0.0) had not ended and was undone")
    assert lines == [
        "",
        "nothing is live in local, 1.5 s",
        "  note     r1 (1.0.0) had not ended and was undone",
        "  next     invoke release --env local",
    ]


@pytest.mark.parametrize(
    ("changes", "head", "traffic"),
    [
        ({"live": "1.0.0 (r1)"}, "2.0.0 (r2) failed in local, 1.5 s", "  1.0.0 (r1) still has the traffic"),
        ({"live": ""}, "2.0.0 (r2) failed in local, 1.5 s", "  nothing has the traffic"),
        ({}, "2.0.0 (r2) failed in local, 1.5 s", "  2.0.0 (r2) has the traffic"),
        (
            {"outcome": "cancelled", "live": "1.0.0 (r1)"},
            "2.0.0 (r2) was cancelled in local, 1.5 s",
            "  1.0.0 (r1) still has the traffic",
        ),
        (
            {"kind": "rollback", "live": "1.0.0 (r1)"},
            "the rollback to 2.0.0 (r2) failed in local, 1.5 s",
            "  1.0.0 (r1) still has the traffic",
        ),
        (
            {"version": "", "live": ""},
            "the release (r2) failed in local, 1.5 s",
            "  nothing has the traffic",
        ),
    ],
)
def test_a_failure_says_first_who_has_the_traffic(changes, head, traffic):
    lines = said(**{"outcome": "failed", "exit_code": 1, "reason": "it crashed", "details": ("exit code 3",)} | changes)
    assert lines == ["", head, traffic, "error: it crashed", "  exit code 3", "  next: invoke status --env local"]


def stage(note: str, outcome: str = "done") -> Stage:
    return Stage(name="build", seconds=1.234, outcome=outcome, note=note)


def heard(*told: Stage, stream: io.StringIO | None = None) -> list[str]:
    stream = stream or io.StringIO()
    reporter = TerminalReporter(stream)
    for item in told:
        reporter.stage_started(item.name)
        reporter.stage_ended(item)
    return stream.getvalue().splitlines()


def test_a_stage_is_a_line_with_its_time():
    assert heard(stage("made")) == ["  done      build        1.23 s  made"]
    assert heard(stage("", "cancelled")) == ["  cancelled build        1.23 s"]


def test_a_long_note_goes_on_below_itself():
    (first, *rest) = heard(stage("environment made, locked by requirements.txt; " * 3))
    assert first.startswith("  done      build        1.23 s  environment made")
    for line in rest:
        assert line.startswith(" " * 33)
        assert line[33] != " "
    assert max(map(len, (first, *rest))) <= 80


def test_on_a_narrow_terminal_it_goes_below_its_stage(wide, monkeypatch):
    wide(48)
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = heard(stage("environment made, locked by requirements.txt"), stream=Terminal())
    assert lines == ["  done      build        1.23 s", "    environment made, locked by requirements.txt"]


def test_the_outcome_is_coloured_and_the_width_does_not_count_it(wide):
    wide(80)
    shown = heard(stage("x" * 20, "failed"), stream=(terminal := Terminal()))
    assert "\x1b[31mfailed\x1b[0m    build        1.23 s  " in terminal.getvalue()
    assert shown


def test_notes_and_warnings_are_folded():
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    reporter.note("a note")
    reporter.warn("the lock was left behind by a process that has ended, so it is taken over by this one now")
    assert stream.getvalue().splitlines() == [
        "  a note",
        "  warning: the lock was left behind by a process that has ended, so it is taken",
        "    over by this one now",
    ]


def test_what_is_said_while_the_spinner_turns_stands_above_it(wide):
    wide(80)
    stream = Terminal()
    reporter = TerminalReporter(stream)
    reporter.stage_started("build")
    reporter.note("waiting for another build")
    reporter.stage_started("start")
    reporter.stage_ended(stage("made"))
    told = stream.getvalue()
    assert "waiting for another build" in told
    assert told.endswith("  \x1b[32mdone\x1b[0m      build        1.23 s  made\n")
    assert told.count("\x1b[?25l") == told.count("\x1b[?25h") == 2


# What a rollout does now ------------------------------------------------------------------------------------------------

VIEW = LiveView(
    stage=1,
    stages=4,
    share=5,
    candidate=Figures(requests=10),
    stable=Figures(),
    decision="undecided",
    words="10 of 50 wanted requests seen",
    left=600,
)


def seen(requests: int, **changes) -> LiveView:
    return replace(VIEW, candidate=Figures(requests=requests), **changes)


def test_a_log_gets_a_line_at_the_beginning_at_each_change_and_every_ten_seconds_of_news():
    now, stream = [0.0], io.StringIO()
    reporter = TerminalReporter(stream, clock=lambda: now[0])
    views = [
        (0, seen(3)),  # the beginning
        *((second, seen(second)) for second in range(1, 25)),  # two lines
        (25, seen(25, waits_for="paused by ana")),  # a change
        *((second, seen(25, waits_for="paused by ana")) for second in range(26, 90)),  # one line
    ]
    for now[0], view in views:
        reporter.view(view)
    printed = [line.split()[9] for line in stream.getvalue().splitlines() if line.startswith("  stage")]
    assert printed == ["3", "10", "20", "25", "25"]


@pytest.mark.parametrize("columns", [30, 60])
def test_a_terminal_draws_it_below_the_spinner_and_leaves_nothing_of_it(wide, columns):
    wide(columns)
    stream = Terminal()
    reporter = TerminalReporter(stream)
    reporter.stage_started("verify")
    reporter.view(seen(7, waits_for="paused by \x1b[2J" + "\x9b" * 60))
    reporter.stage_ended(Stage(name="verify", seconds=1.0, outcome="done"))
    drawn = stream.getvalue()
    assert "\n  stage 1 of 4, 5 % of the " in drawn
    assert "\x1b[2J" not in drawn
    assert "\x9b" not in drawn
    below = drawn[drawn.index("\n  stage") :].split("\r")[0].splitlines()[1:]
    assert max(map(len, below)) < columns
    assert f"\r\x1b[{len(below)}A\x1b[J" in drawn


def test_an_agent_of_continuous_integration_gets_lines_on_a_terminal_too(monkeypatch):
    monkeypatch.setenv("CI", "true")
    stream = Terminal()
    reporter = TerminalReporter(stream)
    reporter.stage_started("verify")
    reporter.view(VIEW)
    assert "\x1b[1A" not in stream.getvalue()
    assert "stage 1 of 4" in stream.getvalue()
