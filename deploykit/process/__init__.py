"""Running other programs: `run` for those that end, `supervisor` for those that stay."""

from deploykit.process.run import CommandFailed, CommandNotFound, CommandTimedOut, Completed, run

__all__ = ["CommandFailed", "CommandNotFound", "CommandTimedOut", "Completed", "run"]
