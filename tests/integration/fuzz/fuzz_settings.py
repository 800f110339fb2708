"""A pyproject.toml: valid, with an odd value at any setting that there is, or with damaged text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deploykit.settings.models import Settings

if TYPE_CHECKING:
    from random import Random

__all__ = ["ODD_TEXTS", "pyproject"]

# The tests may run as root. So no path is one at which something could be written outside of the case's folder.
ODD_TEXTS = (
    *(
        "",
        " ",
        "x",
        "local",
        "../..",
        "/dev/null/x",
        "/proc/nowhere/at/all",
        "a/b",
        "-",
        "--env",
        "ü",
        "名前",
        "a\nb",
        "a b",
        "'",
        '"',
        "$HOME",
    ),
    *(
        "{port}",
        "{",
        "%s",
        "\x7f",
        "env:",
        "env:X",
        "env:NOT SET",
        "embedded",
        "self",
        "docker",
        "process",
        "kubernetes",
    ),
    *(
        "postgresql://u:p@127.0.0.1:1/x",
        "sqlite:///x",
        "http://",
        "https://[",
        "0",
        "-1",
        "1e400",
        "5m",
        "1.2.3",
        "r1",
        "r99",
    ),
    *(
        "unix:///nowhere.sock",
        "ssh://",
        "tcp://127.0.0.1:1",
        "sha256:0",
        "**",
        "[",
        "(",
        "\\",
        "python -m http.server {port}",
    ),
    "long" * 2_000,
)
_PLAIN = (0, 1, -1, 10**30, 0.0, -0.5, 1e308, True, False, [], {}, [[]], [1, "x"], {"x": 1}, {"": {}}, "1979-05-27")
_BASE: dict[str, Any] = {
    "app": "shop",
    "service": {"command": "python server.py --port {port}", "health": "/health", "smoke": ["/"]},
    "environments": {"local": {"target": "process"}, "staging": {"target": "docker", "port": 8123}},
}


def _paths(schema: dict[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Every setting of the models, and its type; a table of tables counts with the key `local`."""
    found: list[tuple[tuple[str, ...], str]] = []
    definitions = Settings.model_json_schema()["$defs"]

    def walk(node: dict[str, Any], at: tuple[str, ...], depth: int) -> None:
        for reference in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
            if "$ref" in reference:
                node = definitions[reference["$ref"].rpartition("/")[2]]
        if at:
            found.append((at, str(node.get("type", ""))))
        if depth > 5:
            return
        for name, below in node.get("properties", {}).items():
            walk(below, (*at, name), depth + 1)
        if isinstance(node.get("additionalProperties"), dict):
            walk(node["additionalProperties"], (*at, "local"), depth + 1)

    walk(schema, (), 0)
    return found


_PATHS = _paths(Settings.model_json_schema())


def pyproject(random: Random) -> bytes:
    """The file's content."""
    settings = json.loads(json.dumps(_BASE))
    project: Any = {"name": "shop", "version": "1.0.0", "requires-python": ">=3.11"}
    for _ in range(random.choice((0, 0, 0, 0, 0, 1, 1, 3))):
        path, kind = random.choice(_PATHS)
        _put(settings, path, _of_kind(random, kind) if random.random() < 0.6 else odd_value(random))
    for _ in range(random.choice((0, 0, 0, 0, 0, 1))):
        _put(project, (random.choice((*project, "dynamic", "dependencies", "scripts")),), odd_value(random))
    whole: dict[str, Any] = {"tool": {"deploykit": settings}}
    if random.random() < 0.6:
        whole["project"] = project
    if random.random() < 0.05:
        _put(
            whole,
            random.choice((("tool",), ("tool", "deploykit"), ("project",), ("build-system",), ("tool", "uv"))),
            odd_value(random),
        )
    content = _toml(whole).encode()
    return _damaged(random, content) if random.random() < 0.08 else content


def _of_kind(random: Random, kind: str) -> Any:
    """A value of the type that a setting has, so that it gets further than its type."""
    return {
        "string": lambda: random.choice(ODD_TEXTS),
        "integer": lambda: random.choice((0, 1, 2, 64, 65_535, 10**30)),
        "number": lambda: random.choice((0.0, 0.5, 1, 1e308)),
        "boolean": lambda: random.random() < 0.5,
        "array": lambda: random.sample(ODD_TEXTS, 2),
        "object": lambda: {random.choice(("local", "x", "X_Y")): random.choice(ODD_TEXTS)},
    }.get(kind, lambda: odd_value(random))()


def odd_value(random: Random) -> Any:
    """Any TOML value."""
    return random.choice((random.choice(ODD_TEXTS), random.choice(_PLAIN), [random.choice(ODD_TEXTS)]))


def _put(table: Any, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(table.get(name), dict):
            table[name] = {}
        table = table[name]
    table[path[-1]] = value


def _toml(table: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def _damaged(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return random.choice(
        (
            content[:place],
            content[:place] + bytes([random.randrange(256)]) + content[place:],
            content + content,
            b"\xef\xbb\xbf" + content,
            content.decode().encode("utf-16"),
            content + b'x = "\xff"\n',
            b"x = " + b"[" * 3_000 + b"]" * 3_000,
            b"\0" * 100,
            content.replace(b"\n", b"\r"),
            b"",
        )
    )
