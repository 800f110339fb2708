"""What all models of `[tool.deploykit]` share: the base class, and types of fields.

Only this module and the modules of models import pydantic. Import them lazily.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deploykit.settings.durations import IS_DURATION, parse_duration

__all__ = [
    "Duration",
    "Host",
    "HostName",
    "LongSeconds",
    "Model",
    "Name",
    "Port",
    "PositiveSeconds",
    "Seconds",
    "Share",
]

Duration = BeforeValidator(parse_duration)
"""The last part of the annotation of a field in seconds, whose JSON Schema has the key `IS_DURATION`."""
Seconds = Annotated[float, Field(ge=0, le=86_400, json_schema_extra={IS_DURATION: True}), Duration]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400, json_schema_extra={IS_DURATION: True}), Duration]
LongSeconds = Annotated[float, Field(ge=0, le=31_536_000, json_schema_extra={IS_DURATION: True}), Duration]
Share = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]*$")]
Host = Annotated[str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])?(:[0-9]{1,5})?$")]
"""A Host header: a name or an address, and a port where it needs one."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)
