"""Errors of an engine."""

from __future__ import annotations

from deploykit.model import DeploykitError

__all__ = ["EngineConflict", "EngineError", "EngineNotFound", "EngineTimedOut", "EngineUnreachable"]


class EngineError(DeploykitError):
    """The engine refused."""


class EngineNotFound(EngineError):
    """It has no container, image, network or volume of that name."""


class EngineConflict(EngineError):
    """A name is taken, or another process is changing the object."""


class EngineTimedOut(EngineError):
    """It did not answer in time."""


class EngineUnreachable(EngineError):
    """No engine answers at the address."""
