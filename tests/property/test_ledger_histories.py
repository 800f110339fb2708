"""However calls follow each other, the chain stays sound and the lock has one holder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from deploykit.ledger.interface import LockHeld, StaleToken, StepState
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError, ReleaseOutcome

OWNERS = st.sampled_from(["ann", "bob", "cy"])
ENDS = st.sampled_from([outcome for outcome in ReleaseOutcome if outcome is not ReleaseOutcome.RUNNING])


class Histories(RuleBasedStateMachine):
    tokens = Bundle("tokens")
    releases = Bundle("releases")
    steps = Bundle("steps")
    timers = Bundle("timers")

    @initialize()
    def open(self):
        self.now = 1_800_000_000.0
        self.folder = Path(tempfile.mkdtemp(prefix="dk-"))
        self.ledger = self.reopened()
        self.lock = None  # (owner, token, expires)
        self.greatest = 0
        self.outcomes = {}
        self.anchors = []

    def reopened(self):
        return open_ledger(self.folder / "ledger.sqlite3", app="shop", environment="staging", clock=lambda: self.now)

    def teardown(self):
        if hasattr(self, "ledger"):
            assert self.ledger.check(self.anchors) == []
            self.ledger.close()
            shutil.rmtree(self.folder)

    @rule(seconds=st.sampled_from([0.5, 10, 100]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def it_is_opened_again(self):
        self.ledger.close()
        self.ledger = self.reopened()

    @rule(target=tokens, owner=OWNERS)
    def acquire(self, owner):
        free = self.lock is None or self.lock[2] <= self.now
        if not free:
            with pytest.raises(LockHeld) as caught:
                self.ledger.acquire(owner, "release", lease=60)
            assert (caught.value.holder.owner, caught.value.holder.token) == self.lock[:2]
            return multiple()
        held = self.ledger.acquire(owner, "release", lease=60)
        assert held.token > self.greatest
        self.greatest = held.token
        self.lock = (owner, held.token, self.now + 60)
        return (owner, held.token)

    @rule(token=tokens)
    def heartbeat(self, token):
        try:
            self.ledger.heartbeat(*token, lease=60)
        except StaleToken:
            assert self.lock is None or self.lock[:2] != token
        else:
            assert self.lock[:2] == token
            self.lock = (*token, self.now + 60)

    @rule(token=consumes(tokens))
    def unlock(self, token):
        try:
            self.ledger.unlock(*token)
        except StaleToken:
            assert self.lock is None or self.lock[:2] != token
        else:
            assert self.lock[:2] == token
            self.lock = None

    @rule(by=OWNERS)
    def break_lock(self, by):
        taken = self.ledger.break_lock(by, "why not")
        assert (taken is None) == (self.lock is None)
        self.lock = None

    @rule(target=releases, token=tokens)
    def begin(self, token):
        running = ReleaseOutcome.RUNNING in self.outcomes.values()
        try:
            made = self.ledger.begin(
                version="1", digest="", commit="c", tree="t", actor="a", kind="release", previous="", token=token[1]
            )
        except StaleToken:
            assert self.lock is None or self.lock[1] != token[1]
            return multiple()
        except DeploykitError:
            assert running
            return multiple()
        assert not running
        assert self.lock[1] == token[1]
        assert made.id == f"r{len(self.outcomes) + 1}"
        self.outcomes[made.id] = ReleaseOutcome.RUNNING
        return made.id

    @rule(release=releases, outcome=ENDS)
    def finish(self, release, outcome):
        try:
            self.outcomes[release] = self.ledger.finish(release, outcome, "so it ended").outcome
        except DeploykitError:
            assert self.outcomes[release] not in {ReleaseOutcome.RUNNING, outcome}
        else:
            assert self.outcomes[release] is outcome

    @rule(release=releases, version=st.sampled_from(["1", "2"]))
    def amend(self, release, version):
        assert self.ledger.amend(release, version=version).version == version

    @rule(release=releases)
    def set_live(self, release):
        self.ledger.set_live(release)
        assert self.ledger.live().id == release

    @rule(target=steps, release=releases, token=tokens)
    def intend(self, release, token):
        try:
            return self.ledger.intend(release, "start", {"port": 1}, token=token[1])
        except StaleToken:
            assert self.lock is None or self.lock[1] != token[1]
            return multiple()

    @rule(step=consumes(steps), state=st.sampled_from([StepState.DONE, StepState.FAILED]))
    def result(self, step, state):
        self.ledger.result(step, state, {"pid": 1})

    @rule(target=timers, due_at=st.floats(0, 1e10))
    def add_timer(self, due_at):
        return self.ledger.add_timer("warm", "", due_at, {}).id

    @rule(timer=consumes(timers))
    def remove_timer(self, timer):
        assert timer in {one.id for one in self.ledger.timers()}
        self.ledger.remove_timer(timer)

    @rule()
    def anchor(self):
        self.anchors.append(self.ledger.head())

    @invariant()
    def the_holder_is_the_one_that_won(self):
        if hasattr(self, "lock"):
            known = self.ledger.holder()
            expected = self.lock[:2] if self.lock is not None and self.lock[2] > self.now else None
            assert (None if known is None else (known.owner, known.token)) == expected

    @invariant()
    def releases_are_what_they_were_told_to_be(self):
        if hasattr(self, "outcomes"):
            assert {one.id: one.outcome for one in self.ledger.releases(limit=1000)} == self.outcomes


Histories.TestCase.settings = settings(max_examples=20, stateful_step_count=30)
TestHistories = Histories.TestCase
