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
    from alembic.script import Script

    from .action_context import ActionContext

__all__ = ["pending_contracts", "upgrade_contracts"]


def pending_contracts(context: ActionContext) -> tuple[list[str], list[str]]:
    """Return the contract revisions to upgrade to, and the keys of the changes that this contracts.

    They are those before which no other revision is pending: the next change may wait for the contract of the last.
    Raises Refused when there is none but others.
    """
    script = context.script
    current = read_current(context.url, *version_table(configuration(context.migrations), script.dir))
    heads = [head for head in script.get_heads() if is_contract(script, head)]
    steps = pending_revisions(script, current, heads) if heads else []
    contracts = [step for step in steps if _contracts(context, step)]
    ready: list[str] = []
    keys: list[str] = []
    others: list[str] = []
    for step in contracts:
        before = pending_revisions(script, current, [step.revision])
        waits = [item.revision for item in before if not _contracts(context, item)]
        others += [item for item in waits if item not in others]
        if not waits:
            ready = [item for item in ready if item not in {each.revision for each in before}] + [step.revision]
            keys += _keys(context, step)
    if others and not ready:
        raise Refused(
            f"before that, other revisions are pending: {', '.join(others)}", "invoke db.expand, or release them"
        )
    return ready, keys


def _keys(context: ActionContext, step: Script) -> list[str]:
    return [item["key"] for item in record(step.module, context.url)["operations"] if item["kind"] == "contract"]


def _contracts(context: ActionContext, step: Script) -> bool:
    return is_contract(context.script, step.revision) or bool(_keys(context, step))


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
