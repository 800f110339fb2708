"""A release as its events tell it, in whatever order they come."""

from __future__ import annotations

import itertools
import json

import pytest

from deploykit.board.events import parse
from deploykit.board.projection import project


@pytest.fixture
def told(event):
    """The projection of events, checked to be the same for every order."""

    def project_all(*contents):
        events = [parse(json.dumps(event(**content)).encode())[0] for content in contents]
        seen = {project(order) for order in itertools.permutations(events)}
        assert len(seen) == 1
        return seen.pop()

    return project_all


def stage(name, seconds=1.0, outcome="done"):
    return {"name": name, "seconds": seconds, "outcome": outcome}


def test_a_release_runs_until_it_is_said_to_have_ended(told, now):
    seen = told({"at": now, "actor": "mara"}, {"kind": "stage", "at": now + 1, "stages": [stage("plan")]})
    assert (seen.outcome, seen.finished_at, seen.started_at, seen.last_event_at) == ("running", None, now, now + 1)
    assert seen.actor == "mara"


def test_a_finished_event_may_come_before_the_started_one(told, now):
    seen = told({"at": now}, {"kind": "finished", "outcome": "failed", "at": now + 9, "reason": "500 on /health"})
    assert (seen.outcome, seen.started_at, seen.finished_at) == ("failed", now, now + 9)
    assert seen.reason == "500 on /health"


def test_a_lone_finished_event_is_a_whole_release(told, now):
    seen = told({"kind": "finished", "outcome": "done", "at": now})
    assert (seen.outcome, seen.started_at, seen.finished_at) == ("done", now, now)


def test_a_start_that_was_not_reported_is_reckoned_from_the_stages(told, now):
    seen = told({"kind": "finished", "outcome": "done", "at": now, "stages": [stage("build", 4.0), stage("verify", 2)]})
    assert (seen.started_at, seen.finished_at) == (now - 6, now)


def test_started_and_finished_at_the_same_moment_is_finished(told, now):
    seen = told({"at": now}, {"kind": "finished", "outcome": "cancelled", "at": now})
    assert seen.outcome == "cancelled"


def test_a_late_stage_does_not_reopen_what_is_finished(told, now):
    seen = told(
        {"at": now},
        {"kind": "finished", "outcome": "done", "at": now + 5},
        {"kind": "stage", "at": now + 6, "stages": [stage("warm")]},
    )
    assert (seen.outcome, seen.finished_at) == ("done", now + 5)


def test_a_resumed_release_runs_again(told, now):
    seen = told({"at": now}, {"kind": "finished", "outcome": "failed", "at": now + 5}, {"at": now + 9})
    assert (seen.outcome, seen.finished_at, seen.started_at) == ("running", None, now)


def test_later_events_complete_and_correct_earlier_ones(told, now):
    seen = told(
        {"at": now, "version": None, "digest": None, "commit": "c0ffee"},
        {"kind": "stage", "at": now + 1, "stages": [stage("build", 0.0, "running")], "version": "1.1"},
        {
            "kind": "finished",
            "outcome": "done",
            "at": now + 2,
            "stages": [stage("build", 4.0), stage("verify")],
            "version": None,
            "digest": "sha256:1",
        },
    )
    assert (seen.version, seen.digest, seen.commit) == ("1.1", "sha256:1", "c0ffee")
    assert [(one.name, one.seconds, one.outcome) for one in seen.stages] == [
        ("build", 4.0, "done"),
        ("verify", 1.0, "done"),
    ]
