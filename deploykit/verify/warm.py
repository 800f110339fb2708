"""Warm a version up: its first requests (imports, connection pools, caches) are ours, not a user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.verify.http import Connection, NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["warm"]


def warm(
    base: str,
    paths: Sequence[str],
    *,
    rounds: int = 3,
    timeout: float = 10.0,
    headers: Mapping[str, str] | None = None,
    cancellation: Cancellation = NEVER,
) -> Sequence[float]:
    """Ask each path `rounds` times at the version's own address; returns the milliseconds of each answer, in order.

    Judges nothing: what is wrong shows in the checks that follow. Raises Cancelled.
    """
    connection = Connection(base, timeout=timeout, cancellation=cancellation)
    took = []
    try:
        for path in [path for _ in range(rounds) for path in dict.fromkeys(paths)]:
            try:
                took.append(connection.get(path, headers).ms)
            except NoAnswerError:
                break
    finally:
        connection.close()
    return took
