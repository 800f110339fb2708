"""The command `compare`: the models compared with the revisions, by Alembic's own autogenerate."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, configuration, database_url
from .inspection import load_scripts
from .migration_run import run_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL

__all__ = ["compare_models", "differences", "disposable_url", "render_operations"]


def differences(migrations: str, variable: str) -> dict[str, Any]:
    """Return the differences between models and revisions as lines of a revision; nothing is written."""
    url = disposable_url(variable)
    operations, _ = compare_models(load_scripts(migrations), migrations, url)
    return {"differences": render_operations(operations, url)[0] if operations else []}


def disposable_url(variable: str) -> URL:
    """Return the URL in the variable, of a database whose content is lost. Raises MigrationError if it is not set."""
    url = database_url(variable)
    if url is None:
        raise MigrationError(
            "variable", f"the variable {variable} is not set, so there is no database to compare the models with"
        )
    return url


def compare_models(script: ScriptDirectory, migrations: str, url: URL) -> tuple[list[Any], Any]:
    """Upgrade to every head, and return what the models have beyond that: Alembic's operations, and the metadata.

    Raises MigrationError when an upgrade fails, or env.py has no models.
    """
    answer = run_to(migrations, url, "heads", wait=10.0)
    if answer["error"]:
        raise MigrationError(
            "database", f"the revisions so far can't be applied to an empty database: {answer['error']['message']}"
        )
    return _differences(script, migrations, url)


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


def render_operations(operations: Sequence[Any], url: URL) -> tuple[list[str], list[str], list[str]]:
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
