"""Reading events: good ones as they were meant, bad ones with all their mistakes."""

from __future__ import annotations

import json

import pytest

from deploykit.board.events import KINDS, OPERATIONS, OUTCOMES, InvalidEventError, parse, restore
from deploykit.model import ReleaseOutcome


def mistakes(content: object) -> dict[str, str]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(InvalidEventError) as caught:
        parse(body)
    return {mistake.field: mistake.message for mistake in caught.value.mistakes}


def test_the_outcomes_are_those_of_the_kit():
    assert set(OUTCOMES) == {outcome.value for outcome in ReleaseOutcome}


def test_an_event_is_read_as_it_was_meant(event):
    stages = [{"name": "build", "seconds": 1.5, "outcome": "done"}]
    read, ignored = parse(json.dumps(event(kind="stage", stages=stages, actor="mara", later="field")).encode())
    assert (read.app, read.environment, read.release, read.kind) == ("shop", "local", "r1", "stage")
    assert (read.outcome, read.operation, read.actor) == ("running", "release", "mara")
    assert [(stage.name, stage.seconds, stage.outcome) for stage in read.stages] == [("build", 1.5, "done")]
    assert ignored == ("later",)


def test_what_is_stored_is_read_back_the_same(event):
    stages = [{"name": "build", "seconds": 1.5, "outcome": "done"}]
    read, _ = parse(json.dumps(event(kind="finished", outcome="done", stages=stages)).encode())
    assert restore(read.canonical()) == read
    assert restore(read.canonical()).fingerprint() == read.fingerprint()


def test_a_time_may_be_spelled_in_two_ways(event):
    number, _ = parse(json.dumps(event(id="0" * 32, at=1_800_000_000)).encode())
    for spelled in ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"):
        text, _ = parse(json.dumps(event(id="0" * 32, at=spelled)).encode())
        assert text.fingerprint() == number.fingerprint()


def test_every_mistake_is_told_at_once():
    found = mistakes({"id": "x", "kind": "begun", "at": "yesterday", "url": "javascript:alert(1)", "stages": [{}, 3]})
    assert set(found) == {
        "id",
        "app",
        "environment",
        "release",
        "kind",
        "at",
        "url",
        "stages[0].name",
        "stages[1]",
    }
    assert all(name in found["kind"] for name in KINDS)
    assert "nothing" not in found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", 7),
        ("id", ["x"]),
        ("id", "{nonsense}"),
        ("app", ""),
        ("app", "a" * 101),
        ("app", 7),
        ("app", {"name": "shop"}),
        ("app", "nul\x00"),
        ("app", "line\nbreak"),
        ("actor", "half \ud800 pair"),
        ("actor", "\x9b31m"),
        ("url", "//elsewhere.example/"),
        ("url", "data:text/html,x"),
        ("kind", None),
        ("kind", "STARTED"),
        ("kind", ["started"]),
        ("outcome", "success"),
        ("outcome", "done"),
        ("operation", "promote"),
        ("at", None),
        ("at", True),
        ("at", -1),
        ("at", 0),
        ("at", 1e308),
        ("at", 10**400),
        ("at", "2027-01-15T08:00:00"),
        ("at", "0001-01-01T00:00:00+23:59"),
        ("at", "9999-12-31T23:59:59-23:59"),
        ("at", []),
        ("stages", {"name": "build"}),
        ("reason", "\x1b[31mred"),
        ("stages", [{"name": str(number)} for number in range(101)]),
    ],
)
def test_a_wrong_field_is_named(event, field, value):
    assert list(mistakes(event(**{field: value}))) == [field]


@pytest.mark.parametrize("seconds", [-1, "1", None, True, 10**400, 1e308])
def test_a_stage_takes_a_number_of_seconds(event, seconds):
    content = event(stages=[{"name": "build", "seconds": seconds, "outcome": "done"}])
    assert list(mistakes(content)) == ["stages[0].seconds"]


def test_a_stage_gone_through_twice_is_numbered(event):
    stages = [{"name": name, "seconds": 1, "outcome": "done"} for name in ("verify", "v" * 100, "verify", "v" * 100)]
    read, _ = parse(json.dumps(event(stages=stages)).encode())
    assert [stage.name for stage in read.stages] == ["verify", "v" * 100, "verify (2)", "v" * 96 + " (2)"]


def test_a_reason_may_have_several_lines(event):
    read, _ = parse(json.dumps(event(reason="500 on /health\n\tbody: {}\r\n")).encode())
    assert read.reason == "500 on /health\n\tbody: {}\r\n"


def test_a_finished_release_says_how_it_ended(event):
    assert list(mistakes(event(kind="finished"))) == ["outcome"]
    for outcome in OUTCOMES[1:]:
        assert parse(json.dumps(event(kind="finished", outcome=outcome)).encode())[0].outcome == outcome


def test_a_rollback_is_an_operation_of_its_own(event):
    assert "rollback" in OPERATIONS
    assert parse(json.dumps(event(operation="rollback")).encode())[0].operation == "rollback"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\xfd",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"NaN",
        b'{"at": Infinity}',
        b'{"at": ' + b"9" * 60_000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(body):
    assert list(mistakes(body)) == ["body"]


def test_names_of_unknown_fields_are_not_trusted(event):
    read, ignored = parse(json.dumps(event(**{"\x00": 1, "\ud800": 2, "x" * 1000: 3, "y": 4})).encode())
    assert read.app == "shop"
    assert ignored == ("x" * 100, "y")
