"""A Docker Engine, wherever it is: found by `DOCKER_HOST` or the current context, asked through Docker's own SDK."""

from deploykit.process.docker.engine import Engine, HostOptions
from deploykit.process.docker.errors import (
    EngineConflict,
    EngineError,
    EngineNotFound,
    EngineTimedOut,
    EngineUnreachable,
)
from deploykit.process.docker.lines import LineReader, timed_lines
from deploykit.process.docker.stream import Stream

__all__ = [
    "Engine",
    "EngineConflict",
    "EngineError",
    "EngineNotFound",
    "EngineTimedOut",
    "EngineUnreachable",
    "HostOptions",
    "LineReader",
    "Stream",
    "timed_lines",
]
