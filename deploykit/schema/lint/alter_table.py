"""The actions of ALTER TABLE. Locks: https://www.postgresql.org/docs/current/sql-altertable.html"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.schema.lint import nodes
from deploykit.schema.lint.values import Action, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
        if node.get("objtype", "OBJECT_TABLE") in {"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}:
            yield _part(item["AlterTableCmd"], table)
        else:
            yield Action(kind="other", on=table)


def _part(command: Node, table: Key) -> Action:
    subtype = command["subtype"]
    if reader := _READERS.get(subtype):
        return reader(command, table)
    if subtype in _REWRITES:
        return Action(kind="rewrite", on=table, name=_REWRITES[subtype], locks=((table, EXCLUSIVE),), scans=True)
    return Action(kind="other", on=table, locks=((table, _LIGHT.get(subtype, EXCLUSIVE)),))


def _add_column(command: Node, table: Key) -> Action:
    added = nodes.column(command["def"]["ColumnDef"])
    targets = [rule.target for rule in added.constraints if rule.target]
    rewrites = added.default == "volatile" or added.serial or added.identity or added.stored
    checked = any(rule.kind in {"check", "unique", "primary"} for rule in added.constraints)
    return Action(
        kind="add_column",
        on=table,
        column=added.name,
        columns=(added,),
        locks=((table, EXCLUSIVE), *((target, SHARE_ROW) for target in targets)),
        guarded=bool(command.get("missing_ok")),
        scans=rewrites or checked,
    )


def _alter_type(command: Node, table: Key) -> Action:
    column, definition = str(command.get("name", "")), command["def"]["ColumnDef"]
    return Action(
        kind="alter_type",
        on=table,
        column=column,
        columns=(nodes.column({"colname": column, **definition}),),
        locks=((table, EXCLUSIVE),),
        scans=True,
        also={"using": "raw_default" in definition},
    )


def _of_column(kind: str, *, scans: bool = False) -> Callable[[Node, Key], Action]:
    def read(command: Node, table: Key) -> Action:
        return Action(
            kind=kind,
            on=table,
            column=str(command.get("name", "")),
            locks=((table, EXCLUSIVE),),
            guarded=bool(command.get("missing_ok")),
            scans=scans,
        )

    return read


def _default(command: Node, table: Key) -> Action:
    return _of_column("set_default" if command.get("def") else "drop_default")(command, table)


def _validate(command: Node, table: Key) -> Action:
    name = str(command.get("name", ""))
    return Action(kind="validate_constraint", on=table, name=name, locks=((table, SHARE_UPDATE),), scans=True)


def _drop_constraint(command: Node, table: Key) -> Action:
    guarded = bool(command.get("missing_ok"))
    name = str(command.get("name", ""))
    return Action(kind="drop_constraint", on=table, name=name, locks=((table, EXCLUSIVE),), guarded=guarded)


def _attach(command: Node, table: Key) -> Action:
    child = nodes.relation(command["def"]["PartitionCmd"]["name"])
    locks = ((table, SHARE_UPDATE), (child, EXCLUSIVE))
    return Action(kind="attach_partition", on=table, name=child[1], locks=locks, scans=True, also={"child": child})


def _detach(command: Node, table: Key) -> Action:
    partition = command["def"]["PartitionCmd"]
    concurrent, child = bool(partition.get("concurrent")), nodes.relation(partition["name"])
    mode = SHARE_UPDATE if concurrent else EXCLUSIVE
    locks = ((table, mode), (child, mode))
    return Action(kind="detach_partition", on=table, name=child[1], concurrent=concurrent, locks=locks)


def _add_constraint(command: Node, table: Key) -> Action:
    rule = nodes.constraint(command["def"]["Constraint"])
    if rule is None:
        return Action(kind="other", on=table, locks=((table, EXCLUSIVE),))
    locks: tuple[tuple[Key, str], ...] = ((table, EXCLUSIVE),)
    if rule.kind == "foreign" and rule.target:
        locks = ((table, SHARE_ROW), (rule.target, SHARE_ROW))
    return Action(
        kind="add_constraint",
        on=table,
        name=rule.name,
        constraint=rule,
        locks=locks,
        scans=rule.valid and not rule.index,
    )


_READERS: dict[str, Callable[[Node, Key], Action]] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_AlterColumnType": _alter_type,
    "AT_ColumnDefault": _default,
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_AddIdentity": _of_column("alter_identity"),
    "AT_DropIdentity": _of_column("alter_identity"),
    "AT_SetIdentity": _of_column("alter_identity"),
    "AT_DropExpression": _of_column("drop_expression"),
    "AT_DropColumn": _of_column("drop_column"),
    "AT_DropConstraint": _drop_constraint,
    "AT_DropNotNull": _of_column("drop_not_null"),
    "AT_SetNotNull": _of_column("set_not_null", scans=True),
    "AT_ValidateConstraint": _validate,
}
