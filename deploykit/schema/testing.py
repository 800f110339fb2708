"""The pytest plug-in: with `--deploykit-migrations` six more tests, about the migrations of the repository.

    pytest --deploykit-migrations    # where [tool.deploykit] says, or alembic.ini, or migrations/
    pytest --deploykit-migrations --deploykit-previous "pytest tests/api" --deploykit-present "pytest tests/api"

| test | what it shows |
|---|---|
| one-head | one head in each branch |
| phases | contracts only in the branch `contract`, expands only outside of it |
| models | the models say what the revisions make |
| round-trip | up, down and up again make the same |
| previous-version | the given command of the newest tag's tree, on the present schema (expanded, not contracted) |
| present-version | the given command of this tree, on the schema of its release: expanded, the old shape in sync |

This module imports the standard library and pytest only, and does nothing without the option. The database is a
PostgreSQL from the wheel (`deploykit[local]`), or the one that `--deploykit-database` names, whose content is lost.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess  # nosec B404 - commands of the user's own, as argv
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SECONDS = 600
_GROUP = "deploykit"
_INNER = "DEPLOYKIT_MIGRATIONS_TESTED"
"""Set for the given commands: with the options in `addopts`, pytest would call itself without an end."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup(_GROUP, "migrations")
    group.addoption("--deploykit-migrations", action="store_true", help="test the migrations, too")
    group.addoption("--deploykit-database", default="", metavar="URL", help="a PostgreSQL whose content may be lost")
    group.addoption(
        "--deploykit-previous",
        default="",
        metavar="COMMAND",
        help="how the previous version is tested on the new schema",
    )
    group.addoption(
        "--deploykit-present",
        default="",
        metavar="COMMAND",
        help="how this version is tested while the old shape is still there",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which looks at -k
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if _INNER in os.environ:
        return
    if not config.getoption("--deploykit-migrations"):
        for name in ("previous", "present", "database"):
            if config.getoption(f"--deploykit-{name}"):
                # Without this nothing would be tested, and all would be green.
                raise pytest.UsageError(f"--deploykit-{name} does nothing without --deploykit-migrations: give both")
        return
    work = _Work(config)
    for name, check in _CHECKS.items():
        items.append(_MigrationTest.from_parent(session, name=f"migrations[{name}]", check=check, work=work))


class MigrationsWrong(Exception):
    """A check that failed, with the message to show."""


class _MigrationTest(pytest.Item):
    def __init__(self, *, check: Callable[[_Work], None], work: _Work, **more: Any) -> None:
        super().__init__(**more)
        self._check, self._work = check, work

    def runtest(self) -> None:
        self._check(self._work)

    def repr_failure(self, excinfo: Any, *_: Any, **__: Any) -> Any:
        if isinstance(excinfo.value, MigrationsWrong):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self._work.root, None, self.name


class _Work:
    """The location of the migrations, and their inspection by the Python that runs pytest, the application's."""

    def __init__(self, config: pytest.Config) -> None:
        self.root = config.rootpath
        self.given = str(config.getoption("--deploykit-database"))
        self.previous = str(config.getoption("--deploykit-previous"))
        self.present = str(config.getoption("--deploykit-present"))
        self.migrations, self.variable, self.driver = _settings(self.root)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        from deploykit.schema.scratch import scratch_database, with_driver

        with contextlib.ExitStack() as stack:
            url = self.given or stack.enter_context(scratch_database())
            if self.given:
                _emptied(url)
            yield with_driver(url, self.driver)

    def environment(self, url: str = "") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in {self.variable, "PGOPTIONS"}}
        return kept | ({self.variable: url} if url else {})

    def run(self, argv: tuple[str, ...], url: str = "") -> list[str]:
        done = subprocess.run(  # nosec B603 - the kit's own program
            argv,
            cwd=self.root,
            env=self.environment(url),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return [*done.stderr.splitlines(), *done.stdout.splitlines()]

    def answer(self, action: str, url: str) -> Mapping[str, Any]:
        from deploykit.model.errors import DeploykitError
        from deploykit.schema.runner import parse_change, try_command

        argv = try_command(action, sys.executable, self.migrations, self.root, variable=self.variable)
        try:
            return parse_change(self.run(argv, url))
        except DeploykitError as error:
            raise MigrationsWrong("\n  ".join([error.message, *error.details])) from None


def _emptied(url: str) -> None:
    from sqlalchemy import create_engine, pool, text

    from deploykit.schema.scratch import with_driver

    engine = create_engine(with_driver(url, "postgresql+psycopg"), poolclass=pool.NullPool)
    with engine.begin() as connection:
        for schema in ("public", "deploykit"):
            connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def _settings(root: Path) -> tuple[str, str, str]:
    """Return folder, variable and driver: from [tool.deploykit], else from Alembic's usual places."""
    from deploykit.model.errors import DeploykitError
    from deploykit.settings.loader import load

    try:
        database = load(root).settings.database
    except DeploykitError as error:
        raise pytest.UsageError(f"{error.message}; next: {error.next_step}") from None
    if not database.migrations:
        raise pytest.UsageError("there are no migrations: say where they are, database.migrations in [tool.deploykit]")
    return database.migrations, database.variable, database.driver


def _one_head(work: _Work) -> None:
    from deploykit.schema.runner import inspect_command, parse

    argv = inspect_command(sys.executable, work.migrations, work.root, variable=work.variable)
    found = parse(work.run(argv))
    if found.crowded:
        lines = [f"{label or 'no label'}: {', '.join(heads)}" for label, heads in found.crowded.items()]
        raise MigrationsWrong(
            "\n  ".join(["a branch has several heads", *lines, "alembic merge heads -m 'Merge heads' joins them"])
        )


def _phases(work: _Work) -> None:
    from deploykit.schema.lint.history import phases
    from deploykit.schema.lint.rendered import parse_rendering
    from deploykit.schema.runner import render_command

    argv = render_command(sys.executable, work.migrations, work.root, variable=work.variable)
    wrong = phases(parse_rendering("\n".join(work.run(argv))).revisions)
    if wrong:
        raise MigrationsWrong("\n  ".join(f"{item.path}:{item.line}: {item.message}" for item in wrong))


def _models(work: _Work) -> None:
    with work.database() as url:
        lines = work.answer("compare", url)["differences"]
    if lines:
        raise MigrationsWrong(
            "\n  ".join(["the models and the revisions differ; a revision would have to say:", *lines])
        )


def _round_trip(work: _Work) -> None:
    with work.database() as url:
        answer = work.answer("roundtrip", url)
    if answer["irreversible"]:
        pytest.skip(f"there is no way down: {answer['irreversible']}")
    if answer["lost"]:
        raise MigrationsWrong("\n  ".join(["up, down and up again do not make the same:", *answer["lost"]]))


def _previous(work: _Work) -> None:
    """Run the previous version's tests on the present schema, as in a rolling release or a rollback."""
    if not work.previous:
        pytest.skip('say how the previous version is tested: --deploykit-previous "pytest tests"')
    tag = _git(work.root, "describe", "--tags", "--abbrev=0", "HEAD").strip()
    if not tag:
        pytest.skip("there is no tag, so no previous version")
    with tempfile.TemporaryDirectory(prefix="dk-") as folder, work.database() as url:
        _expand(work, url)
        tree = Path(folder) / "tree"
        _git(work.root, "worktree", "add", "--detach", str(tree), tag)
        try:
            _try(work, work.previous, tree, url, f"{tag} does not work on the present schema")
        finally:
            _git(work.root, "worktree", "remove", "--force", str(tree))


def _present(work: _Work) -> None:
    """Run this version's tests while the old shape still exists: a release precedes its contract, often by days."""
    if not work.present:
        pytest.skip('say how this version is tested: --deploykit-present "pytest tests"')
    with work.database() as url:
        _expand(work, url)
        _try(work, work.present, work.root, url, "this version does not work while the old shape is still there")


def _expand(work: _Work, url: str) -> None:
    """Upgrade as a release does: every head except the contract branch's, and the rows of declared changes."""
    from deploykit.schema.runner import parse_upgrade, upgrade_command

    argv = upgrade_command(sys.executable, work.migrations, work.root, variable=work.variable, options={})
    upgraded = parse_upgrade(work.run(argv, url))
    if upgraded.error:
        raise MigrationsWrong("\n  ".join([upgraded.error, *upgraded.details]))


def _try(work: _Work, command: str, tree: Path, url: str, wrong: str) -> None:
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise MigrationsWrong(f"the command {command!r} can't be read: {error}") from None
    if not argv:
        raise MigrationsWrong("the command that was given is empty")
    try:
        done = subprocess.run(  # nosec B603 - the command that the user gave
            argv,
            cwd=tree,
            env=work.environment(url) | {_INNER: "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except OSError as error:
        raise MigrationsWrong(f"{command!r} can't be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise MigrationsWrong(f"{command} did not end within {_SECONDS} s") from None
    if done.returncode:
        last = (done.stdout + done.stderr).splitlines()[-25:]
        raise MigrationsWrong("\n  ".join([f"{wrong}: {command} ended with {done.returncode}", *last]))


def _git(root: Path, *words: str) -> str:
    from deploykit.process.git import run_git

    return run_git(root, *words).stdout


_CHECKS: dict[str, Callable[[_Work], None]] = {
    "one-head": _one_head,
    "phases": _phases,
    "models": _models,
    "round-trip": _round_trip,
    "previous-version": _previous,
    "present-version": _present,
}
