"""What every ledger promises, whatever it is kept in. A test module subclasses `LedgerContract` and gives it a fixture
`where`: the path or URL of an empty store that is the test's own, and `tamper`: SQL run behind the ledger's back.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from types import MappingProxyType

import pytest

from deploykit.ledger.canonical import plain
from deploykit.ledger.interface import BrokenChain, LockHeld, StaleToken, StepState
from deploykit.ledger.lease import Heartbeat
from deploykit.ledger.sql import open_ledger
from deploykit.model import (
    DeploykitError,
    Evidence,
    Finding,
    Outcome,
    ReleaseOutcome,
    RepositoryIdentity,
    Secret,
    Severity,
    Verdict,
)

LEASE = 60.0


class Clock:
    """Stands still until told otherwise."""

    def __init__(self, now: float = 1_800_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def verdict(gate: str = "lint", tree: str = "t1", **changes: object) -> Verdict:
    seen = Evidence(
        looked_at=3, unit="files", tool="ruff", tool_version="1.0", settings={"select": ["ALL"]}, notes=("n",)
    )
    return replace(Verdict(gate=gate, outcome=Outcome.PASSED, evidence=seen, tree=tree), **changes)


def begin(ledger, token, **changes):
    fields = {
        "version": "1.0",
        "digest": "",
        "commit": "c" * 40,
        "tree": "t" * 40,
        "actor": "ann",
        "kind": "release",
        "previous": "",
    }
    return ledger.begin(**(fields | changes), token=token)


def a_whole_history(ledger, clock) -> None:
    """At least one of every kind of entry, rows left in every projection."""
    held = ledger.acquire("ann", "release 1.0", lease=LEASE)
    first = begin(ledger, held.token)
    step = ledger.intend(first.id, "start", {"port": 8000}, token=held.token)
    clock.now += 1.5
    ledger.result(step, StepState.DONE, {"pid": 4711})
    ledger.amend(first.id, digest="sha256:" + "a" * 64)
    ledger.set_live(first.id)
    ledger.finish(first.id, ReleaseOutcome.DONE)
    ledger.unlock("ann", held.token)
    held = ledger.acquire("bob", "release 2.0", lease=LEASE)
    clock.now += 2 * LEASE
    held = ledger.acquire("cy", "release 2.0", lease=LEASE)
    ledger.break_lock("dan", "it hangs")
    held = ledger.acquire("dan", "release 2.0", lease=LEASE)
    second = begin(ledger, held.token, version="2.0", previous=first.id)
    ledger.intend(second.id, "switch", {"weights": {"blue": 0, "green": 100}}, token=held.token)
    gone = ledger.add_timer("warm", first.id, clock.now + 600, {"instance": "blue"})
    ledger.remove_timer(gone.id)
    ledger.add_timer("verify", second.id, clock.now + 1800, {"window": 2})
    ledger.claim(RepositoryIdentity(remotes=("example.org/shop",), place="here"))
    ledger.add_evidence(verdict().as_json())
    bad = verdict("sast", outcome=Outcome.FINDINGS, findings=(Finding(rule="S1", message="bad"),))
    ledger.add_evidence(bad.as_json())
    asked = ledger.ask(second.id, "pause", actor="eve", reason="lunch")
    ledger.answer(asked.number, "25 % is paused", followed=True)
    ledger.record_maintenance("dan", enabled=True)
    clock.now += 1
    ledger.heartbeat("dan", held.token, lease=LEASE)


class LedgerContract:
    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def reopen(self, where, clock):
        opened = []

        def _open(*, app="shop", environment="staging", clock=clock, **options):
            opened.append(open_ledger(where, app=app, environment=environment, clock=clock, **options))
            return opened[-1]

        yield _open
        for ledger in opened:
            ledger.close()

    @pytest.fixture
    def ledger(self, reopen):
        return reopen()

    @pytest.fixture
    def token(self, ledger):
        return ledger.acquire("ann", "release 1.0", lease=LEASE).token

    # Whose environment it is

    def test_the_repositories_that_are_the_app_are_kept_in_the_order_of_their_claims(self, ledger, reopen):
        assert list(ledger.repositories()) == []
        first = RepositoryIdentity(
            folder="api", remotes=("example.org/shop",), first_commits=("a" * 40,), place="ann:/a"
        )
        moved = RepositoryIdentity(remotes=("git.example.org/shop",))
        ledger.claim(first)
        ledger.claim(moved)
        assert list(reopen().repositories()) == [first, moved]
        assert list(reopen(environment="production").repositories()) == []
        assert ledger.check() == []

    # Releases

    def test_a_release_from_before_the_record_keeps_its_id_and_the_next_goes_on_from_it(self, ledger, token):
        taken = begin(ledger, token, release="r7")
        assert taken.id == "r7"
        ledger.finish("r7", ReleaseOutcome.DONE)
        below = begin(ledger, token, release="r3")
        ledger.finish(below.id, ReleaseOutcome.DONE)
        assert begin(ledger, token).id == "r8"
        assert ledger.check() == []

    @pytest.mark.parametrize("name", ["r1", "r0", "r01", "r-1", "x1", "r1 ", "r9999999999"])
    def test_an_id_that_is_none_or_is_taken_is_refused(self, ledger, token, name):
        ledger.finish(begin(ledger, token).id, ReleaseOutcome.DONE)
        before = ledger.head()
        with pytest.raises(DeploykitError, match="can't be adopted"):
            begin(ledger, token, release=name)
        assert ledger.head() == before

    def test_an_anchor_of_a_lost_record_is_known_where_it_was_taken_in(self, ledger, token):
        old = "ab" * 32
        assert [problem.message for problem in ledger.check([old])] != []
        taken = begin(ledger, token, release="r7")
        ledger.intend(taken.id, "adopt", {"anchor": old}, token=token)
        assert ledger.check([old]) == []
        assert ledger.check(["cd" * 32]) != []
        assert ledger.adopted() == {"r7"}

    def test_a_chain_that_does_not_hold_begins_anew_and_loses_no_entry(self, ledger, token, tamper, reopen):
        begin(ledger, token)
        old = ledger.head()
        tamper("UPDATE deploykit_releases SET version = '6.6.6'")
        tamper("DELETE FROM deploykit_chains")
        assert ledger.check() != []
        begun = ledger.restart("ann", ["it does not hold"])
        assert ledger.check() == []
        assert ledger.check([old]) != [], "what was before is not vouched for"
        assert (ledger.restarted_at_entry(), ledger.releases(), ledger.unfinished()) == (begun, [], None)
        assert [entry.sequence for entry in ledger.entries()] == list(range(begun, 0, -1))
        held = reopen().acquire("ann", "again", lease=LEASE)
        assert held.token > token
        assert begin(ledger, held.token).id == "r1"
        assert ledger.check() == []

    def test_a_new_ledger_is_empty_and_sound(self, ledger):
        assert ledger.head() == ""
        assert ledger.check() == []
        assert ledger.live() is None
        assert ledger.unfinished() is None
        assert ledger.holder() is None
        assert list(ledger.releases()) == []
        assert list(ledger.entries()) == []
        assert list(ledger.timers()) == []
        assert ledger.evidence("lint", "t1") is None

    def test_a_release_begins_running_and_is_the_unfinished_one(self, ledger, token, clock):
        made = begin(ledger, token, previous="")
        assert (made.id, made.app, made.environment) == ("r1", "shop", "staging")
        assert (made.outcome, made.started_at, made.finished_at) == (ReleaseOutcome.RUNNING, clock.now, None)
        assert ledger.unfinished() == made
        assert ledger.release("r1") == made
        assert ledger.release("r2") is None

    def test_a_second_release_waits_for_the_first_to_end(self, ledger, token):
        begin(ledger, token)
        with pytest.raises(DeploykitError, match=r"r1 .* has not ended") as caught:
            begin(ledger, token)
        assert "--resume" in caught.value.next_step
        ledger.finish("r1", ReleaseOutcome.CANCELLED, "Ctrl-C")
        assert begin(ledger, token).id == "r2"

    def test_releases_are_counted_on_and_listed_newest_first(self, ledger, token):
        for _ in range(12):
            ledger.finish(begin(ledger, token).id, ReleaseOutcome.DONE)
        assert [one.id for one in ledger.releases(limit=3)] == ["r12", "r11", "r10"]

    def test_what_was_unknown_at_the_beginning_is_filled_in(self, ledger, token):
        begin(ledger, token)
        assert ledger.amend("r1", digest="sha256:abc").digest == "sha256:abc"
        assert ledger.amend("r1", version="1.1").version == "1.1"
        head = ledger.head()
        ledger.amend("r1", version="1.1")
        ledger.amend("r1")
        assert ledger.head() == head, "nothing new is no entry"
        made = ledger.release("r1")
        assert (made.version, made.digest) == ("1.1", "sha256:abc")

    def test_a_release_ends_once(self, ledger, token, clock):
        begin(ledger, token)
        clock.now += 7
        done = ledger.finish("r1", ReleaseOutcome.FAILED, "health: 500")
        assert (done.outcome, done.reason, done.finished_at) == (ReleaseOutcome.FAILED, "health: 500", clock.now)
        assert ledger.unfinished() is None
        clock.now += 1
        assert ledger.finish("r1", ReleaseOutcome.FAILED, "again") == done
        with pytest.raises(DeploykitError, match="ended already: it is failed, not done"):
            ledger.finish("r1", ReleaseOutcome.DONE)
        assert ledger.finish("r1", ReleaseOutcome.ROLLED_BACK, "undone").outcome is ReleaseOutcome.ROLLED_BACK
        with pytest.raises(ValueError, match="RUNNING is none"):
            ledger.finish("r1", ReleaseOutcome.RUNNING)

    def test_the_release_that_was_set_live_last_is_live(self, ledger, token):
        for _ in range(2):
            ledger.finish(begin(ledger, token).id, ReleaseOutcome.DONE)
        ledger.set_live("r1")
        ledger.set_live("r2")
        assert ledger.live().id == "r2"
        ledger.set_live("r1")
        head = ledger.head()
        ledger.set_live("r1")
        assert ledger.head() == head
        assert ledger.live().id == "r1"

    @pytest.mark.parametrize("call", ["amend", "finish", "set_live", "intend"])
    def test_an_unknown_release_is_an_error_that_says_so(self, ledger, token, call):
        calls = {
            "amend": lambda: ledger.amend("r9", version="1"),
            "finish": lambda: ledger.finish("r9", ReleaseOutcome.DONE),
            "set_live": lambda: ledger.set_live("r9"),
            "intend": lambda: ledger.intend("r9", "start", {}, token=token),
        }
        with pytest.raises(DeploykitError, match="There is no release r9 of shop in staging") as caught:
            calls[call]()
        assert "invoke history" in caught.value.next_step

    # Journal

    def test_an_intent_without_a_result_stays_intended(self, ledger, token, clock, reopen):
        begin(ledger, token)
        started = clock.now
        first = ledger.intend("r1", "start", {"port": 1}, token=token)
        second = ledger.intend("r1", "switch", {"to": ["green"]}, token=token)
        clock.now += 3
        ledger.result(first, StepState.FAILED, {"exit": 1})
        steps = reopen().steps("r1")
        assert [(s.sequence, s.name, s.state) for s in steps] == [
            (first, "start", StepState.FAILED),
            (second, "switch", StepState.INTENDED),
        ]
        assert (steps[0].action, steps[0].result) == ({"port": 1}, {"exit": 1})
        assert (steps[0].started_at, steps[0].finished_at) == (started, started + 3)
        assert (steps[1].result, steps[1].finished_at) == ({}, None)

    def test_a_result_is_told_once(self, ledger, token):
        begin(ledger, token)
        step = ledger.intend("r1", "start", {}, token=token)
        ledger.result(step, StepState.DONE, {"pid": 1})
        head = ledger.head()
        ledger.result(step, StepState.DONE, {"pid": 1})
        assert ledger.head() == head
        with pytest.raises(DeploykitError, match="ended already"):
            ledger.result(step, StepState.FAILED, {})
        with pytest.raises(DeploykitError, match="no step 999"):
            ledger.result(999, StepState.DONE, {})
        with pytest.raises(ValueError, match="DONE or FAILED"):
            ledger.result(step, StepState.INTENDED, {})

    # Evidence and timers

    def test_evidence_is_bound_to_its_tree_and_the_newest_counts(self, ledger, clock):
        ledger.add_evidence(verdict(tree="t1").as_json())
        clock.now += 1
        bad = verdict(
            tree="t1",
            outcome=Outcome.FINDINGS,
            findings=(Finding(rule="E1", message="ü", path="a.py", line=3, severity=Severity.HIGH),),
        )
        ledger.add_evidence(bad.as_json())
        ledger.add_evidence(verdict(tree="t2").as_json() | {"seal": "s"})
        ledger.add_evidence(verdict("audit", tree="t1").as_json())
        assert ledger.evidence("lint", "t1") == plain(bad.as_json())
        assert ledger.evidence("lint", "t2") == plain(verdict(tree="t2").as_json()) | {"seal": "s"}
        assert ledger.evidence("lint", "t3") is None
        assert ledger.evidence("sast", "t1") is None
        assert ledger.evidence("audit", "t1") == plain(verdict("audit", tree="t1").as_json())

    def test_timers_come_earliest_first_until_they_are_removed(self, ledger):
        late = ledger.add_timer("warm", "r1", 200, {"instance": "blue"})
        soon = ledger.add_timer("verify", "", 100.5, {})
        assert ledger.timers() == [soon, late]
        assert (late.kind, late.release, late.due_at, late.payload) == ("warm", "r1", 200.0, {"instance": "blue"})
        ledger.remove_timer(soon.id)
        ledger.remove_timer(soon.id)
        assert ledger.timers() == [late]

    # Lock

    def test_the_lock_has_one_holder_and_names_it_to_others(self, ledger, reopen, clock):
        held = ledger.acquire("ann@laptop", "release 1.0", lease=LEASE)
        assert (held.acquired_at, held.expires_at) == (clock.now, clock.now + LEASE)
        for owner in ("bob@ci", "ann@laptop"):
            with pytest.raises(
                LockHeld, match=r"staging is locked by ann@laptop since .*UTC \(release 1.0\)"
            ) as caught:
                reopen().acquire(owner, "other", lease=LEASE)
            assert caught.value.holder == held
            assert "invoke unlock --env staging" in caught.value.next_step
        assert reopen().holder() == held
        ledger.unlock("ann@laptop", held.token)
        assert ledger.holder() is None

    def test_tokens_only_grow_however_the_lock_is_lost(self, ledger, clock):
        tokens = [ledger.acquire("a", "r", lease=LEASE).token]
        ledger.unlock("a", tokens[-1])
        tokens.append(ledger.acquire("a", "r", lease=LEASE).token)
        assert ledger.break_lock("b", "gone").token == tokens[-1]
        tokens.append(ledger.acquire("a", "r", lease=LEASE).token)
        clock.now += LEASE
        tokens.append(ledger.acquire("b", "r", lease=LEASE).token)
        assert tokens == sorted(set(tokens))
        assert ledger.entries(limit=1)[0].payload["over"]["token"] == tokens[-2]

    def test_a_lease_that_ran_out_can_be_taken_and_the_old_token_is_worth_nothing(self, ledger, clock):
        old = ledger.acquire("ann", "release", lease=LEASE)
        begin(ledger, old.token)
        clock.now += LEASE - 0.5
        with pytest.raises(LockHeld):
            ledger.acquire("bob", "release", lease=LEASE)
        clock.now += 0.5
        assert ledger.holder() is None
        new = ledger.acquire("bob", "resume", lease=LEASE)
        head = ledger.head()
        stale = [
            lambda: ledger.intend("r1", "start", {}, token=old.token),
            lambda: begin(ledger, old.token),
            lambda: ledger.heartbeat("ann", old.token, lease=LEASE),
            lambda: ledger.unlock("ann", old.token),
            lambda: ledger.heartbeat("ann", new.token, lease=LEASE),
        ]
        for write in stale:
            with pytest.raises(StaleToken, match="was lost: bob has it now"):
                write()
        assert ledger.head() == head, "nothing was written"
        ledger.intend("r1", "start", {}, token=new.token)

    def test_a_broken_lock_is_lost_and_the_record_says_who_broke_it(self, ledger, token):
        assert ledger.break_lock("bob", "ann went home").owner == "ann"
        assert ledger.break_lock("bob", "again") is None
        with pytest.raises(StaleToken, match="given back or broken"):
            begin(ledger, token)
        broken = ledger.entries(limit=1)[0]
        assert (broken.kind, broken.payload) == (
            "lock.broken",
            {"by": "bob", "reason": "ann went home", "owner": "ann", "token": token},
        )

    def test_a_heartbeat_prolongs_the_lease_and_is_no_entry(self, ledger, token, clock):
        head = ledger.head()
        clock.now += LEASE / 2
        ledger.heartbeat("ann", token, lease=LEASE)
        held = ledger.holder()
        assert (held.heartbeat_at, held.expires_at) == (clock.now, clock.now + LEASE)
        assert ledger.head() == head
        assert ledger.check() == []

    def test_a_late_heartbeat_revives_a_lease_that_nobody_took(self, ledger, token, clock):
        clock.now += 2 * LEASE
        assert ledger.holder() is None
        ledger.heartbeat("ann", token, lease=LEASE)
        assert ledger.holder().token == token

    def test_a_clock_set_back_shortens_no_lease(self, ledger, token, clock):
        until = ledger.holder().expires_at
        clock.now -= 30
        ledger.heartbeat("ann", token, lease=10)
        assert ledger.holder().expires_at == until

    def test_the_lock_is_kept_while_the_work_goes_on(self, ledger, reopen):
        timed = reopen(environment="live", clock=None)
        held, lost = timed.acquire("ann", "release", lease=0.9), []
        with Heartbeat(timed, held, lease=0.9, lost=lost.append):
            beaten = threading.Event()
            while timed.holder().heartbeat_at <= held.acquired_at:
                assert not beaten.wait(0.02)
            with pytest.raises(LockHeld):
                timed.acquire("bob", "release", lease=1)
        assert lost == []
        timed.unlock("ann", held.token)
        assert timed.holder() is None
        assert timed.check() == []

    def test_a_heart_that_finds_the_lock_gone_says_so_once(self, ledger, token):
        told = []
        heard = threading.Event()
        held = ledger.holder()

        def _lost(error):
            told.append(error)
            heard.set()

        ledger.break_lock("bob", "gone")
        with Heartbeat(ledger, held, lease=0.06, lost=_lost):
            assert heard.wait(10)
        assert [type(error) for error in told] == [StaleToken]

    # What people ask of a rollout, and maintenance

    def test_a_request_is_kept_with_who_asked_and_what_came_of_it(self, ledger, token, clock, reopen):
        release = begin(ledger, token).id
        first = ledger.ask(release, "promote", actor="eve", reason="it looks good")
        second = ledger.ask(release, "promote", actor="dan", reason="")
        clock.now += 2
        ledger.answer(second.number, "changes nothing", followed=False)
        ledger.answer(second.number, "changes nothing", followed=False)
        found = reopen().requests()
        assert [(each.actor, each.name, each.reason, each.answer) for each in found] == [
            ("dan", "promote", "", "changes nothing"),
            ("eve", "promote", "it looks good", ""),
        ]
        assert (found[0].answered_at, found[1].answered_at) == (clock.now, None)
        assert (found[1].number, found[1].release, found[1].at) == (first.number, release, clock.now - 2)
        assert ledger.requests(release="r9") == []
        assert ledger.check() == []

    def test_a_request_has_one_answer(self, ledger, token):
        asked = ledger.ask(begin(ledger, token).id, "abort", actor="eve", reason="")
        ledger.answer(asked.number, "aborted", followed=True)
        with pytest.raises(DeploykitError, match="was answered already: aborted"):
            ledger.answer(asked.number, "paused", followed=True)
        with pytest.raises(DeploykitError, match="there is no request 1 "):
            ledger.answer(1, "paused", followed=True)

    def test_nothing_is_asked_of_a_release_that_has_ended(self, ledger, token):
        release = begin(ledger, token).id
        ledger.finish(release, ReleaseOutcome.DONE)
        head = ledger.head()
        with pytest.raises(DeploykitError, match="r1 has ended"):
            ledger.ask(release, "abort", actor="eve", reason="")
        with pytest.raises(DeploykitError, match="There is no release r7"):
            ledger.ask("r7", "abort", actor="eve", reason="")
        assert ledger.head() == head

    def test_new_entries_follow_what_is_known(self, ledger, token):
        known = ledger.end()
        assert ledger.entries_after(*known) == []
        release = begin(ledger, token).id
        ledger.ask(release, "pause", actor="eve", reason="")
        found = ledger.entries_after(*known)
        assert [entry.kind for entry in found] == ["release.begun", "rollout.asked"]
        assert ledger.end() == (found[-1].sequence, found[-1].hash)
        assert ledger.entries_after(*ledger.end()) == []
        assert ledger.entries_after(0, "")[0].kind == "lock.taken"

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE deploykit_entries SET payload = replace(payload, 'pause', 'abort') WHERE sequence = 3",
            "UPDATE deploykit_entries SET payload = '[]' WHERE sequence = 3",
            "UPDATE deploykit_entries SET release = 'r2' WHERE sequence = 3",
            "UPDATE deploykit_entries SET sequence = 4 WHERE sequence = 3",
            "UPDATE deploykit_entries SET previous = '' WHERE sequence = 3",
            "DELETE FROM deploykit_entries WHERE sequence = 2",
        ],
    )
    def test_new_entries_that_do_not_hold_are_not_handed_out(self, ledger, token, tamper, sql):
        known = ledger.end()
        ledger.ask(begin(ledger, token).id, "pause", actor="eve", reason="")
        tamper(sql)
        with pytest.raises(BrokenChain, match="does not hold"):
            ledger.entries_after(*known)

    def test_maintenance_is_on_the_record_with_how_long_users_saw_it(self, ledger, clock, reopen):
        ledger.record_maintenance("ann", enabled=True)
        clock.now += 90
        ledger.record_maintenance("dan", enabled=False, seconds=90.0)
        on, off = reversed(ledger.entries(limit=2))
        assert (on.kind, dict(on.payload)) == ("maintenance.set", {"by": "ann", "enabled": True, "seconds": None})
        assert (off.kind, dict(off.payload)) == ("maintenance.set", {"by": "dan", "enabled": False, "seconds": 90.0})
        found = reopen().maintenance()
        assert [(each.actor, each.enabled, each.at, each.seconds) for each in found] == [
            ("dan", False, clock.now, 90.0),
            ("ann", True, clock.now - 90, None),
        ]
        assert ledger.check() == []

    # Chain

    def test_entries_are_chained_and_every_kind_is_among_them(self, ledger, clock):
        a_whole_history(ledger, clock)
        chain = list(reversed(ledger.entries(limit=1000)))
        assert [entry.sequence for entry in chain] == list(range(1, len(chain) + 1))
        assert [entry.previous for entry in chain] == ["", *(entry.hash for entry in chain[:-1])]
        assert chain[-1].hash == ledger.head()
        assert len({entry.kind for entry in chain}) == 16
        assert ledger.check() == []

    def test_two_apps_and_environments_share_a_store_and_never_meet(self, ledger, reopen, clock):
        a_whole_history(ledger, clock)
        other = reopen(app="blog")
        assert (other.head(), other.holder(), list(other.releases())) == ("", None, [])
        held = other.acquire("eve", "release", lease=LEASE)
        assert begin(other, held.token).id == "r1"
        assert reopen(environment="production").live() is None
        assert other.check() == []
        assert ledger.check() == []
        assert ledger.live().version == "1.0"

    def test_an_anchor_that_is_not_in_the_chain_is_named(self, ledger, clock):
        a_whole_history(ledger, clock)
        known = [ledger.head(), ledger.entries(limit=5)[-1].hash, ""]
        assert ledger.check(known) == []
        assert ledger.check({"instance blue": known[0]}) == []
        (problem,) = ledger.check({"instance blue": "f" * 64})
        assert "anchor of instance blue " + "f" * 64 in problem.message

    def test_a_chain_whose_tail_was_cut_off_everywhere_shows_by_the_anchor(self, ledger, clock, token, tamper):
        anchor = ledger.head()
        begin(ledger, token)
        (newest,) = ledger.entries(limit=1)
        tamper("DELETE FROM deploykit_entries WHERE sequence = 2")
        tamper("DELETE FROM deploykit_releases")
        tamper(f"UPDATE deploykit_chains SET sequence = 1, hash = '{anchor}'")
        assert ledger.check([anchor]) == []
        assert [p.message for p in ledger.check([newest.hash])] == [
            f"the anchor {newest.hash} is not in the chain: entries were cut off or rewritten"
        ]

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("UPDATE deploykit_entries SET payload = replace(payload, '8000', '8001') WHERE sequence = 3", "changed"),
            ("UPDATE deploykit_entries SET at = at + 1 WHERE sequence = 3", "entry 3 .*changed"),
            ("UPDATE deploykit_entries SET kind = 'step.invented' WHERE sequence = 3", "understands"),
            ("UPDATE deploykit_entries SET payload = '[]' WHERE sequence = 3", "understands"),
            ("DELETE FROM deploykit_entries WHERE sequence = 4", "entry 4 is missing: 5 follows 3"),
            ("DELETE FROM deploykit_entries WHERE sequence > 15", "says that entry .* is its end"),
            ("DELETE FROM deploykit_entries", "the chain ends at entry 0"),
            (
                "UPDATE deploykit_entries SET sequence = 7 - sequence + 1000 WHERE sequence IN (3, 4)",
                "entry 3 is missing",
            ),
            (
                "UPDATE deploykit_releases SET outcome = 'failed' WHERE id = 'r1'",
                "r1' has outcome 'failed', but .* 'done'",
            ),
            ("UPDATE deploykit_releases SET id = 'r7' WHERE id = 'r2'", "row 'r7' that no entry accounts for"),
            ("UPDATE deploykit_releases SET id = 'r7' WHERE id = 'r2'", "lacks the row 'r2'"),
            ("DELETE FROM deploykit_evidence", "deploykit_evidence lacks the row"),
            ("DELETE FROM deploykit_locks", "deploykit_locks lacks the row"),
            ("UPDATE deploykit_locks SET expires_at = expires_at + 1e6", "lease was changed by hand"),
            ("UPDATE deploykit_locks SET owner = 'eve'", "owner 'eve', but the entries say 'dan'"),
            ("UPDATE deploykit_steps SET state = 'done' WHERE state = 'intended'", "state 'done'"),
            ("UPDATE deploykit_timers SET due_at = 0", "due_at 0.0"),
            ("UPDATE deploykit_chains SET hash = ''", "is its end"),
            ("DELETE FROM deploykit_chains", "entry 0 is its end"),
        ],
    )
    def test_an_edit_behind_its_back_is_named(self, ledger, clock, tamper, sql, said):
        a_whole_history(ledger, clock)
        tamper(sql)
        problems = ledger.check()
        assert any(re.search(said, problem.message) for problem in problems), problems

    def test_entries_that_changed_places_are_named(self, ledger, clock, tamper):
        a_whole_history(ledger, clock)
        for old, new in ((3, 1003), (4, 3), (1003, 4)):
            tamper(f"UPDATE deploykit_entries SET sequence = {new} WHERE sequence = {old}")
        assert {3, 4, 5} <= {problem.sequence for problem in ledger.check()}

    def test_entries_refuse_to_be_changed_by_plain_sql(self, ledger, token):
        for sql in ("UPDATE deploykit_entries SET kind = 'x'", "DELETE FROM deploykit_entries"):
            with pytest.raises(DeploykitError) as caught, ledger._database.write() as connection:
                connection.run(sql)
            assert any("never changed or removed" in line for line in caught.value.details)
        assert ledger.check() == []

    def test_a_write_after_the_tail_was_cut_off_heals_nothing(self, ledger, clock, tamper):
        a_whole_history(ledger, clock)
        tamper("DELETE FROM deploykit_entries WHERE sequence > 15")
        ledger.add_evidence(verdict().as_json())
        assert any("is missing" in problem.message for problem in ledger.check())

    # What is written

    @pytest.mark.parametrize("payload", [{"password": Secret("hunter2")}, {"deep": [{"x": (Secret("hunter2"),)}]}])
    def test_a_secret_never_arrives(self, ledger, token, payload):
        begin(ledger, token)
        head = ledger.head()
        step = ledger.intend("r1", "start", {}, token=token)
        for write in (
            lambda: ledger.intend("r1", "start", payload, token=token),
            lambda: ledger.result(step, StepState.DONE, payload),
            lambda: ledger.add_timer("warm", "r1", 1, payload),
        ):
            with pytest.raises(TypeError, match="Secret is never written") as caught:
                write()
            assert "hunter2" not in str(caught.value)
        assert ledger.entries(limit=2)[1].hash == head
        assert ledger.check() == []

    @pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), float("inf"), b"x", {1: 2}])
    def test_what_json_has_no_word_for_is_refused(self, ledger, token, value):
        with pytest.raises(TypeError, match="JSON"):
            ledger.add_timer("warm", "", 1, {"value": value})
        assert ledger.timers() == []

    def test_any_text_survives_or_is_replaced_but_never_fails(self, ledger, token):
        odd = "nul \0 surrogate \udc80 emoji \N{GRINNING FACE} quote ' \" \\ \n\t \x7f \u2028"
        kept = "nul \ufffd surrogate ? emoji \N{GRINNING FACE} quote ' \" \\ \n\t \x7f \u2028"
        made = begin(ledger, token, version=odd, actor=odd)
        assert (made.version, made.actor) == (kept, kept)
        step = ledger.intend("r1", odd, MappingProxyType({odd: (odd, 1, 1.5, None, True)}), token=token)
        ledger.result(step, StepState.DONE, {"n": 2**62, "f": 0.1 + 0.2, "neg": -0.0})
        (one,) = ledger.steps("r1")
        assert (one.name, one.action) == (kept, {kept: [kept, 1, 1.5, None, True]})
        assert repr(one.result) == repr({"f": 0.1 + 0.2, "n": 2**62, "neg": -0.0})
        ledger.finish("r1", ReleaseOutcome.FAILED, odd)
        ledger.unlock("ann", token)
        held = ledger.acquire(odd, odd, lease=LEASE)
        ledger.heartbeat(odd, held.token, lease=LEASE)
        ledger.unlock(odd, held.token)
        assert ledger.check() == []

    # Opening

    def test_what_was_written_is_there_when_it_is_opened_again(self, ledger, reopen, clock):
        a_whole_history(ledger, clock)
        ledger.close()
        again = reopen()
        assert again.head() == ledger.head()
        assert again.live().id == "r1"
        assert again.unfinished().id == "r2"

    def test_opening_in_many_threads_at_once_makes_it_once(self, reopen):
        barrier = threading.Barrier(6)
        failed = []

        def _open():
            barrier.wait(30)
            try:
                reopen().head()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=_open) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failed == []
        assert reopen().check() == []

    def test_threads_that_write_at_once_make_one_chain(self, ledger, clock):
        def _write():
            for number in range(8):
                ledger.add_timer("warm", "", number, {"thread": threading.get_ident(), "pid": os.getpid()})

        threads = [threading.Thread(target=_write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(ledger.timers()) == 32
        assert ledger.check() == []

    def test_a_ledger_newer_than_the_kit_is_refused_and_left_alone(self, ledger, reopen, tamper):
        from deploykit.ledger.upgrade import HEAD
        from deploykit.model import UsageError

        tamper("UPDATE deploykit_schema SET version_num = '9999'")
        with pytest.raises(UsageError, match=r"newer deploykit .*9999") as caught:
            reopen()
        assert "pip install --upgrade deploykit" in caught.value.next_step
        tamper(f"UPDATE deploykit_schema SET version_num = '{HEAD}'")
        assert reopen().check() == []

    def test_the_migrations_make_the_tables_that_the_code_expects(self, ledger):
        import sqlalchemy as sa

        from deploykit.ledger.tables import SCOPE, TABLES
        from deploykit.ledger.upgrade import VERSION_TABLE, alchemy

        with alchemy(ledger._database) as connection:
            found = sa.inspect(connection)
            assert set(found.get_table_names()) == {VERSION_TABLE, *(table.name for table in TABLES)}
            for table in TABLES:
                assert [column["name"] for column in found.get_columns(table.name)] == list(table.names)
                assert set(found.get_pk_constraint(table.name)["constrained_columns"]) == {*SCOPE, *table.key}

    def test_threads_share_it_and_each_has_a_connection_of_its_own(self, ledger):
        from concurrent.futures import ThreadPoolExecutor

        with ledger._database.read() as one, ledger._database.read() as other:
            assert one.driver is not other.driver
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda number: ledger.add_timer("warm", "", number, {}), range(40)))
        assert sorted(timer.due_at for timer in made) == [timer.due_at for timer in ledger.timers()] == list(range(40))
        assert ledger.check() == []

    def test_what_was_open_while_it_was_closed_is_closed_afterwards(self, ledger):
        with ledger._database.read() as connection:
            driver = connection.driver
            ledger.close()
            assert connection.value("SELECT 1") == 1
        with pytest.raises(Exception, match="closed"):
            driver.execute("SELECT 1")
        assert ledger.head() == "", "and another transaction opens it again"

    def test_a_write_that_is_left_by_an_error_is_undone_and_locks_nobody_out(self, ledger, reopen):
        with pytest.raises(ZeroDivisionError), ledger._write() as journal:
            journal.append("timer.added", {"kind": "warm", "due_at": 1.0, "payload": {}})
            raise ZeroDivisionError
        assert ledger.timers() == []
        reopen(busy_seconds=0.2).add_timer("warm", "", 2, {})
        assert [timer.due_at for timer in ledger.timers()] == [2]

    def test_writes_wait_for_another_writer_and_then_say_so(self, ledger, reopen):
        impatient = reopen(busy_seconds=0.2)
        impatient.head()
        with ledger._write() as journal:
            journal.append("timer.added", {"kind": "warm", "due_at": 1.0, "payload": {}})
            with pytest.raises(DeploykitError, match="is busy: another process") as caught:
                impatient.add_timer("warm", "", 1, {})
            assert caught.value.next_step
            assert impatient.timers() == [], "readers wait for nobody"
        assert len(impatient.timers()) == 1
