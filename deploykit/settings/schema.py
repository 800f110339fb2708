"""The JSON Schema of `[tool.deploykit]`, for editors that complete and check pyproject.toml."""

from __future__ import annotations

import ast
import inspect
from typing import Any

from deploykit.settings.durations import DURATION_PATTERN, IS_DURATION

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the table `[tool.deploykit]`; nothing in it is required, since
    defaults are found.
    """
    from deploykit.settings import docker_models, gate_models, migration_models, models, rollout_models

    schema = models.Settings.model_json_schema()
    definitions = schema["$defs"]
    for module in (models, gate_models, migration_models, docker_models, rollout_models):
        for name, texts in _attribute_docstrings(inspect.getsource(module)).items():
            node = schema if name == "Settings" else definitions.get(name, {})
            for field, text in texts.items():
                if field in node.get("properties", {}):
                    node["properties"][field]["description"] = text
    smoke = definitions["Service"]["properties"]["smoke"]
    smoke["items"] = {"anyOf": [{"type": "string", "pattern": "^/"}, smoke["items"]]}
    _allow_text_for_durations(schema)
    schema.pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "tool.deploykit"}


def _allow_text_for_durations(node: Any) -> None:
    """A field in seconds may also be a text; `model_json_schema` knows only what the text becomes."""
    if isinstance(node, list):
        for each in node:
            _allow_text_for_durations(each)
    elif isinstance(node, dict):
        if node.pop(IS_DURATION, False):
            limits = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
            number = {key: node.pop(key) for key in limits if key in node}
            node["anyOf"] = [number, {"type": "string", "pattern": DURATION_PATTERN}]
        for each in node.values():
            _allow_text_for_durations(each)


def _attribute_docstrings(source: str) -> dict[str, dict[str, str]]:
    """The strings below the fields of each class, which Python itself does not keep."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found.setdefault(node.name, {})[field.target.id] = inspect.cleandoc(str(text.value.value))
    return found
