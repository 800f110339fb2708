"""Settings that were judged before, and are written the same: had without pydantic, which takes a tenth of a second to load.

What the models make of what is written depends on nothing else. So it is kept in the folder of an environment that was
released, under a digest of what is written and of the models; anything else is judged anew. What does depend on the
repository (`checks`, `discover`) is looked at each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from deploykit.settings.models import Settings

__all__ = ["Known", "recall", "remember"]

_FORMAT = 1
_MODELS = Path(__file__).with_name("models.py")


class Known:
    """A part of the settings: the attributes of its model, and of pydantic's methods those that the kit uses."""

    def __init__(self, values: Mapping[str, Any], given: Iterable[str]) -> None:
        self.__dict__.update(values, model_fields_set=frozenset(given))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(json.dumps(_encoded(self), sort_keys=True))

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        return type(self)({**self.values(), **update}, self.model_fields_set | update.keys())

    def model_dump(self) -> dict[str, Any]:
        return {name: _dumped(value) for name, value in self.values().items()}

    def values(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model_fields_set"}

    if TYPE_CHECKING:
        model_fields_set: frozenset[str]


def remember(file: Path, written: Mapping[str, Any], settings: Settings) -> None:
    """Keep what the models made of `written`. Only for speed: where it can't be kept, nothing is lost."""
    with contextlib.suppress(OSError):
        if not file.parent.is_dir():
            return
        temporary = file.with_name(f".{file.name}")
        temporary.write_text(json.dumps({"of": _digest(written), "settings": _encoded(settings)}), encoding="utf-8")
        temporary.replace(file)


def recall(file: Path, written: Mapping[str, Any]) -> Settings | None:
    """What the models made of the same before; None where that is not known."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["of"] == _digest(written):
            return cast("Settings", _decoded(kept["settings"]))
    except (OSError, ValueError, TypeError, LookupError):
        pass
    return None


def _digest(written: Mapping[str, Any]) -> str:
    models = hashlib.sha256(_MODELS.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([_FORMAT, models, written], sort_keys=True).encode()).hexdigest()


def _encoded(value: Any) -> Any:
    """JSON keeps no tuples, and no models: each of those is a list that begins with what it is."""
    if isinstance(value, tuple):
        return ["tuple", *map(_encoded, value)]
    if isinstance(value, dict):
        return ["dict", {name: _encoded(inner) for name, inner in value.items()}]
    if isinstance(value, (str, int, float, type(None))):
        return value
    part = cast("Known | BaseModel", value)
    values = (
        part.values() if isinstance(part, Known) else {name: getattr(part, name) for name in type(part).model_fields}
    )
    return ["part", {name: _encoded(inner) for name, inner in values.items()}, sorted(part.model_fields_set)]


def _decoded(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind == "tuple":
        return tuple(map(_decoded, rest))
    inner = {name: _decoded(each) for name, each in rest[0].items()}
    return inner if kind == "dict" else Known(inner, rest[1])


def _dumped(value: Any) -> Any:
    if isinstance(value, Known):
        return value.model_dump()
    if isinstance(value, tuple):
        return tuple(map(_dumped, value))
    return {name: _dumped(inner) for name, inner in value.items()} if isinstance(value, dict) else value
