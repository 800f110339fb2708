"""Events for programs: each is a line of JSON, and none holds a release up."""

from __future__ import annotations

import io
import json
import os
import stat

import pytest

from deploykit.model import UsageError
from deploykit.release.reporting.live_view import Figures, LiveView
from deploykit.release.reporting.reporter import Stage
from deploykit.tasks.events import EventsReporter, open_events
from deploykit.tasks.terminal import TerminalReporter

VIEW = LiveView(
    stage=1, stages=1, share=100, candidate=Figures(), stable=Figures(), decision="undecided", words="…", left=8
)


def test_each_event_is_a_line_and_people_read_the_same_as_before(tmp_path):
    path = tmp_path / "events.jsonl"
    people = io.StringIO()
    with open_events(str(path)) as stream:
        reporter = EventsReporter(TerminalReporter(people), stream, clock=lambda: 12.3456)
        reporter.stage_started("verify")
        reporter.note("Judged on\n50 probe requests.")
        reporter.view(VIEW)
        reporter.warn("careful")
        reporter.stage_ended(Stage(name="verify", seconds=1.0, outcome="done"))
        lines = path.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["stage_started", "note", "rollout", "warning", "stage_ended"]
    assert {event["at"] for event in events} == {12.346}
    assert events[2]["share"] == 100
    assert events[4]["outcome"] == "done"
    assert "warning: careful" in people.getvalue()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_events_are_appended(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "earlier"}\n')
    with open_events(str(path)) as stream:
        EventsReporter(TerminalReporter(io.StringIO()), stream).stage_started("plan")
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("where", ["missing/events", ".", "unread"])
def test_what_can_not_be_written_is_refused_before_anything_begins(tmp_path, where):
    os.mkfifo(tmp_path / "unread")
    with pytest.raises(UsageError, match="events can't be written to") as refused:
        open_events(str(tmp_path / where))
    assert "--events" in refused.value.next_step


@pytest.mark.parametrize("goes", [True, False])
def test_a_reader_that_goes_away_or_stops_reading_ends_the_events_and_not_the_release(tmp_path, goes):
    path = tmp_path / "events"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    people = io.StringIO()
    with open_events(str(path)) as stream:
        reporter = EventsReporter(TerminalReporter(people), stream)
        reporter.note("one")
        if goes:
            os.close(reader)
        for _ in range(40):
            reporter.note("x" * 4000)
        if not goes:
            os.close(reader)
    assert people.getvalue().splitlines().count("  warning: events can't be written any more") == 1
    assert people.getvalue().count("  " + "x" * 4000) == 40
