"""ALTER TABLE, part by part. Locks: https://www.postgresql.org/docs/current/sql-altertable.html"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.schema.lint import nodes
from deploykit.schema.lint.values import Action, Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Node = Mapping[str, Any]

__all__ = ["alter_table"]

EXCLUSIVE, SHARE_ROW, SHARE_UPDATE = "AccessExclusiveLock", "ShareRowExclusiveLock", "ShareUpdateExclusiveLock"
_LIGHT = {
    "AT_SetStatistics": SHARE_UPDATE,
    "AT_SetOptions": SHARE_UPDATE,
    "AT_ResetOptions": SHARE_UPDATE,
    "AT_SetRelOptions": SHARE_UPDATE,
    "AT_ResetRelOptions": SHARE_UPDATE,
    "AT_ClusterOn": SHARE_UPDATE,
    "AT_DropCluster": SHARE_UPDATE,
    "AT_AttachPartition": SHARE_UPDATE,
    "AT_EnableTrig": SHARE_ROW,
    "AT_DisableTrig": SHARE_ROW,
    "AT_EnableAlwaysTrig": SHARE_ROW,
    "AT_EnableReplicaTrig": SHARE_ROW,
    "AT_EnableTrigAll": SHARE_ROW,
    "AT_DisableTrigAll": SHARE_ROW,
    "AT_EnableTrigUser": SHARE_ROW,
    "AT_DisableTrigUser": SHARE_ROW,
}
_REWRITES = {
    "AT_SetTableSpace": "SET TABLESPACE",
    "AT_SetLogged": "SET LOGGED",
    "AT_SetUnLogged": "SET UNLOGGED",
    "AT_SetAccessMethod": "SET ACCESS METHOD",
}


def alter_table(node: Node) -> Iterator[Action]:
    table = nodes.relation(node["relation"])
    for item in node.get("cmds", ()):
        yield from _part(item["AlterTableCmd"], table, node.get("objtype", "OBJECT_TABLE"))


def _part(command: Node, table: Key, of: str) -> Iterator[Action]:
    subtype, locks = command["subtype"], ((table, EXCLUSIVE),)
    column = str(command.get("name", ""))
    definition = command.get("def", {})
    if of != "OBJECT_TABLE" and of != "OBJECT_FOREIGN_TABLE":
        yield Action(kind="other", on=table)
    elif subtype == "AT_AddColumn":
        added = nodes.column(definition["ColumnDef"])
        targets = [rule.target for rule in added.constraints if rule.target]
        rewrites = added.default == "volatile" or added.serial or added.identity or added.stored
        checked = any(rule.kind in {"check", "unique", "primary"} for rule in added.constraints)
        locks += tuple((target, SHARE_ROW) for target in targets)
        guarded = bool(command.get("missing_ok"))
        yield Action(
            kind="add_column", on=table, column=added.name, columns=(added,), locks=locks, guarded=guarded, scans=rewrites or checked
        )  # fmt: skip
    elif subtype == "AT_DropColumn":
        yield Action(kind="drop_column", on=table, column=column, locks=locks, guarded=bool(command.get("missing_ok")))
    elif subtype == "AT_AlterColumnType":
        new = nodes.column({"colname": column, **definition["ColumnDef"]})
        using = "raw_default" in definition["ColumnDef"]
        yield Action(
            kind="alter_type", on=table, column=column, columns=(new,), locks=locks, scans=True, also={"using": using}
        )
    elif subtype in {"AT_SetNotNull", "AT_DropNotNull"}:
        sets = subtype == "AT_SetNotNull"
        yield Action(
            kind="set_not_null" if sets else "drop_not_null", on=table, column=column, locks=locks, scans=sets
        )
    elif subtype == "AT_ColumnDefault":
        yield Action(kind="set_default" if definition else "drop_default", on=table, column=column, locks=locks)
    elif subtype == "AT_AddConstraint":
        yield from _add_constraint(definition["Constraint"], table)
    elif subtype == "AT_ValidateConstraint":
        yield Action(kind="validate_constraint", on=table, name=column, locks=((table, SHARE_UPDATE),), scans=True)
    elif subtype == "AT_DropConstraint":
        guarded = bool(command.get("missing_ok"))
        yield Action(kind="drop_constraint", on=table, name=column, locks=locks, guarded=guarded)
    elif subtype == "AT_DetachPartition":
        partition = definition["PartitionCmd"]
        concurrent = bool(partition.get("concurrent"))
        mode = SHARE_UPDATE if concurrent else EXCLUSIVE
        child = nodes.relation(partition["name"])
        yield Action(
            kind="detach_partition", on=table, name=child[1], concurrent=concurrent, locks=((table, mode), (child, mode))
        )
    elif subtype in _REWRITES:
        yield Action(kind="rewrite", on=table, name=_REWRITES[subtype], locks=locks, scans=True)
    else:
        yield Action(kind="other", on=table, locks=((table, _LIGHT.get(subtype, EXCLUSIVE)),))


def _add_constraint(node: Node, table: Key) -> Iterator[Action]:
    rule = nodes.constraint(node)
    if rule is None:
        yield Action(kind="other", on=table, locks=((table, EXCLUSIVE),))
        return
    locks: tuple[tuple[Key, str], ...] = ((table, EXCLUSIVE),)
    if rule.kind == "foreign" and rule.target:
        locks = ((table, SHARE_ROW), (rule.target, SHARE_ROW))
    yield Action(
        kind="add_constraint",
        on=table,
        name=rule.name,
        constraint=rule,
        locks=locks,
        scans=rule.valid and not rule.index,
    )
