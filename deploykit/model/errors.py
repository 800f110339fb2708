"""Errors that a person can act on: a sentence, what was seen, and the next command to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cancelled", "DeploykitError", "InconclusiveError", "Problem", "UsageError"]


class Cancelled(BaseException):
    """The person or the system asked this process to stop (SIGINT, SIGTERM). `reason` is one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeploykitError(Exception):
    """Something failed that could be foreseen; shown without a traceback.

    `message` is one sentence, `details` are lines that show the cause (a status, log lines),
    `next_step` is a command or an edit that gets the reader on. `exit_code` is what the process answers.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, details: Sequence[str] = (), next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.next_step = next_step

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.details, self.next_step))


def _rebuild(kind: type[DeploykitError], message: str, details: tuple[str, ...], next_step: str) -> DeploykitError:
    error = kind.__new__(kind)
    DeploykitError.__init__(error, message, details=details, next_step=next_step)
    return error


class InconclusiveError(DeploykitError):
    """Nobody can say whether it is good: too little was looked at. Exit code 2, never a pass."""

    exit_code = 2


class UsageError(DeploykitError):
    """The request itself is wrong (a setting, an argument, a missing tool). Exit code 3; nothing was changed."""

    exit_code = 3


@dataclass(frozen=True)
class Problem:
    """Something that a preflight found missing: one sentence, the command or edit that adds it, and the error it
    becomes.
    """

    message: str
    next_step: str = ""
    kind: type[DeploykitError] = UsageError
