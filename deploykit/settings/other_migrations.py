"""Migrations of other tools than Alembic: the kit does not run them, and must not say that there are none."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deploykit.settings.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from deploykit.settings.models import Settings

__all__ = ["OtherMigrations", "is_decided", "other_migrations"]

_PACKAGES = {
    "yoyo-migrations": "yoyo",
    "aerich": "Aerich",
    "peewee-migrate": "peewee-migrate",
    "peewee-moves": "peewee-moves",
    "sqlalchemy-migrate": "sqlalchemy-migrate",
    "caribou": "Caribou",
    "pogo-migrate": "pogo",
    "mongodb-migrations": "mongodb-migrations",
    "pymongo-migrate": "pymongo-migrate",
}
_FILES = {
    "yoyo.ini": "yoyo",
    "aerich.ini": "Aerich",
    "piccolo_conf.py": "Piccolo",
    "sqitch.plan": "Sqitch",
    "flyway.conf": "Flyway",
    "flyway.toml": "Flyway",
    "liquibase.properties": "Liquibase",
    "atlas.hcl": "Atlas",
    "schema.prisma": "Prisma",
}
_SQL = {"-- migrate:up": "dbmate", "-- +goose up": "goose"}
_FLYWAY = re.compile(r"V[0-9][0-9_.]*__.+\.sql")
_DJANGO = re.compile(r"""["']django\.contrib\.(?:admin|auth|contenttypes|flatpages|redirects|sessions|sites)["'.]""")
_DJANGO_FIRST = re.compile(r"0001_.*\.py")
_NOT_THE_APP = frozenset({"tests", "test", "docs", "examples", "fixtures", "node_modules", "site-packages"})


@dataclass(frozen=True)
class OtherMigrations:
    """What was found: the tool, and the file that shows it, relative to the repository."""

    tool: str
    path: str

    @property
    def message(self) -> str:
        return f"{self.tool}'s migrations are not run by the kit, and there are some: {self.path}"

    @property
    def next_step(self) -> str:
        if self.tool == "Alembic":
            folder = PurePosixPath(self.path).parent.as_posix()
            return f'set migrations = "{folder}" under [tool.deploykit.database]'
        return 'run them by a command of your own, and say so: migrations = "" under [tool.deploykit.database]'


def is_decided(settings: Settings) -> bool:
    """Whether the settings say what is to be run: `database.migrations` is set, even if to nothing, or was found, or
    they say that there is no database (`database.url = "none"`).
    """
    database = settings.database
    said = database.model_fields_set
    return bool(database.migrations) or "migrations" in said or ("url" in said and database.url == "none")


def other_migrations(root: Path, files: Iterable[str]) -> OtherMigrations | None:
    """The first that is found among `files` (relative to `root`), or by the dependencies."""
    for name in sorted(files):
        path = PurePosixPath(name)
        if not _NOT_THE_APP.intersection(path.parts[:-1]) and (tool := _tool(root, path)):
            return OtherMigrations(tool, name)
    dependencies = Repo(root=root, pyproject=_pyproject(root)).dependencies
    found = next((package for package in _PACKAGES if package in dependencies), None)
    return OtherMigrations(_PACKAGES[found], f"{found} in {dependencies[found]}") if found is not None else None


def _tool(root: Path, path: PurePosixPath) -> str:
    """The tool that the file is of; empty: none."""
    if path.name in _FILES:
        return _FILES[path.name]
    if path.suffix == ".sql":
        return _sql_tool(root, path)
    if path.suffix != ".py":
        return ""
    if path.parent.name == "migrations" and _DJANGO_FIRST.fullmatch(path.name) and "django" in _text(root, path):
        return "Django"
    if "settings" in f"{path.parent.name} {path.name}" and _DJANGO.search(_text(root, path)):
        return "Django"  # its own apps bring migrations, too
    return "Alembic" if path.name == "env.py" and "alembic" in _text(root, path) else ""


def _sql_tool(root: Path, path: PurePosixPath) -> str:
    if _FLYWAY.fullmatch(path.name):
        return "Flyway"
    if not {"migrations", "migrate"}.intersection(path.parts[:-1]):
        return ""
    text = _text(root, path).lower()
    return next((tool for mark, tool in _SQL.items() if mark in text), "SQL")


def _text(root: Path, path: PurePosixPath) -> str:
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _pyproject(root: Path) -> dict[str, object]:
    try:
        return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
