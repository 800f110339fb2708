"""Which requirements an artefact's environment is made of: the lock that is found in the tree, or one made from it.

Looked for in this order: the file that `service.requirements` names, `requirements.lock`, `uv.lock`, `pylock.toml`,
`requirements.txt`, `[project] dependencies`. What is not pinned by hashes throughout is resolved once, with hashes, and
the result is kept by what went in: the same tree gets the same environment for as long as the result is kept.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from deploykit.artifacts.files import canonical, sha256
from deploykit.artifacts.requirements import TREE, Requirements, all_hashed, logical, read
from deploykit.artifacts.uv import uv
from deploykit.model import UsageError
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.artifacts.interpreter import Interpreter

__all__ = ["Lock", "find", "project_table", "reject_other_python", "resolve"]

_TABLE, _TEXT, _TEXTS = (dict, "a table"), (str, "a text"), (list, "a list of texts")
_SHAPE: Mapping[str, tuple[type, str]] = {
    "project": _TABLE,
    "project.name": _TEXT,
    "project.requires-python": _TEXT,
    "project.dependencies": _TEXTS,
    "project.dynamic": _TEXTS,
    "build-system": _TABLE,
    "build-system.requires": _TEXTS,
    "tool": _TABLE,
    "tool.poetry": _TABLE,
    "tool.uv": _TABLE,
    "tool.uv.sources": _TABLE,
}
"""What is read of pyproject.toml, tables first."""

UNIVERSAL = "universal"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What to install, settled. `source` is the file it comes from; `assumed` says that it was not pinned there.

    `text` is the content for uv, in the format of `file` (`requirements.lock` or `pylock.toml`), with the folder of the
    tree written as `{tree}`; `key` is the SHA-256 of all that it installs. `hashed`: to be installed with hashes only.
    """

    source: str
    file: str
    text: str
    key: str
    hashed: bool
    assumed: bool = False

    @property
    def message(self) -> str:
        """What to tell about it, in one line."""
        if self.source == "":
            return "no requirements found: the environment is bare Python"
        if self.assumed:
            made = f"uv pip compile --generate-hashes -o requirements.lock {self.source}"
            return (
                f"{self.source} does not pin everything by hash, "
                f"so the kit chose versions and keeps them (lock: {made})"
            )
        return f"locked by {self.source}"


def find(tree: Path, requirements: str = "") -> Path | None:
    """The file in `tree` that says what to install; None when there is none.

    Raises UsageError when the file that `requirements` names is not in the tree.
    """
    if requirements:
        named = tree / requirements
        if not named.is_file() or not named.resolve().is_relative_to(tree.resolve()):
            quoted = shlex.quote(requirements)
            raise UsageError(
                f"service.requirements names {requirements}, which is not in the tree",
                next_step=f"git add {quoted}, or see what ignores it: git check-ignore -v {quoted}",
            )
        return named
    for name in ("requirements.lock", "uv.lock", "pylock.toml", "requirements.txt"):
        if (tree / name).is_file():
            return tree / name
    return tree / "pyproject.toml" if "project" in _pyproject(tree) else None


def resolve(tree: Path, *, requirements: str, interpreter: Interpreter, kept: Path, universal: bool = False) -> Lock:
    """The lock of `tree`; `kept` is the folder where the results of resolving are kept.

    `universal`: what has to be resolved is, for every platform from this Python on, not for this machine alone.

    Raises UsageError for files that are missing or unreadable, UvError when uv can't resolve them.
    """
    path = find(tree, requirements)
    if path is None:
        _reject_unread(tree)
        return Lock(source="", file="requirements.lock", text="", key=sha256(""), hashed=False)
    source = path.relative_to(tree).as_posix()
    if path.name.startswith("pylock") and path.suffix == ".toml":
        text = path.read_text(encoding="utf-8")
        return Lock(source=source, file=path.name, text=text, key=sha256(text), hashed=False)
    if path.name == "uv.lock":
        wanted = _exported(path, tree)
    elif path.name == "pyproject.toml":
        wanted = _declared(tree)
    else:
        wanted = read(path, tree)
    if wanted.hashed or path.name == "uv.lock":
        return _lock(source, wanted, tree)
    return _resolved(source, wanted, tree, replace(interpreter, platform=UNIVERSAL) if universal else interpreter, kept)


def project_table(tree: Path) -> dict[str, Any]:
    """`[project]` of pyproject.toml when the tree can be built as a package (it has `[build-system]`, too), else empty.

    Raises UsageError when pyproject.toml is not TOML.
    """
    data = _pyproject(tree)
    return dict(data["project"]) if "project" in data and "build-system" in data else {}


def _pyproject(tree: Path) -> dict[str, Any]:
    path = tree / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"pyproject.toml is not valid TOML: {error}") from error
    for key, (kind, what) in _SHAPE.items():
        found = _at(data, key)
        wrong = found is not None and not isinstance(found, kind)
        if wrong or (isinstance(found, list) and not all(isinstance(text, str) for text in found)):
            raise UsageError(f"{key} in pyproject.toml is not {what}", next_step="correct it in pyproject.toml")
    return data


