"""Fill in what the settings leave open, from what the repo shows, and say each time what was assumed and why."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.settings.webapp import LOOKED_FOR, find_app, find_health, server_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploykit.settings.models import Settings
    from deploykit.settings.repo import FoundName, Repo

__all__ = ["Assumption", "Discovered", "discover"]

_DRIVERS = (
    ("psycopg", "postgresql+psycopg"),
    ("psycopg-binary", "postgresql+psycopg"),
    ("psycopg2", "postgresql+psycopg2"),
    ("psycopg2-binary", "postgresql+psycopg2"),
    ("asyncpg", "postgresql+asyncpg"),
    ("pg8000", "postgresql+pg8000"),
)


_PROGRAM = re.compile(r"""^if __name__ == ["']__main__["']""", re.MULTILINE)
_READS_PORT = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*["']PORT["']""")


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """A value for a setting that was not given, and by what it was found."""

    path: tuple[str, ...]
    value: Any
    why: str

    @property
    def sentence(self) -> str:
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"{'.'.join(self.path)} = {json.dumps(value, ensure_ascii=False)} ({self.why})"


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """`no_command` says why no command was found; empty when none is missing. `notes` are sentences without a value."""

    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...] = ()
    no_command: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        return (*(assumption.sentence for assumption in self.assumptions), *self.notes)


def discover(
    repo: Repo, settings: Settings, *, given_app: FoundName | None, environ: Mapping[str, str] | None = None
) -> Discovered:
    """Values for all that `settings` leaves open. `given_app` is the app's name when that was found, not set."""
    assumptions: list[Assumption] = []
    if given_app is not None:
        assumptions.append(Assumption(path=("app",), value=settings.app, why=f"from {given_app.by}"))
    command, why_none = _command(repo, settings)
    assumptions += command
    assumptions += _health(repo, settings)
    assumptions += _database(repo, settings, os.environ if environ is None else environ)
    assumptions += _code(repo, settings)
    assumptions += _tests(repo, settings)
    assumptions += _lock(repo, settings)
    start = next((item.value for item in command), settings.service.command)
    notes: tuple[str, ...] = ()
    if start and "{port}" not in start:
        notes = ("service.command has no {port}: the app is taken to read its port from the variable PORT",)
    return Discovered(assumptions=tuple(assumptions), notes=notes, no_command=why_none)


def _command(repo: Repo, settings: Settings) -> tuple[list[Assumption], tuple[str, ...]]:
    path = ("service", "command")
    if settings.service.command:
        return [], ()
    app = find_app(repo)
    if app is not None:
        if found := server_command(app, repo.dependencies):
            return [Assumption(path=path, value=found[0], why=f"found {app.path}: {app.kind}; {found[1]}")], ()
        servers = "gunicorn, waitress, hypercorn" if app.interface == "wsgi" else "uvicorn, hypercorn"
        return [], (
            f"found {app.path}: {app.kind} ({app.target}), but no server for it among the dependencies",
            f"looked for {servers} in pyproject.toml, setup.cfg, setup.py, Pipfile and requirements files",
        )
    if (repo.root / "manage.py").is_file() and "django" in (repo.root / "manage.py").read_text(
        encoding="utf-8", errors="replace"
    ):
        command = "python manage.py runserver --noreload 127.0.0.1:{port}"
        return [Assumption(path=path, value=command, why="found manage.py: Django's own development server")], ()
    for source in repo.sources:
        if _PROGRAM.search(source.text) and _READS_PORT.search(source.text):
            program = source.path if "." not in source.module else f"-m {source.module.removesuffix('.__main__')}"
            why = f"found {source.path}: a program that reads PORT"
            return [Assumption(path=path, value=f"python {program}", why=why)], ()
    why = (
        "looked for a Flask, FastAPI, Starlette, Litestar, Quart, Bottle, Django, "
        f"WSGI or ASGI application in {LOOKED_FOR}"
    )
    return [], (why,)


def _health(repo: Repo, settings: Settings) -> Iterator[Assumption]:
    if "health" in settings.service.model_fields_set:
        return
    if (found := find_health(repo)) is not None:
        yield Assumption(path=("service", "health"), value=found[0], why=f"found in {found[1]}")
    else:
        why = "the default; no such route was found in the sources"
        yield Assumption(path=("service", "health"), value=settings.service.health, why=why)


def _database(repo: Repo, settings: Settings, environ: Mapping[str, str]) -> Iterator[Assumption]:
    database = settings.database
    url, migrations = database.url, database.migrations
    if (
        not migrations
        and "migrations" not in database.model_fields_set
        and not ("url" in database.model_fields_set and url == "none")
    ):
        migrations = repo.migrations()
        if migrations:
            yield Assumption(path=("database", "migrations"), value=migrations, why="found Alembic's files there")
    driver = next((driver for name, driver in _DRIVERS if name in repo.dependencies), "")
    if "url" not in database.model_fields_set:
        given = f"env:{database.variable}"
        sqlalchemy = any(name in repo.dependencies for name in ("sqlalchemy", "sqlmodel", "flask-sqlalchemy"))
        if not migrations and not (sqlalchemy and driver):
            return
        why = f"found {migrations or 'SQLAlchemy and a PostgreSQL driver'}"
        if environ.get(database.variable):
            url, why = given, f"the variable {database.variable} is set"
        elif driver:
            url, why = "embedded", f"{why}; {database.variable} is not set, so a PostgreSQL of the kit's own serves"
        else:
            url, why = given, f"{why}, but no PostgreSQL driver among the dependencies for a database of the kit's own"
        yield Assumption(path=("database", "url"), value=url, why=why)
    if (
        url == "embedded"
        and "driver" not in database.model_fields_set
        and driver
        and "sqlalchemy" in " ".join(repo.dependencies)
    ):
        why = "the driver among the dependencies"
        yield Assumption(path=("database", "driver"), value=driver, why=why)


def _code(repo: Repo, settings: Settings) -> Iterator[Assumption]:
    packages = settings.packages
    if not packages and "packages" not in settings.model_fields_set and repo.packages:
        packages = tuple(repo.packages)
        yield Assumption(path=("packages",), value=packages, why="found in the repo")
    paths = tuple(repo.packages[name] for name in packages if name in repo.packages)
    if "source" not in settings.coverage.model_fields_set and packages:
        yield Assumption(path=("coverage", "source"), value=packages, why="the packages")
    if "typing_paths" not in settings.lint.model_fields_set and paths:
        yield Assumption(path=("lint", "typing_paths"), value=paths, why="the packages")


def _tests(repo: Repo, settings: Settings) -> Iterator[Assumption]:
    given = settings.tests.model_fields_set
    if "paths" not in given:
        paths, why = repo.test_paths()
        if paths:
            yield Assumption(path=("tests", "paths"), value=paths, why=why)
    if not given & {"requirements", "groups", "extras"}:
        kind, names, why = repo.test_needs()
        if names:
            yield Assumption(path=("tests", kind), value=names, why=f"found {why}")


def _lock(repo: Repo, settings: Settings) -> Iterator[Assumption]:
    lock = repo.lock()
    if not lock:
        return
    if "requirements" not in settings.service.model_fields_set:
        yield Assumption(path=("service", "requirements"), value=lock, why=f"found {lock}")
    if "requirements" not in settings.security.audit.model_fields_set:
        value = settings.service.requirements or lock
        yield Assumption(path=("security", "audit", "requirements"), value=value, why=f"found {value}")
