"""The command `roundtrip`: all revisions up, down and up again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, configuration, with_connection
from .inspection import load_scripts
from .migration_run import run_to
from .model_comparison import disposable_url

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL, Connection

__all__ = ["round_trip"]


def round_trip(migrations: str, variable: str) -> dict[str, Any]:
    """Run all revisions up, down and up again on a disposable database.

    `lost` names what the second run made otherwise.
    """
    url, script = disposable_url(variable), load_scripts(migrations)
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
