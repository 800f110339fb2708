"""What people ask of this release from other terminals: read from the environment's ledger while its rollout runs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from deploykit.ledger.interface import BrokenChain
from deploykit.model import DeploykitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.ledger.interface import Entry
    from deploykit.ledger.sql import SqlLedger

__all__ = ["Command", "CommandName", "LedgerCommands"]

CommandName = Literal["pause", "continue", "promote", "abort"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One request of a person. `number` names it."""

    name: CommandName
    actor: str
    number: int


class LedgerCommands:
    """Follows the chain from the entry by which this process took the environment's lock.

    So what was asked of a process before this one is never acted on. `token` is the lock's.
    """

    def __init__(self, ledger: SqlLedger, release: str, token: int) -> None:
        self._ledger = ledger
        self._release = release
        self._known = ledger.place(token)
        self._unsaid: list[tuple[Command, str, bool]] = []

    def poll(self) -> Sequence[Command]:
        """What was asked since the last time, oldest first: one query.

        A ledger that can't be read for a moment has nothing new: whether that goes on for too long is the lock's
        matter. Raises BrokenChain where new entries do not follow those before them: nothing of them is acted on.
        """
        try:
            self._say_again()
            entries = self._ledger.entries_after(*self._known)
        except BrokenChain:
            raise
        except DeploykitError:
            return ()
        if entries:
            self._known = (entries[-1].sequence, entries[-1].hash)
        return [command for entry in entries if (command := self._command(entry)) is not None]

    def answer(self, command: Command, text: str, *, followed: bool) -> None:
        """Say in one sentence what came of it. Where the ledger can't be written now, it is said at the next poll."""
        self._unsaid.append((command, text, followed))
        try:
            self._say_again()
        except DeploykitError:
            return

    def _say_again(self) -> None:
        while self._unsaid:
            command, text, followed = self._unsaid[0]
            with contextlib.suppress(UsageError):  # it has an answer
                self._ledger.answer(command.number, text, followed=followed)
            self._unsaid.pop(0)

    def _command(self, entry: Entry) -> Command | None:
        if entry.kind != "rollout.asked" or entry.release != self._release:
            return None
        name, actor = entry.payload.get("name"), entry.payload.get("actor")
        if name not in get_args(CommandName) or not isinstance(actor, str):
            return None
        return Command(name=cast("CommandName", name), actor=actor, number=entry.sequence)
