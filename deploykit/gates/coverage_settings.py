"""What the repo's own coverage configuration says, so that the kit honours it instead of talking over it."""

from __future__ import annotations

import configparser
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CoverageSettings", "read_coverage_settings"]

_INI = ((".coveragerc", ""), ("setup.cfg", "coverage:"), ("tox.ini", "coverage:"))


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """`has_source`: the repo says itself what is measured. `fail_under` is its own minimum in percent, 0 if none."""

    has_source: bool = False
    fail_under: float = 0.0


def read_coverage_settings(root: Path) -> CoverageSettings:
    """Read the first file that configures coverage, in coverage's own order; unreadable ones are
    coverage's to report.
    """
    for name, prefix in _INI[:2]:
        if (found := _from_ini(root / name, prefix)) is not None:
            return found
    if (found := _from_ini(root / _INI[2][0], _INI[2][1])) is not None:
        return found
    try:
        with (root / "pyproject.toml").open("rb") as stream:
            table: dict[str, Any] = tomllib.load(stream).get("tool", {}).get("coverage", {})
    except (OSError, tomllib.TOMLDecodeError):
        return CoverageSettings()
    run = table.get("run", {})
    return CoverageSettings(
        has_source=any(key in run for key in ("source", "source_pkgs", "source_dirs", "include")),
        fail_under=float(table.get("report", {}).get("fail_under", 0)),
    )


def _from_ini(path: Path, prefix: str) -> CoverageSettings | None:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not parser.read(path, encoding="utf-8") or not any(
            section.startswith(prefix or ("run", "report")) for section in parser.sections()
        ):
            return None
        return CoverageSettings(
            has_source=any(
                parser.has_option(f"{prefix}run", key) for key in ("source", "source_pkgs", "source_dirs", "include")
            ),
            fail_under=parser.getfloat(f"{prefix}report", "fail_under", fallback=0.0),
        )
    except (configparser.Error, ValueError, UnicodeDecodeError):
        return None
