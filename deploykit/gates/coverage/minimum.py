"""The minimum that the total is compared with: that of the test sessions that have data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CoverageMinimum", "select_minimum"]


@dataclass(frozen=True, kw_only=True)
class CoverageMinimum:
    """`minimum` is the percentage wanted of what `sessions` covered together; no sessions: of whatever was measured."""

    minimum: float
    sessions: tuple[str, ...] = ()


def select_minimum(
    minimums: Sequence[CoverageMinimum], *, measured: Sequence[str], required: Sequence[str]
) -> CoverageMinimum:
    """The minimum of the most sessions among those that were `measured`. It must apply to all `required` ones.

    A smaller set would prove less than was asked for. Raises InconclusiveError if there is no such minimum.
    """
    fitting = [
        candidate
        for candidate in minimums
        if not candidate.sessions or set(required) <= set(candidate.sessions) <= set(measured)
    ]
    if fitting:
        return max(fitting, key=lambda candidate: (len(candidate.sessions), candidate.minimum))
    wanted = " ".join(required)
    raise InconclusiveError(
        f"there is no minimum for the coverage of {' and '.join(required)}",
        details=[
            f"there is one of {' and '.join(candidate.sessions)}: {candidate.minimum:g} %" for candidate in minimums
        ],
        next_step=f'measure it, and set coverage.sessions = {{ "{wanted}" = … }} in [tool.deploykit]',
    )
