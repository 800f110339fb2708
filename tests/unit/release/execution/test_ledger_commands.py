"""What a running release hears of requests in its ledger."""

from __future__ import annotations

import sqlite3

import pytest

from deploykit.ledger.interface import BrokenChain
from deploykit.ledger.sql import SqlLedger
from deploykit.model import DeploykitError
from deploykit.release.execution.ledger_commands import LedgerCommands


@pytest.fixture
def running(ledger):
    """A release that runs, and its lock's token."""
    held = ledger.acquire("ann", "release", lease=60)
    record = ledger.begin(
        version="1.3.0", digest="", commit="", tree="", actor="ann", kind="release", previous="", token=held.token
    )
    return record, held.token


def asked(commands):
    return [(command.name, command.actor) for command in commands.poll()]


def test_requests_are_heard_once_in_their_order(ledger, running):
    record, token = running
    commands = LedgerCommands(ledger, record.id, token)
    assert asked(commands) == []
    for actor, name in (("eve", "pause"), ("dan", "pause"), ("eve", "promote")):
        ledger.ask(record.id, name, actor=actor, reason="")
        ledger.add_evidence({"gate": "lint", "tree": "t"})
    assert asked(commands) == [("pause", "eve"), ("pause", "dan"), ("promote", "eve")]
    assert asked(commands) == []


def test_what_was_asked_before_the_rollout_began_to_listen_is_heard(ledger, running):
    record, token = running
    ledger.ask(record.id, "pause", actor="eve", reason="")
    assert asked(LedgerCommands(ledger, record.id, token)) == [("pause", "eve")]


def test_what_was_asked_of_a_killed_process_is_never_acted_on_by_the_next(ledger, running):
    record, token = running
    ledger.ask(record.id, "promote", actor="eve", reason="")
    ledger.unlock("ann", token)
    held = ledger.acquire("bob", "release --resume", lease=60)
    assert asked(LedgerCommands(ledger, record.id, held.token)) == []


def test_a_release_hears_only_what_was_asked_of_it(ledger, running):
    record, token = running
    commands = LedgerCommands(ledger, "r7", token)
    ledger.ask(record.id, "pause", actor="eve", reason="")
    assert asked(commands) == []


def test_a_word_that_no_rollout_knows_is_nothing(ledger, running):
    record, token = running
    commands = LedgerCommands(ledger, record.id, token)
    ledger.ask(record.id, "rm -rf /", actor="eve", reason="")
    assert asked(commands) == []


def test_each_request_gets_its_answer(ledger, running):
    record, token = running
    commands = LedgerCommands(ledger, record.id, token)
    ledger.ask(record.id, "pause", actor="eve", reason="")
    ledger.ask(record.id, "pause", actor="dan", reason="")
    first, second = commands.poll()
    commands.answer(second, "changes nothing: eve has paused it already", followed=False)
    commands.answer(first, "stage 2 of 4 is paused", followed=True)
    assert [(each.actor, each.answer) for each in ledger.requests()] == [
        ("dan", "changes nothing: eve has paused it already"),
        ("eve", "stage 2 of 4 is paused"),
    ]


def test_a_row_that_is_no_link_of_the_chain_is_not_acted_on(ledger, running, tmp_path):
    record, token = running
    commands = LedgerCommands(ledger, record.id, token)
    ledger.ask(record.id, "pause", actor="eve", reason="")
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.execute("DROP TRIGGER IF EXISTS deploykit_entries_no_update")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE deploykit_entries SET payload = replace(payload, 'pause', 'promote')")
    with pytest.raises(BrokenChain, match="does not hold"):
        commands.poll()


def test_a_ledger_that_is_busy_for_a_moment_has_nothing_new_and_forgets_no_answer(ledger, running, monkeypatch):
    record, token = running
    commands = LedgerCommands(ledger, record.id, token)
    ledger.ask(record.id, "pause", actor="eve", reason="")
    (command,) = commands.poll()

    def busy(*_arguments, **_followed):
        raise DeploykitError("the ledger is busy")

    with monkeypatch.context() as patched:
        patched.setattr(SqlLedger, "answer", busy)
        patched.setattr(SqlLedger, "entries_after", busy)
        commands.answer(command, "paused", followed=True)
        assert commands.poll() == ()
    assert commands.poll() == []
    assert [each.answer for each in ledger.requests()] == ["paused"]
