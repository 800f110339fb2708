"""The repo's own bandit configuration. bandit itself ignores all but `.bandit` unless it is named; here
none is ignored.
"""

from __future__ import annotations

import configparser
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.gates.obeyed import OBEYED
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Configuration", "read_configuration"]

_YAML = tuple(name for name in OBEYED["bandit"].names if name.endswith((".yaml", ".yml")))
_WHERE_AND_HOW = frozenset(
    {"targets", "recursive", "aggregate", "number", "format", "msg-template", "output", "verbose", "debug", "quiet"}
)
"""Options of `.bandit` that say where bandit looks when nobody says it, and how it prints: neither matters here."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """`file` is what `bandit -c` is given; `ini` is `.bandit` where there is one, and the lists are its content.

    `only_bandit` names options of `.bandit` that only the whole of bandit honours. `excludes`: it leaves files out.
    """

    file: str = ""
    ini: str = ""
    exclude: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    only_bandit: tuple[str, ...] = ()
    excludes: bool = False

    @property
    def options(self) -> list[str]:
        """Options that make bandit read it."""
        return [*(["-c", self.file] if self.file else []), *(["--ini", self.ini] if self.ini else [])]


def read_configuration(root: Path) -> Configuration:
    """Find it: `[tool.bandit]` in pyproject.toml, else a YAML file; and `.bandit` beside either.

    Raises UsageError for a `.bandit` that can't be read, and for several files of which bandit could take only one.
    """
    files, texts = [], []
    try:
        with (root / "pyproject.toml").open("rb") as stream:
            table = tomllib.load(stream).get("tool", {}).get("bandit")
    except (OSError, tomllib.TOMLDecodeError):
        table = None  # it also holds the kit's settings, whose reader reports what is wrong
    if table is not None:
        files.append("pyproject.toml")
        texts.append(str(table))
    for name in _YAML:
        if (root / name).is_file():
            files.append(name)
            texts.append((root / name).read_text(encoding="utf-8", errors="replace"))
    if len(files) > 1:
        raise UsageError(
            f"there are {len(files)} bandit configurations, and bandit takes one: {', '.join(files)}",
            next_step="keep one of them",
        )
    ini = _read_ini(root / ".bandit")
    return Configuration(
        file=files[0] if files else "",
        ini=".bandit" if ini is not None else "",
        exclude=_words(ini, "exclude"),
        skips=_words(ini, "skips"),
        tests=_words(ini, "tests"),
        only_bandit=tuple(sorted(set(ini or {}) - _WHERE_AND_HOW - {"exclude", "skips", "tests"})),
        excludes=any("exclude" in text for text in (*texts, *(ini or {}))),
    )


def _read_ini(path: Path) -> dict[str, str] | None:
    if not path.is_file():
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser.items("bandit"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(
            f"the bandit configuration .bandit can't be read: {error}", next_step="fix .bandit, or delete it"
        ) from error


def _words(ini: dict[str, str] | None, name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in (ini or {}).get(name, "").split(",") if word.strip())
