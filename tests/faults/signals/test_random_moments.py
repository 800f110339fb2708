"""Signals at random moments of releases and rollbacks: nothing hangs, nothing is lost, one version has the traffic.

A command gets them from when it listens: before, it has done nothing, and signals do what they do by default. A batch
sends the same signals after the same shares of a command's time, wherever those fall on this machine.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from harness import KEPT_WARM, Load, Ran, ReleasedService

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 600.0
KINDS = ("SIGINT", "SIGTERM")
TWICE = 0.25
"""Of the commands get a second signal, of either kind."""
ON_TERMINAL = 0.3
"""Of the commands draw their spinner."""
FRESH = 0.15
"""Of the releases are of a tree that was never built; the others find their artefact."""
RAISED = 70
"""The driver's exit code for a KeyboardInterrupt that comes out of the command."""
KNOWN = ("known 1", "known 2", "known 3", "known 4")


@dataclass
class Batch:
    """A released service with a live version and one before it, and what comes of the commands that get signals."""

    released: ReleasedService
    chance: random.Random
    live: str = ""
    before: str = ""
    built: int = 0
    took: dict[str, float] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def text(self) -> str:
        """What the next release answers: neither what is live nor what was before it."""
        if self.chance.random() < FRESH:
            self.built += 1
            return f"fresh {self.built}"
        return self.chance.choice([text for text in KNOWN if text not in {self.live, self.before}])

    def prepare(self) -> None:
        """Something is live that can be rolled back."""
        while not self.before:
            text = self.text()
            self.released.release(text)
            self.before, self.live = self.live, text

    def signal(self, command: str) -> dict[str, Any]:
        kind = self.chance.choice(KINDS)
        wanted = {"how": kind, "listening": self.took[command] * self.chance.uniform(0.0, 1.05)}
        if self.chance.random() < TWICE:
            wanted |= {"times": 2, "pause": self.chance.uniform(0.0, 0.3), "then": self.chance.choice(KINDS)}
        return wanted

    def measure(self) -> None:
        """How long each command listens here when nothing interrupts it."""
        self.prepare()
        for command in ("rollback", "release"):
            self.took[command] = self.released.ok(command, signal={"how": "SIGTERM", "listening": LONG}).listened
        self.before = ""  # they left the same version live

    def interrupt(self) -> None:
        """One command that gets a signal, or two, and what holds afterwards."""
        self.prepare()
        command = self.chance.choice(["release", "rollback"])
        new = self.text() if command == "release" else self.before
        if command == "release":
            self.released.behave(new)
        sent = self.signal(command)
        ran = self.released(command, signal=sent, terminal=self.chance.random() < ON_TERMINAL)
        got = self.released.serves(self.released.url)
        problems = [*self.unlike(ran, sent, got, new), *self.released.problems()]
        tail = "\n    ".join(ran.output.splitlines()[-40:])
        self.wrong += [f"{command}, {sent}: {problem}\n    {tail}" for problem in problems]
        done = got == new
        self.outcomes[f"{command} {'done' if done else 'cut short'}"] += 1
        if done:
            self.before, self.live = (self.live if command == "release" else ""), got

    def unlike(self, ran: Ran, sent: dict[str, Any], got: str, new: str) -> list[str]:
        """What is wrong with the command's own end."""
        found = []
        right = {0: {new}, 1: {self.live}}
        if "times" in sent:
            # A second one that comes while the verdict is said does what it does by default.
            right |= {-signal.SIGTERM: {new, self.live}, RAISED: {new, self.live}}
            right |= {1: {new}} if " is live in " in ran.text else {}
        if got not in right.get(ran.returncode, set()):
            found.append(f"exit code {ran.returncode}, and users get {got!r}; {self.live!r} was live, {new!r} is new")
        if ran.returncode != RAISED and "Traceback" in ran.output:
            found.append("it prints a traceback")
        return found


@pytest.mark.timeout(1800)
def test_signals_at_random_moments_hang_nothing_and_lose_nothing(
    tiny: ReleasedService, counted: Callable[[str], None], seed: int, count: int
) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    batch = Batch(released=tiny, chance=random.Random(seed))
    batch.measure()
    with Load(tiny.url) as load:
        for _ in range(count):
            batch.interrupt()
        load.next_answers()
    load.assert_nothing_lost()
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(batch.outcomes.items()))
    counted(f"{count} commands: {said}; {load.sent} requests, none lost")
    assert not batch.wrong, f"{len(batch.wrong)} of {count}:\n\n" + "\n\n".join(batch.wrong)
