"""Read the settings of a repo: what pyproject.toml says, and for the rest what can be found in the repo itself."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import UsageError
from deploykit.settings.mistakes import Mistake, SettingsError, from_validation, nearest, settings_error
from deploykit.settings.toml_lines import KeyPath, key_lines, nearest_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deploykit.settings.models import EnvironmentSettings, Settings

__all__ = ["Loaded", "SettingsError", "load"]

FILE = "pyproject.toml"
TABLE: KeyPath = ("tool", "deploykit")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Settings and where they come from. `file` is None when there is no pyproject.toml.

    `assumed` are sentences: what was not set, the value taken instead, and what it was found by.
    """

    settings: Settings
    root: Path
    file: Path | None
    assumed: tuple[str, ...]
    no_command: tuple[str, ...] = ()
    """Why no command was found to start the service with; empty when there is one."""
    text: str = field(default="", repr=False)

    def locate(self, key_path: str | Sequence[str | int]) -> str:
        """`pyproject.toml:12`, the line of a setting (`service.command`, or its parts) or of the table around it."""
        parts = tuple(key_path.split(".")) if isinstance(key_path, str) else tuple(key_path)
        line = nearest_line(key_lines(self.text), (*TABLE, *parts)) if self.text else None
        return f"{FILE}:{line}" if line else FILE

    def is_set(self, key_path: str) -> bool:
        """Whether the file says it; otherwise it was found or is a default."""
        return (*TABLE, *key_path.split(".")) in key_lines(self.text)

    def environment(self, name: str) -> EnvironmentSettings:
        """The settings of one environment. Raises UsageError with the names that there are."""
        environments = self.settings.environments
        if (found := environments.get(name)) is not None:
            return found
        close = nearest(name, environments)
        raise UsageError(
            f"there is no environment {name!r}" + (f", did you mean {close!r}?" if close else ""),
            details=[f"environments: {', '.join(environments)}"],
            next_step=f"give one of them, or add [tool.deploykit.environments.{name}] to {FILE}",
        )

    def require_command(self) -> tuple[str, ...]:
        """The words of the command that starts the service; `{port}` in them is still to be replaced.

        Raises UsageError, with the lines to add, when none is set and none was found.
        """
        if command := self.settings.service.command:
            return tuple(shlex.split(command))
        raise UsageError(
            f"no command is set that starts {self.settings.app}, and none was found",
            details=self.no_command,
            next_step=f'add to {FILE}:\n\n[tool.deploykit.service]\ncommand = "PROGRAM --port {{port}}"\n',
        )


def load(root: Path, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """The settings of the repo at `root`. `environ` is the process's environment, unless given.

    Raises SettingsError with every mistake at once.
    """
    root = root.absolute()
    text, document = _read(root)
    raw = document.get("tool", {}).get("deploykit", {}) if isinstance(document.get("tool", {}), dict) else {}
    if not isinstance(raw, dict):
        raise settings_error(FILE, text, [Mistake(path=(), what="is not a table", allowed="[tool.deploykit]")], TABLE)

    from deploykit.settings.discover import discover
    from deploykit.settings.repo import Repo

    repo = Repo(root=root, pyproject=document)
    app = repo.app_name()
    settings = _settings({"app": app.value, **raw}, text, root)
    found = discover(repo, settings, given_app=None if "app" in raw else app, environ=environ)
    for assumption in found.assumptions:
        settings = _with(settings, assumption.path, assumption.value)
    return Loaded(
        settings=settings,
        root=root,
        file=root / FILE if text or (root / FILE).is_file() else None,
        assumed=found.sentences,
        no_command=found.no_command,
        text=text,
    )


def _read(root: Path) -> tuple[str, dict[str, Any]]:
    path = root / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}") from None
        return "", {}
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}", next_step=f"ls -l {path}") from None
    try:
        text = data.decode("utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        detail = f"{FILE}:{line}: a byte that is not UTF-8 ({data[error.start]:#04x})"
    except tomllib.TOMLDecodeError as error:
        detail = _syntax(str(error), text)
    except RecursionError:
        detail = f"{FILE}: nested too deeply"
    raise SettingsError(
        f"{FILE} is not valid TOML", details=[detail], next_step=f"edit {FILE}, then run the same again"
    )


def _syntax(message: str, text: str) -> str:
    """The parser's message with its place in front and the line itself behind."""
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if place is None:
        return f"{FILE}: {message}"
    lines = text.splitlines() or [""]
    line = int(place[1]) if place[1] else len(lines)
    column = int(place[2]) if place[2] else len(lines[-1]) + 1
    shown = lines[line - 1].strip() if line <= len(lines) else ""
    return f"{FILE}:{line}: column {column}: {message[: place.start()]}" + (f": {shown}" if shown else "")


def _settings(raw: dict[str, Any], text: str, root: Path) -> Settings:
    """Settings as written, over the default environments; SettingsError with all that is wrong."""
    from deploykit.settings.checks import check
    from deploykit.settings.defaults import with_default_environments
    from deploykit.settings.rollout_checks import check_rollouts

    data: Any = _frozen(with_default_environments(raw))
    settings, mistakes = _validate(data, text)
    mistakes += check_rollouts(settings, [mistake.path for mistake in mistakes])
    mistakes += check(settings, root)
    if mistakes:
        raise settings_error(FILE, text, mistakes, TABLE)
    return settings


def _validate(data: Any, text: str) -> tuple[Settings, list[Mistake]]:
    """What the models make of it, less what is wrong; SettingsError where nothing can be made of it."""
    from pydantic import ValidationError

    from deploykit.settings.models import Settings

    mistakes: list[Mistake] = []
    while True:
        try:
            return Settings.model_validate(data, strict=True), mistakes
        except ValidationError as error:
            # What is wrong is left out and the rest looked at again, so that one mistake never hides another.
            mistakes += from_validation(error, Settings.model_json_schema(), data)
            rest = data
            for item in error.errors(include_url=False):
                rest = _without(rest, tuple(part for part in item["loc"] if part != "[key]"), item["type"])
            if rest == data:
                raise settings_error(FILE, text, mistakes, TABLE) from None
            data = {"app": "app", **rest}


def _frozen(value: Any) -> Any:
    """Lists as tuples and TOML's own dates as text: strict validation takes no lists for tuples."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(inner) for inner in value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _without(data: dict[str, Any], path: KeyPath, kind: str) -> dict[str, Any]:
    """The data without what is at `path`; a value that lacks something (`missing`) goes as a whole."""
    head, *rest = path[:-1] if kind == "missing" else path
    if head not in data:
        return data
    # A list goes as a whole, since mistakes are reported by the index of the entry.
    if rest and isinstance(data[head], dict):
        return {**data, head: _without(data[head], tuple(rest), "")}
    return {name: value for name, value in data.items() if name != head}


def _with(settings: Settings, path: tuple[str, ...], value: Any) -> Settings:
    """A copy with one value put in; values found in the repo are of the right type by construction."""
    head, *rest = path
    if not rest:
        return settings.model_copy(update={head: value})
    section = getattr(settings, head)
    return settings.model_copy(update={head: _with(section, tuple(rest), value)})
