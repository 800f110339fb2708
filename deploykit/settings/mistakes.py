"""Mistakes in settings, each with its line, what is wrong and what is allowed; all of them are shown at once."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import UsageError
from deploykit.settings.durations import IS_DURATION
from deploykit.settings.toml_lines import KeyPath, key_lines, nearest_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import ValidationError


__all__ = ["Mistake", "SettingsError", "from_validation", "nearest", "settings_error"]

_PATTERNS = {
    r"^[a-z][a-z0-9-]{0,39}$": "lower-case letters, digits and hyphens, a letter first, 40 at most",
    r"^[A-Za-z0-9.-]*$": 'a host, such as "auth.example.org"',
    r"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])?(:[0-9]{1,5})?$": 'a Host header, such as "shop.example.org"',
    r"^/": 'a path that starts with "/"',
    r"^(none|embedded|env:[A-Za-z_][A-Za-z0-9_]*)$": '"none", "embedded" or "env:" and the name of a variable',
    r"^\d{4}-\d{2}-\d{2}$": 'a date such as "2031-12-31"',
    r"^[A-Za-z0-9_-]{0,64}$": 'letters, digits, "-" and "_", such as "X-Tester"',
    r"^([0-9]{1,2}|100)%$": 'a number of instances, such as 1, or a part of them, such as "25%"',
}


class SettingsError(UsageError):
    """pyproject.toml is wrong; `details` has one line a mistake, each beginning with `pyproject.toml:LINE`."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """`path` is relative to `[tool.deploykit]`. `what` is wrong with it, `allowed` is what may be there."""

    path: KeyPath
    what: str
    allowed: str = ""

    def line(self, file: str, lines: Mapping[KeyPath, int], table: KeyPath) -> str:
        number = nearest_line(lines, (*table, *self.path))
        place = f"{file}:{number}" if number else file
        key = dotted(self.path) or dotted(table)
        return f"{place}: {key}: {self.what}" + (f"; allowed: {self.allowed}" if self.allowed else "")


def dotted(path: KeyPath) -> str:
    """`("smoke", 0, "path")` as people write it: `smoke[0].path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part and all(char.isalnum() or char in "-_" for char in part)
            text += ("." if text else "") + (part if bare else json.dumps(part))
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like `name`, empty when none does."""
    lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower().replace("_", "-"), lower, n=1, cutoff=0.6)
    found = found or difflib.get_close_matches(name.lower().replace("-", "_"), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else ""


def settings_error(file: str, text: str, mistakes: Sequence[Mistake], table: KeyPath) -> SettingsError:
    """One error for all mistakes, in the order of the file."""
    lines = key_lines(text)
    ordered = sorted(mistakes, key=lambda mistake: nearest_line(lines, (*table, *mistake.path)) or 0)
    details = list(dict.fromkeys(mistake.line(file, lines, table) for mistake in ordered))
    many = f"{len(details)} mistakes" if len(details) > 1 else "a mistake"
    return SettingsError(
        f"{file} has {many} in [{dotted(table)}]", details=details, next_step=f"edit {file}, then run the same again"
    )


def from_validation(error: ValidationError, schema: Mapping[str, Any], data: Mapping[str, Any]) -> list[Mistake]:
    """What pydantic found in `data`, in words; `schema` is the JSON Schema of the whole of the settings."""
    return [_mistake(item, schema, data) for item in error.errors(include_url=False)]


def _mistake(item: Mapping[str, Any], schema: Mapping[str, Any], data: Mapping[str, Any]) -> Mistake:
    path: KeyPath = tuple(part for part in item["loc"] if part != "[key]")
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown(path, schema)
    if "[key]" in item["loc"]:
        return Mistake(path=path, what="this name is not allowed", allowed=_PATTERNS.get(item["ctx"]["pattern"], ""))
    if kind == "missing":
        return Mistake(path=path, what="is missing", allowed=describe(_node(schema, path), schema))
    node = _node(schema, path)
    value = _written(data, path, item["input"])
    reason = str(item["ctx"]["error"]) if kind == "value_error" else "is not allowed"
    what = f"{_shown(path, value)} {reason}"
    if isinstance(value, str) and "enum" in node and (close := nearest(value, node["enum"])):
        what += f', did you mean "{close}"?'
    return Mistake(path=path, what=what, allowed=describe(node, schema))


def _unknown(path: KeyPath, schema: Mapping[str, Any]) -> Mistake:
    name = str(path[-1])
    known = sorted(_resolve(_node(schema, path[:-1]), schema).get("properties", {}))
    elsewhere = [
        f"{section}.{name}"
        for section, node in schema["properties"].items()
        if name in _resolve(node, schema).get("properties", {}) and section != path[0]
    ]
    if close := nearest(name, known):
        what = f'there is no such setting, did you mean "{close}"?'
    elif elsewhere and len(path) == 1:
        what = f'there is no such setting here, did you mean "{elsewhere[0]}"?'
    else:
        what = "there is no such setting"
    return Mistake(path=path, what=what, allowed=", ".join(known))


def _written(data: Any, path: KeyPath, otherwise: Any) -> Any:
    """The value as the user wrote it, "5s" and not 5.0; `otherwise` where it was made of what stands around it."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return otherwise
    return data


def _shown(path: KeyPath, value: Any) -> str:
    """The value as it was written; never that of a variable, which may be a secret."""
    if "variables" in path:
        return f"a value of type {type(value).__name__}"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _resolve(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in node:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
        else:
            return node


def _node(schema: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
    """The part of the JSON Schema that describes what may be at `path`; empty when none does."""
    node: Mapping[str, Any] = schema
    for part in path:
        node = _resolve(node, schema)
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            inner: Any = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})
            node = inner if isinstance(inner, dict) else {}
    return _resolve(node, schema)


def describe(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a JSON Schema node allows, in words."""
    if "enum" in node:
        return ", ".join(json.dumps(item) for item in node["enum"])
    match node.get("type"):
        case "integer":
            return f"a whole number{_range(node)}"
        case "number" if IS_DURATION in node:
            return f'a number of seconds{_range(node)}, or a text such as "10s", "5m" or "2h"'
        case "number":
            return f"a number{_range(node)}"
        case "string" | ["integer", "string"]:
            return _text(node)
        case "array":
            inner = describe(_resolve(node.get("items", {}), schema), schema)
            words = f"a list, each entry: {inner}" if inner else "a list"
        case "object":
            names = ", ".join(node.get("properties", {}))
            words = f"a table of {names}" if names else "a table"
        case "boolean":
            words = "true or false"
        case _:
            words = ""
    return words


def _text(node: Mapping[str, Any]) -> str:
    if "pattern" in node:
        return _PATTERNS.get(node["pattern"], f"text that matches {node['pattern']}")
    return "text that is not empty" if node.get("minLength") else "text in quotes"


def _range(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low:.10g} to {high:.10g}"
    parts = []
    if "exclusiveMinimum" in node:
        parts.append(f"greater than {node['exclusiveMinimum']:.10g}")
    if low is not None:
        parts.append(f"of at least {low:.10g}")
    if high is not None:
        parts.append(f"at most {high:.10g}")
    return f" {' and '.join(parts)}" if parts else ""
