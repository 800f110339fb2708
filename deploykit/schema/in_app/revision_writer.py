"""The command `revise`: write the revisions of a change, one that expands and one that contracts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, database_url
from .changes.operations.columns import needs_contract
from .inspection import CONTRACT, is_contract, load_scripts, release_heads
from .model_comparison import compare_models, disposable_url, render_operations
from .recording import record
from .status import recorded_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL

__all__ = ["revise"]

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
    url = disposable_url(variable)
    return _from_models(script, migrations, url, message, heads)


def _from_models(
    script: ScriptDirectory, migrations: str, url: URL, message: str, heads: Sequence[str]
) -> dict[str, Any]:
    from .autogeneration import split
    from .model_edits import edit_models

    operations, metadata = compare_models(script, migrations, url)
    found = split(operations, metadata)
    if not found.expand and not found.contract:
        return {
            "written": [],
            "changes": [],
            "notes": ["the models and the revisions say the same: nothing is to be written"],
        }
    up, down, imports = render_operations(found.expand, url)
    written = [_write(script, f"{message}: expand", heads, EXPAND, up, down, imports)]
    if found.contract:
        script = load_scripts(migrations)
        (expanded,) = release_heads(script)
        written.append(_write_contract(script, f"{message}: contract", found.contract, expanded))
    edited = edit_models(metadata, found.moved)
    return {"written": written, "changes": list(found.keys), "notes": [*found.notes, *edited]}


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
