"""What people ask of a running rollout from other terminals, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.release.execution.ledger_commands import Command

__all__ = ["Commands", "NoCommands", "Orders", "actor"]

_LONGEST_ACTOR = 100


class Commands(Protocol):
    """Where requests come from."""

    def poll(self) -> Sequence[Command]:
        """Those that came since the last time, oldest first."""

    def answer(self, command: Command, text: str, *, followed: bool) -> None:
        """Say in one sentence what came of it. `followed`: something did."""


class NoCommands:
    """Nobody can ask for anything."""

    def poll(self) -> Sequence[Command]:
        return ()

    def answer(self, command: Command, text: str, *, followed: bool) -> None: ...


@dataclass(kw_only=True)
class Orders:
    """What people asked in one stage, which is called `stage` in the answers. Empty names: nobody did.

    `promotion` and `abortion` are answered by `settle`, when it is known what came of them. `asked` is for the ledger.
    """

    commands: Commands
    stage: str
    paused_by: str = ""
    confirmed_by: str = ""
    promotion: Command | None = None
    abortion: Command | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def take(self, *, confirming: bool) -> bool:
        """Take what was asked meanwhile; whether anything changed. `confirming`: the stage waits for a confirmation."""
        before = (self.paused_by, self.confirmed_by, self.promotion, self.abortion)
        for command in self.commands.poll():
            self._take(command, confirming=confirming)
        return before != (self.paused_by, self.confirmed_by, self.promotion, self.abortion)

    def settle(self, command: Command, text: str, *, followed: bool = True) -> None:
        self.commands.answer(command, text, followed=followed)
        self.asked.append({**vars(command), "answer": text})

    def refuse(self, command: Command, why: str) -> None:
        self.settle(command, f"changes nothing: {why}", followed=False)

    def _take(self, command: Command, *, confirming: bool) -> None:
        first = self.abortion or self.promotion
        if command.name == "abort" and self.abortion is None:
            self.abortion = command
        elif first is not None:
            self.refuse(command, f"{actor(first)} has asked for {first.name} before")
        elif command.name == "promote":
            self.promotion = command
        elif command.name == "pause" and self.paused_by:
            self.refuse(command, f"{self.paused_by} has paused {self.stage} already")
        elif command.name == "pause":
            self.paused_by = actor(command)
            self.settle(command, f"{self.stage} is paused: it is watched, and not promoted")
        elif command.name == "continue":
            self._continue(command, confirming=confirming)
        else:
            self.refuse(command, "a rollout knows pause, continue, promote and abort")

    def _continue(self, command: Command, *, confirming: bool) -> None:
        if self.paused_by:
            self.paused_by = ""
            more = "; it still waits for a confirmation, by another continue" if confirming else ""
            self.settle(command, f"{self.stage} goes on{more}")
        elif confirming:
            self.confirmed_by = actor(command)
            self.settle(command, f"{self.stage} is confirmed")
        else:
            self.refuse(command, f"{self.stage} is not paused, and waits for no confirmation")


def actor(command: Command) -> str:
    """Who asked, on one line: the name comes from another terminal."""
    return " ".join(command.actor.split())[:_LONGEST_ACTOR] or "somebody"
