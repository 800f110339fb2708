"""`invoke rollout.…`: what is asked of a rollout from another terminal, and every way in which nobody answers."""

from __future__ import annotations

import dataclasses

import pytest

from deploykit.model import DeploykitError, InconclusiveError, ReleaseOutcome, UsageError
from deploykit.release.environment.owner import Owner
from deploykit.release.execution.journal import ReleaseJournal
from deploykit.release.execution.ledger_commands import LedgerCommands
from deploykit.release.execution.under_way import read_under_way
from deploykit.release.workflow.rollout_commands import ask_rollout
from deploykit.rollout import Engine

NAMES = ("pause", "continue", "promote", "abort")


@pytest.fixture
def answering(ledger):
    """A wait in which the release does what is given to it, once for each look."""

    def wait_with(*acts):
        left = list(acts)
        return lambda _seconds: left.pop(0)() if left else None

    return wait_with


def test_the_answer_of_the_release_is_handed_on(environment, ledger, canary, answering):
    record, held = canary()
    release = LedgerCommands(ledger, record.id, held.token)

    def answer():
        (command,) = release.poll()
        release.answer(command, "stage 2 of 3 is paused", followed=True)

    told = []
    asked = ask_rollout(environment, "pause", "lunch", tell=told.append, wait=answering(answer))
    assert (asked.request.answer, asked.exit_code, told) == ("stage 2 of 3 is paused", 0, ["waiting for r2 to answer"])
    assert asked.as_json() | {"number": 0, "actor": ""} == {
        "outcome": "done",
        "command": "pause",
        "environment": "local",
        "release": "r2",
        "version": "1.3.0",
        "number": 0,
        "actor": "",
        "reason": "lunch",
        "answer": "stage 2 of 3 is paused",
        "next_step": "invoke status --env local",
    }


def test_two_people_who_ask_at_once_get_an_answer_each(environment, ledger, canary, answering):
    record, held = canary()
    release = LedgerCommands(ledger, record.id, held.token)
    ledger.ask(record.id, "promote", actor="eve", reason="")

    def answer():
        first, second = release.poll()
        release.answer(first, "stage 2 of 3 is promoted", followed=True)
        release.answer(second, "changes nothing: eve has asked for promote before", followed=False)

    asked = ask_rollout(environment, "promote", wait=answering(answer))
    assert (asked.request.answer, asked.exit_code) == ("changes nothing: eve has asked for promote before", 1)
    assert [each.answer for each in ledger.requests()][1] == "stage 2 of 3 is promoted"


@pytest.mark.parametrize("name", NAMES)
def test_where_no_rollout_runs_there_is_nothing_to_ask(environment, ledger, released, name):
    head = ledger.head()
    with pytest.raises(UsageError, match=f"^there is no rollout to {name} in local$") as raised:
        ask_rollout(environment, name)
    assert raised.value.next_step == "invoke status --env local"
    assert ledger.head() == head
    released("1.2.3")
    with pytest.raises(UsageError, match=rf"^there is no rollout to {name} in local: 1.2.3 \(r1\) is live$") as raised:
        ask_rollout(environment, name)
    assert raised.value.next_step == f"invoke {'rollback' if name == 'abort' else 'status'} --env local"


def test_an_abort_that_was_done_already_does_not_lead_to_a_rollback_of_what_is_good(environment, released):
    """The second of two who abort at once: a rollback would now take back the version that users got back."""
    released("1.2.3")
    released("1.3.0", outcome="failed")
    with pytest.raises(UsageError, match=r"no rollout to abort in local: 1.2.3 \(r1\) is live$") as raised:
        ask_rollout(environment, "abort")
    assert raised.value.details == ("the newest, r2 (release of 1.3.0), is failed",)
    assert raised.value.next_step == "invoke status --env local"


def test_a_dead_release_follows_nothing(environment, ledger, canary):
    canary(owner=dataclasses.replace(Owner.me(), pid=2**22 + 1))
    head = ledger.head()
    wanted = (
        r"^there is nobody to promote r2 \(release of 1.3.0\) in local: its process has ended, and it is unfinished$"
    )
    with pytest.raises(UsageError, match=wanted) as raised:
        ask_rollout(environment, "promote")
    assert "invoke release --env local --resume" in raised.value.next_step
    assert "invoke rollback --env local" in raised.value.next_step
    assert ledger.head() == head


