"""How a version takes over from the one before: `environments.NAME.rollout`. Times are seconds, shares per cent."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from deploykit.settings.base_model import Duration, Model, PositiveSeconds, Seconds
from deploykit.settings.durations import IS_DURATION

__all__ = ["Rollout", "RolloutStep"]

_PART = r"([0-9]{1,2}|100)%"
_MOST_INSTANCES = 64
Lease = Annotated[float, Field(ge=10, le=3_600, json_schema_extra={IS_DURATION: True}), Duration]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")]


def _count_or_part(value: Any) -> int | str:
    """A number of instances, or a part of them such as "25%"."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_INSTANCES:
        return value
    if isinstance(value, str) and re.fullmatch(_PART, value):
        return value
    raise ValueError("is not allowed")


CountOrPart = Annotated[
    int | str,
    PlainValidator(_count_or_part),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 0, "maximum": _MOST_INSTANCES, "pattern": f"^{_PART}$"}),
]


class RolloutStep(Model):
    """One step of a canary."""

    share: Annotated[float, Field(ge=1, le=100)]
    """The new version's part of the traffic, in per cent."""
    bake: Seconds = 0
    """At least so long users' requests are judged at this share."""
    confirm: bool = False
    """After that a person has to say that it goes on: invoke rollout.continue."""


class Rollout(Model):
    """What a strategy needs to know."""

    steps: tuple[RolloutStep, ...] = ()
    """A canary's; without them 5, 25 and 50 % for 10 minutes each, then all."""
    max_surge: CountOrPart = "25%"
    """For rolling: so many instances more than wanted may run, a number or a part such as "25%", rounded up."""
    max_unavailable: CountOrPart = "25%"
    """For rolling: so many instances fewer than wanted may run, a number or a part such as "25%", rounded down."""
    sticky: bool = False
    """For a canary: a user stays on one version."""
    tester_header: HeaderName = ""
    """For a canary: a request that has this header goes to the new version."""
    tester_cookie: HeaderName = ""
    """For a canary: a request that has this cookie goes to the new version."""
    lease: Lease = 60
    """For a canary: after so long without its release, the old version gets the traffic back."""
    undecided: Literal["wait", "ask", "abort"] | None = None
    """What is done where the judge has seen too little: wait for more, ask a person, or abort. None: a canary waits,
    the other strategies abort."""
    patience: PositiveSeconds = 3_600
    """So long it waits for more, or for a person's answer, and aborts then."""
