"""Whatever bytes arrive: an event that can be stored and read back, or mistakes with names. Never anything else."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from deploykit.board.events import Event, InvalidEventError, Stage, parse, restore
from deploykit.board.projection import project

KNOWN = ("id", "app", "environment", "release", "kind", "outcome", "at", "stages", "url", "source", "operation")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
STAGES = st.lists(
    st.builds(Stage, name=TEXT.filter(bool), seconds=st.floats(0, 1e6), outcome=TEXT),
    max_size=4,
    unique_by=lambda stage: stage.name,
).map(tuple)


def events(kind: str, outcomes: tuple[str, ...]) -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        id=st.uuids(),
        app=st.just("shop"),
        environment=st.just("local"),
        release=st.just("r1"),
        kind=st.just(kind),
        outcome=st.sampled_from(outcomes),
        at=st.integers(1_700_000_000, 1_700_000_005).map(float),
        version=TEXT,
        actor=TEXT,
        reason=TEXT,
        stages=STAGES,
    )


EVENTS = (
    events("started", ("running",))
    | events("stage", ("running",))
    | events("finished", ("done", "failed", "rolled back", "cancelled"))
)


@given(st.binary(max_size=200))
def test_bytes_are_an_event_or_a_list_of_mistakes(body):
    with contextlib.suppress(InvalidEventError):
        parse(body)


@given(st.dictionaries(st.sampled_from(KNOWN), ANYTHING))
def test_objects_are_an_event_or_a_list_of_mistakes(content):
    mistakes = ()
    try:
        event, _ = parse(json.dumps(content).encode())
        assert event.canonical().encode()
    except InvalidEventError as error:
        mistakes = error.mistakes
    if not isinstance(content.get("id"), str) or not isinstance(content.get("app"), str):
        assert {"id", "app", "body"} & {mistake.field for mistake in mistakes}
    assert all(mistake.field and mistake.message for mistake in mistakes)


@given(EVENTS)
def test_an_event_survives_being_sent_and_stored(event):
    read, ignored = parse(event.canonical().encode())
    assert read == event
    assert ignored == ()
    assert restore(read.canonical()) == event


@given(st.lists(EVENTS, min_size=1, max_size=8, unique_by=lambda event: event.id), st.randoms())
def test_a_release_looks_the_same_in_whatever_order_its_events_came(sent, random):
    shuffled = list(sent)
    random.shuffle(shuffled)
    seen = project(sent)
    assert project(shuffled) == seen
    assert (seen.outcome == "running") == (seen.finished_at is None)
    assert len({stage.name for stage in seen.stages}) == len(seen.stages)
