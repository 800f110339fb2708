"""Which minimum the total is held against: that of the test sessions whose data there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Floor", "choose_floor"]


@dataclass(frozen=True, kw_only=True)
class Floor:
    """`minimum` is the percentage wanted of what `sessions` covered together; no sessions: of whatever was measured."""

    minimum: float
    sessions: tuple[str, ...] = ()


def choose_floor(floors: Sequence[Floor], *, measured: Sequence[str], required: Sequence[str]) -> Floor:
    """The floor of the most sessions among those that were `measured`; it has to be one of all the `required` ones.

    A smaller set would be a smaller claim than was asked for. Raises InconclusiveError where there is no such floor.
    """
    fitting = [floor for floor in floors if not floor.sessions or set(required) <= set(floor.sessions) <= set(measured)]
    if fitting:
        return max(fitting, key=lambda floor: (len(floor.sessions), floor.minimum))
    wanted = " ".join(required)
    raise InconclusiveError(
        f"there is no minimum for the coverage of {' and '.join(required)}",
        details=[f"there is one of {' and '.join(floor.sessions)}: {floor.minimum:g} %" for floor in floors],
        next_step=f'measure it, and set coverage.sessions = {{ "{wanted}" = … }} in [tool.deploykit]',
    )
