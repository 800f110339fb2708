"""A container's log, read by time from its end, with an engine that answers as Docker does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.edge.docker.containers import EdgeContainers

START = 1_767_268_800  # 2026-01-01T12:00:00Z


def containers(lines: int) -> tuple[EdgeContainers, list[int]]:
    """One line each second."""
    printed = [
        b"2026-01-01T%02d:%02d:%02d.000000007Z %d" % (12 + n // 3600, n // 60 % 60, n % 60, n) for n in range(lines)
    ]
    asked = []

    def logs(_container: str, *, since: float, tail: int, timestamps: bool) -> bytes:
        assert timestamps
        asked.append(tail)
        first = max(0, len(printed) - tail)
        return b"\n".join(line for n, line in enumerate(printed) if n >= first and START + n >= since)

    return EdgeContainers(SimpleNamespace(logs=logs), "a", "b", network="n", image="i", bind="127.0.0.1"), asked


@pytest.mark.parametrize(("lines", "first", "times"), [(0, 0, 1), (10, 0, 1), (10_000, 9_990, 1), (40_000, 10, 3)])
def test_every_line_since_then_is_read_and_not_the_whole_log(lines, first, times):
    edge, asked = containers(lines)
    read = list(edge.log("x", (START + first) * 10**9))
    assert read == [((START + n) * 10**9 + 7, str(n)) for n in range(first, lines)]
    assert len(asked) == times
