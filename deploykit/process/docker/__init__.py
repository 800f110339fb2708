"""A Docker Engine, wherever it is: found by `DOCKER_HOST` or the current context, asked through Docker's own SDK."""

from deploykit.process.docker.engine import Engine, EngineError, EngineUnreachable, Stream
from deploykit.process.docker.lines import LineReader, timed_lines

__all__ = ["Engine", "EngineError", "EngineUnreachable", "LineReader", "Stream", "timed_lines"]