def test_a_release_whose_lock_is_over_follows_nothing(environment, ledger, canary):
    _, held = canary()
    ledger.unlock(str(Owner.me()), held.token)
    with pytest.raises(UsageError, match="no process holds its lock any more, and it is unfinished"):
        ask_rollout(environment, "abort")
    ledger.acquire("ann (by hand)", "lunch", lease=60)
    with pytest.raises(UsageError, match="no process holds its lock any more, and it is unfinished"):
        ask_rollout(environment, "abort")


@pytest.mark.parametrize(
    ("options", "wanted", "next_step"),
    [
        ({"at": ""}, r"no rollout to abort in local yet: r2 \(release of 1.3.0\) has not come to it", "status"),
        ({"at": "warm"}, "no rollout to abort in local any more: .* has all users", "status"),
        ({"reason": "rollback"}, "no rollout to abort in local any more: .* rolls it back", "status"),
        (
            {"at": "live", "judged": False, "kind": "rollback"},
            r"r2 \(rollback of 1.3.0\) goes back without judging",
            "status",
        ),
    ],
)
def test_a_release_that_is_not_at_its_steps_follows_nothing(environment, ledger, canary, options, wanted, next_step):
    canary(**options)
    with pytest.raises(UsageError, match=wanted) as raised:
        ask_rollout(environment, "abort")
    assert raised.value.next_step == f"invoke {next_step} --env local"
    assert ledger.requests() == []


def test_a_rollout_that_is_undone_follows_nothing(environment, ledger, canary, killed_at):
    record, held = canary()
    plan = read_under_way(ledger, record, "local").plan
    with pytest.raises(KeyboardInterrupt):
        Engine(plan, ReleaseJournal(ledger, record.id, held.token), killed_at("withdraw")).undo(
            "12 of 80 requests failed"
        )
    with pytest.raises(UsageError, match="any more: .* is being undone") as raised:
        ask_rollout(environment, "promote")
    assert raised.value.details == ("12 of 80 requests failed",)


@pytest.mark.parametrize(("name", "next_step"), [("abort", "rollback"), ("promote", "status")])
def test_a_release_that_ends_meanwhile_has_not_followed(environment, ledger, canary, answering, name, next_step):
    record, _ = canary()

    def end():
        ledger.set_live(record.id)
        ledger.finish(record.id, ReleaseOutcome.DONE)

    with pytest.raises(
        DeploykitError, match=r"r2 \(release of 1.3.0\) ended before it could answer: it is done"
    ) as raised:
        ask_rollout(environment, name, wait=answering(end))
    assert (raised.value.exit_code, raised.value.next_step) == (1, f"invoke {next_step} --env local")


def test_a_release_that_is_killed_meanwhile_will_not_answer(environment, ledger, canary, answering):
    _, held = canary()
    with pytest.raises(DeploykitError, match="has not answered, and will not") as raised:
        ask_rollout(environment, "pause", wait=answering(lambda: ledger.unlock(str(Owner.me()), held.token)))
    assert raised.value.exit_code == 1
    assert "--resume" in raised.value.next_step


def test_a_release_that_does_not_listen_now_is_inconclusive(environment, canary, answering):
    canary(at="start-1")
    with pytest.raises(InconclusiveError, match="^r2 has not answered within 1 s: its instances start$") as raised:
        ask_rollout(environment, "pause", wait=answering(), limit=1)
    assert raised.value.next_step == "invoke history --env local"


@pytest.mark.parametrize(
    ("at", "number", "share", "doing"),
    [
        ("start-1", 1, 5, "its instances start"),
        ("verify-1", 1, 5, "it is judged"),
        ("raise-2", 2, 25, "it gets its share of the traffic"),
        ("verify-3", 3, 100, "it is judged"),
        ("live", 3, 100, "it is finished"),
    ],
)
def test_how_far_it_is_stands_in_the_journal(ledger, canary, at, number, share, doing):
    record, _ = canary(at)
    found = read_under_way(ledger, record, "local")
    assert (found.number, found.stage.share, found.doing) == (number, share, doing)
    step = next(step for step in ledger.steps("r2") if step.name.endswith(f"-{number}"))
    assert found.since == step.started_at
