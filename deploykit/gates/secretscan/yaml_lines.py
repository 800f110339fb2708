"""detect-secrets' view of YAML (`transformers/yaml.py`, Apache-2.0): each string of a mapping as `key: "value"` on its
line.

The line of a value is the position of PyYAML's own scanner when it creates the node, quirks included. So this uses the
same parser in the same way. It is slow: the engine calls it only for files in which something could be found.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["yaml_lines"]

_COMMENT = re.compile(r"(\s+#[\S ]*)")


class _Value(NamedTuple):
    key: Any
    value: Any
    number: int
    line: str


def yaml_lines(text: str) -> list[str] | None:
    """The lines; None when the text is not one YAML document that PyYAML can read."""
    yaml = import_module("yaml")
    try:
        values = sorted(_values(text), key=lambda item: item.number)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError, IndexError, KeyError):
        # Some texts end detect-secrets here with a traceback; they are read line by line like other text.
        return None
    seen: set[_Value] = set()
    lines: list[str] = []
    for item in values:
        if item in seen:
            continue
        seen.add(item)
        lines.extend([""] * (item.number - 1 - len(lines)))
        value = base64.b64encode(item.value).decode() if isinstance(item.value, bytes) else item.value
        comment = _COMMENT.search(item.line.strip())
        escaped = value.replace('"', '\\"')
        lines.append(f'{item.key}: "{escaped}"{comment[0] if comment else ""}')
    return lines


def _values(text: str) -> Iterator[_Value]:
    lines = text.splitlines()
    waiting = deque([_Reader(text).data()])
    while waiting:
        item = waiting.popleft()
        if not item:
            continue
        try:
            if "__line__" not in item:
                if isinstance(item, str):
                    continue
                waiting.extend(item.values() if hasattr(item, "values") else item)
                continue
        except TypeError:
            continue
        number = item["__line__"]
        yield _Value(item["__original_key__"], item["__value__"], number, lines[number - 1])


class _Reader:
    """PyYAML's safe loader, which notes at each string of a mapping the line that the scanner is at."""

    def __init__(self, text: str) -> None:
        self._yaml: Any = import_module("yaml")
        self._loader: Any = self._yaml.SafeLoader(text)
        self._loader.compose_node = self._compose_node
        self._loader.parse_flow_mapping_key = self._parse_flow_mapping_key
        self._inline_key = False

    def data(self) -> Any:
        return self._loader.get_single_data()

    def _compose_node(self, parent: Any, index: Any) -> Any:
        line = self._loader.marks[-1].line if self._inline_key else self._loader.line
        node = self._yaml.composer.Composer.compose_node(self._loader, parent, index)
        if node is None:
            return None
        node.__line__ = line + 1
        if node.tag.endswith(":map"):
            self._inline_key = False
            return self._tagged(node)
        return node

    def _parse_flow_mapping_key(self, first: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML calls it so
        loader = self._loader
        tokens = self._yaml.tokens
        self._inline_key = (first and loader.marks[-1].line == loader.peek_token().start_mark.line) or (
            self._next_are(tokens.FlowEntryToken, tokens.KeyToken)
        )
        return self._yaml.parser.Parser.parse_flow_mapping_key(loader, first)

    def _next_are(self, *kinds: Any) -> bool:
        waiting = self._loader.tokens
        return bool(waiting) and all(isinstance(token, kind) for token, kind in zip(waiting, kinds, strict=False))

    def _tagged(self, mapping: Any) -> Any:
        nodes = self._yaml.nodes
        pairs = []
        for key, value in mapping.value:
            if not value.tag.endswith((":str", ":binary")):
                pairs.append((key, value))
                continue
            marked = (
                ("__value__", value.value, value.tag),
                ("__line__", str(value.__line__), "tag:yaml.org,2002:int"),
                ("__original_key__", key.value, "tag:yaml.org,2002:str"),
            )
            scalars = [
                (nodes.ScalarNode(tag="tag:yaml.org,2002:str", value=name), nodes.ScalarNode(tag=tag, value=held))
                for name, held, tag in marked
            ]
            pairs.append((key, nodes.MappingNode(tag=mapping.tag, value=scalars)))
        return nodes.MappingNode(
            tag=mapping.tag,
            value=pairs,
            start_mark=mapping.start_mark,
            end_mark=mapping.end_mark,
            flow_style=mapping.flow_style,
        )
