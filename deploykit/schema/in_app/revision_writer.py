"""The commands `revise`, `compare` and `roundtrip`: write revisions, compare models with them, and try them."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, configuration, database_url, with_connection
from .changes.operations.columns import needs_contract
from .inspection import CONTRACT, is_contract, load_scripts, release_heads
from .recording import record
from .status import recorded_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL, Connection

__all__ = ["differences", "revise", "round_trip"]

EXPAND = "expand"
_HINT = "pass  # op.expand_rename_column('users', 'name', 'full_name'), and so on: docs/schema-operations.md"


def revise(migrations: str, variable: str, *, message: str, mode: str) -> dict[str, Any]:
    """Write revision files for a change: one that expands, and one that contracts if needed.

    - `autogenerate`: from the models. The database in `variable` is migrated to every head, so it must be a disposable
      one.
    - `contract`: the missing contract of declared changes.
    - `empty`: a file to fill in.

    Returns `written` (paths), `changes` (keys) and `notes` for the reader. Raises MigrationError.
    """
    script = load_scripts(migrations)
    heads = release_heads(script)
    if len(heads) > 1:
        raise MigrationError(
            "revisions", f"there are several heads: {', '.join(heads)}: alembic merge heads -m 'Merge heads' joins them"
        )
    if mode == "contract":
        return _contract_of_declared(script, message, variable)
    if mode == "empty":
        return {"written": [_write(script, message, heads, EXPAND, [_HINT], ["pass"])], "changes": [], "notes": []}
    url = _needed(variable)
    return _from_models(script, migrations, url, message, heads)


def differences(migrations: str, variable: str) -> dict[str, Any]:
    """Return the differences between models and revisions as lines of a revision; nothing is written."""
    url = _needed(variable)
    operations, _ = _compared(load_scripts(migrations), migrations, url)
    return {"differences": _rendered(operations, url)[0] if operations else []}


def round_trip(migrations: str, variable: str) -> dict[str, Any]:
    """Run all revisions up, down and up again on a disposable database.

    `lost` names what the second run made otherwise.
    """
    from .migration_run import run_to

    url, script = _needed(variable), load_scripts(migrations)
    for revision in script.walk_revisions():
        if not hasattr(revision.module, "downgrade"):
            return {"lost": [], "irreversible": f"{revision.revision} has no downgrade()"}
    states = []
    for _ in range(2):
        answer = run_to(migrations, url, "heads", wait=10.0)
        if answer["error"]:
            raise MigrationError("database", f"an upgrade failed: {answer['error']['message']}")
        states.append(with_connection(url, _definition))
        try:
            _down(script, migrations, url)
        except NotImplementedError as error:
            return {"lost": [], "irreversible": str(error) or "a downgrade is not implemented"}
    return {"lost": sorted({*states[0]} ^ {*states[1]}), "irreversible": ""}


def _down(script: ScriptDirectory, migrations: str, url: URL) -> None:
    from alembic.runtime.environment import EnvironmentContext

    config = configuration(migrations)
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))

    def steps(current: Any, _: Any) -> Any:
        return script._downgrade_revs("base", current)  # noqa: SLF001 - what Alembic's own command calls

    with EnvironmentContext(config, script, fn=steps):
        script.run_env()


def _definition(connection: Connection) -> list[str]:
    """Return tables, columns, indexes and constraints as lines."""
    from sqlalchemy import inspect

    found: list[str] = []
    inspector = inspect(connection)
    for table in inspector.get_table_names():
        found.append(table)
        found += [
            f"{table}.{column['name']} {column['type']} {column['nullable']} {column['default']}"
            for column in inspector.get_columns(table)
        ]
        found += [f"index {index['name']} on {table}" for index in inspector.get_indexes(table)]
        found += [f"foreign key {key['name']} of {table}" for key in inspector.get_foreign_keys(table)]
        found += [f"check {check['name']} of {table}" for check in inspector.get_check_constraints(table)]
    return found


def _needed(variable: str) -> URL:
    url = database_url(variable)
    if url is None:
        raise MigrationError(
            "variable", f"the variable {variable} is not set, so there is no database to compare the models with"
        )
    return url


def _compared(script: ScriptDirectory, migrations: str, url: URL) -> tuple[list[Any], Any]:
    from .migration_run import run_to

    answer = run_to(migrations, url, "heads", wait=10.0)
    if answer["error"]:
        raise MigrationError(
            "database", f"the revisions so far can't be applied to an empty database: {answer['error']['message']}"
        )
    return _differences(script, migrations, url)


def _from_models(
    script: ScriptDirectory, migrations: str, url: URL, message: str, heads: Sequence[str]
) -> dict[str, Any]:
    from .autogeneration import split
    from .model_edits import edit_models

    operations, metadata = _compared(script, migrations, url)
    found = split(operations, metadata)
    if not found.expand and not found.contract:
        return {
            "written": [],
            "changes": [],
            "notes": ["the models and the revisions say the same: nothing is to be written"],
        }
    up, down, imports = _rendered(found.expand, url)
    written = [_write(script, f"{message}: expand", heads, EXPAND, up, down, imports)]
    if found.contract:
        script = load_scripts(migrations)
        (expanded,) = release_heads(script)
        written.append(_write_contract(script, f"{message}: contract", found.contract, expanded))
    edited = edit_models(metadata, found.moved)
    return {"written": written, "changes": list(found.keys), "notes": [*found.notes, *edited]}


def _differences(script: ScriptDirectory, migrations: str, url: URL) -> tuple[list[Any], Any]:
    """Return Alembic's own comparison through the application's env.py, with all that it includes and excludes."""
    from alembic.autogenerate import produce_migrations
    from alembic.runtime.environment import EnvironmentContext

    seen: list[Any] = []

    def compare(_revision: Any, context: Any) -> list[Any]:
        metadata = context.opts.get("target_metadata")
        if metadata is None:
            raise MigrationError(
                "migrations", "env.py gives no target_metadata, so there are no models to compare with"
            )
        upgrade = produce_migrations(context, metadata).upgrade_ops
        seen.append((upgrade.ops if upgrade is not None else [], metadata))
        return []

    config = configuration(migrations)
    config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    with EnvironmentContext(config, script, fn=compare):
        script.run_env()
    if not seen:
        raise MigrationError("migrations", "env.py ran no migrations")
    operations, metadata = seen[0]
    return list(operations), metadata


def _rendered(operations: Sequence[Any], url: URL) -> tuple[list[str], list[str], list[str]]:
    """Return the lines of upgrade() and downgrade(), and the imports, as Alembic writes them."""
    from alembic.autogenerate import render_python_code
    from alembic.operations.ops import DowngradeOps, UpgradeOps
    from alembic.runtime.migration import MigrationContext

    context = MigrationContext.configure(dialect_name=url.get_backend_name())
    imports: set[str] = set()
    options: dict[str, Any] = {"migration_context": context, "imports": imports}
    up = UpgradeOps(list(operations))
    down = DowngradeOps([operation.reverse() for operation in reversed(list(operations))])

    def lines(container: Any) -> list[str]:
        # Alembic indents all lines but the first.
        text = "    " + render_python_code(container, **options).lstrip()
        return [line for line in textwrap.dedent(text).splitlines() if not line.startswith("# ###")]

    return lines(up), lines(down), sorted(imports)


def _contract_of_declared(script: ScriptDirectory, message: str, variable: str) -> dict[str, Any]:
    url = database_url(variable) or _any_postgresql()
    done = {
        operation["key"]
        for revision in script.walk_revisions()
        for operation in record(revision.module, url)["operations"]
        if operation["kind"] == "contract"
    }
    left = [
        (revision, change.key)
        for revision, change in recorded_changes(script, url)
        if change.key not in done and needs_contract(change)
    ]
    if not left:
        return {"written": [], "changes": [], "notes": ["every declared change has its contract"]}
    written = _write_contract(script, message, [key for _, key in left], left[-1][0])
    return {"written": [written], "changes": [key for _, key in left], "notes": []}


def _any_postgresql() -> URL:
    from sqlalchemy.engine import make_url

    return make_url("postgresql://")


def _write_contract(script: ScriptDirectory, message: str, keys: Sequence[str], expanded: str) -> str:
    heads = [head for head in script.get_heads() if is_contract(script, head)]
    up = [f"op.contract({key!r})" for key in keys]
    down = [f"op.reopen({key!r})" for key in reversed(keys)]
    return _write(script, message, heads or ("base",), CONTRACT, up, down, depends_on=expanded)


def _write(  # noqa: PLR0913, PLR0917 - the parts of a file
    script: ScriptDirectory,
    message: str,
    heads: Sequence[str],
    label: str,
    up: Sequence[str],
    down: Sequence[str],
    imports: Sequence[str] = (),
    depends_on: str | None = None,
) -> str:
    from alembic.util import CommandError, rev_id

    labelled = any(label in revision.branch_labels for revision in script.walk_revisions())
    try:
        made = script.generate_revision(
            rev_id(),
            message,
            head=list(heads) or "base",
            branch_labels=None if labelled else label,
            depends_on=depends_on,
            upgrades=_indented(up),
            downgrades=_indented(down),
            imports="\n".join(imports),
            config=None,
        )
    except CommandError as error:
        raise MigrationError("revisions", f"the revision can't be written: {error}") from error
    if made is None:
        raise MigrationError("revisions", "Alembic wrote no revision")
    return os.path.relpath(made.path)


def _indented(lines: Sequence[str]) -> str:
    """Indent the lines; the template itself indents the first one."""
    return "\n    ".join(line for line in lines if line.strip()) or "pass"
