"""The contract branch: the pending contracts, and Alembic's own upgrade of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .action_context import WAIT_SECONDS
from .alembic_environment import configuration, version_table
from .changes.model import Refused
from .inspection import is_contract, pending_revisions, read_current
from .migration_run import run_to
from .recording import record

if TYPE_CHECKING:
    from .action_context import ActionContext

__all__ = ["pending_contracts", "upgrade_contracts"]


def pending_contracts(context: ActionContext) -> tuple[list[str], list[str]]:
    """Return the heads of the contract branch, and the keys of the changes that an upgrade to them contracts.

    Raises Refused when other revisions are pending before them.
    """
    heads = [head for head in context.script.get_heads() if is_contract(context.script, head)]
    current = read_current(context.url, *version_table(configuration(context.migrations), context.script.dir))
    steps = [step for step in pending_revisions(context.script, current, heads) if heads]
    keys = [
        operation["key"]
        for step in steps
        for operation in record(step.module, context.url)["operations"]
        if operation["kind"] == "contract"
    ]
    others = [
        step.revision
        for step in steps
        if not any(item["kind"] == "contract" for item in record(step.module, context.url)["operations"])
        and not is_contract(context.script, step.revision)
    ]
    if others:
        raise Refused(
            f"before that, other revisions are pending: {', '.join(others)}", "invoke db.expand, or release them"
        )
    return heads, keys


def upgrade_contracts(context: ActionContext, heads: list[str], keys: list[str]) -> dict[str, Any]:
    """Upgrade the contract branch by Alembic's own upgrade, and return the action's answer."""
    answer = run_to(context.migrations, context.url, tuple(heads), wait=WAIT_SECONDS)
    if answer["error"]:
        return {
            "contracted": [],
            "applied": answer["applied"],
            "error": {
                "kind": "failed",
                "next_step": "fix that, and run it again: it resumes there",
                **answer["error"],
            },
        }
    return {"contracted": keys, "applied": answer["applied"], "against": []}
