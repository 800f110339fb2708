"""What an engine says no with."""

from __future__ import annotations

from deploykit.model import DeploykitError

__all__ = ["EngineConflict", "EngineError", "EngineNotFound", "EngineTimedOut", "EngineUnreachable"]


class EngineError(DeploykitError):
    """The engine refused."""


class EngineNotFound(EngineError):
    """It has no container, image, network or volume of that name."""


class EngineConflict(EngineError):
    """A name is taken, or the object is being changed by somebody else."""


class EngineTimedOut(EngineError):
    """It did not answer in time."""


class EngineUnreachable(EngineError):
    """Nobody answers where the engine should be."""