def _at(data: Any, key: str) -> Any:
    for name in key.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def reject_other_python(tree: Path, version: str) -> None:
    """Raise UsageError when the tree asks for another Python than `version`, by requires-python or .python-version."""
    wanted, where = str(_pyproject(tree).get("project", {}).get("requires-python", "")), "requires-python"
    try:
        fits = SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier as error:
        raise UsageError(f"requires-python in pyproject.toml is not valid: {error}") from error
    pinned = tree / ".python-version"
    if fits and pinned.is_file():
        line = (pinned.read_text(encoding="utf-8", errors="replace").split() or [""])[0]
        if named := re.match(r"(?:cpython-)?(\d+\.\d+)", line):
            fits, wanted, where = f"{version}.".startswith(f"{named[1]}."), line, ".python-version"
    if not fits:
        raise UsageError(
            f"{where} asks for Python {wanted}, and this environment would have Python {version}",
            details=["it is the Python that runs the kit, and decides the base image where image.base is not set"],
            next_step="install the kit with that Python (uv tool install --python VERSION …), or set image.base",
        )


def _reject_unread(tree: Path) -> None:
    """Raise UsageError when the tree declares its requirements in a way that the kit does not read."""
    tool = _pyproject(tree).get("tool", {})
    if "dependencies" in tool.get("poetry", {}):
        where, next_step = "[tool.poetry]", "poetry export -o requirements.txt && git add requirements.txt"
    elif (tree / "Pipfile").is_file():
        where, next_step = "Pipfile", "pipenv requirements --hash > requirements.txt && git add requirements.txt"
    elif found := next((name for name in ("setup.cfg", "setup.py") if _declares_requirements(tree / name)), ""):
        where, next_step = found, f"uv pip compile --generate-hashes -o requirements.lock {found}"
    else:
        return
    raise UsageError(f"the requirements are in {where}, which the kit does not read", next_step=next_step)


def _declares_requirements(path: Path) -> bool:
    return path.is_file() and "install_requires" in path.read_text(encoding="utf-8", errors="replace")


def _exported(path: Path, tree: Path) -> Requirements:
    """`uv.lock` as requirements. Members of a workspace come as `-e ./member` and are installed from the tree."""
    out = tree.parent / "uv-export.txt"
    uv(
        *("export", "--frozen", "--no-emit-project", "--no-dev", "--no-header", "--no-annotate"),
        *("--format", "requirements-txt", "--output-file", out, "--quiet"),
        what=f"reading {path.name}",
        cwd=tree,
        next_step="uv lock",
    )
    return read(out, tree)


def _declared(tree: Path) -> Requirements:
    table = _pyproject(tree)["project"]
    if "dependencies" in table.get("dynamic", ()):
        raise UsageError(
            "the dependencies in pyproject.toml are dynamic, so they can't be read from it",
            next_step="uv pip compile --generate-hashes -o requirements.lock pyproject.toml",
        )
    if sources := _pyproject(tree).get("tool", {}).get("uv", {}).get("sources"):
        # Without them a package of the same name would be installed from the public index.
        raise UsageError(
            f"[tool.uv.sources] says where to get {', '.join(sorted(sources))}, and there is no uv.lock that has it",
            next_step="uv lock && git add uv.lock",
        )
    lines = table.get("dependencies", [])
    return Requirements(lines=tuple(str(line) for line in lines))


def _lock(source: str, wanted: Requirements, tree: Path) -> Lock:
    return Lock(
        source=source,
        file="requirements.lock",
        text=wanted.text(tree).replace(str(tree), TREE),
        key=wanted.key,
        hashed=wanted.hashed and bool(wanted.lines),
    )


def _resolved(source: str, wanted: Requirements, tree: Path, interpreter: Interpreter, kept: Path) -> Lock:
    key = sha256(canonical([wanted.key, interpreter.version, interpreter.implementation, interpreter.platform]))
    result = kept / f"{key}.txt"
    if not result.is_file():
        asked, limits, answer = (tree.parent / name for name in ("asked.in", "constraints.in", "resolved.txt"))
        asked.write_text(wanted.text(tree), encoding="utf-8")
        limits.write_text("".join(f"{line}\n" for line in wanted.constraints), encoding="utf-8")
        uv(
            *("pip", "compile", asked, "--constraint", limits, "--output-file", answer, "--quiet", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--python", interpreter.executable),
            *(("--universal",) if interpreter.platform == UNIVERSAL else ()),
            what=f"resolving {source}",
            cwd=tree,
        )
        # Options, such as the index, are not part of uv's answer and are wanted when it is installed.
        options = "".join(f"{line}\n" for line in wanted.options)
        resolved = answer.read_text(encoding="utf-8").replace(str(tree), TREE)
        write_atomically(result, options + resolved, mode=0o600, durable=True)  # an index may have a password
    text = result.read_text(encoding="utf-8")
    return Lock(
        source=source,
        file="requirements.lock",
        text=text,
        key=sha256(canonical([text, wanted.local])),
        hashed=all_hashed(logical(text.splitlines())),
        assumed=True,
    )
