"""Statements about rows: which are changed, and whether few are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.schema.lint import nodes
from deploykit.schema.lint.values import Action, Key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Node = Mapping[str, Any]

__all__ = ["delete", "insert", "merge", "select", "update"]

_ROW_EXCLUSIVE = "RowExclusiveLock"
_CALLED_FOR_NOTHING = frozenset({
    "set_config", "setval", "nextval", "currval", "pg_sleep", "pg_advisory_lock", "pg_advisory_xact_lock",
    "pg_advisory_unlock", "count", "max", "min", "sum", "avg", "array_agg", "string_agg", "bool_and", "bool_or",
    "row_number", "rank", "version", "gen_random_uuid", "uuid_generate_v4", "random", "generate_series", "unnest",
    "clock_timestamp",
})  # fmt: skip


def _within(node: Node) -> Iterator[Action]:
    """Yield the changes in the WITH of a statement."""
    for name, value in nodes.walk(node.get("withClause")):
        if name in {"UpdateStmt", "DeleteStmt"}:
            yield from (update if name == "UpdateStmt" else delete)(value)


def merge(node: Node) -> Iterator[Action]:
    """A change of the rows that it matches, all of those of its source."""
    yield from _within(node)
    kinds = [item["MergeWhenClause"].get("commandType") for item in node.get("mergeWhenClauses", ())]
    table = nodes.relation(node["relation"])
    if "CMD_UPDATE" in kinds or "CMD_DELETE" in kinds:
        also = {"bounded": any(name == "limitCount" for name, _ in nodes.walk(node)), "equal": ()}
        yield Action(kind="update", on=table, locks=((table, _ROW_EXCLUSIVE),), also=also)
    else:
        yield Action(kind="insert", on=table, locks=((table, _ROW_EXCLUSIVE),))


def update(node: Node) -> Iterator[Action]:
    yield from _within(node)
    table = nodes.relation(node["relation"])
    names = [item["ResTarget"].get("name", "") for item in node.get("targetList", ())]
    twice = sorted({name for name in names if names.count(name) > 1 and not _is_indirect(node)})
    yield _change("update", table, node, also={"twice": tuple(twice), "set": tuple(names)})


def _is_indirect(node: Node) -> bool:
    """`SET a[1] = …, a[2] = …` names a column twice, and may."""
    return any("indirection" in item["ResTarget"] for item in node.get("targetList", ()))


def delete(node: Node) -> Iterator[Action]:
    yield from _within(node)
    yield _change("delete", nodes.relation(node["relation"]), node, also={})


def _change(kind: str, table: Key, node: Node, *, also: Mapping[str, Any]) -> Action:
    where = node.get("whereClause")
    return Action(
        kind=kind,
        on=table,
        locks=((table, _ROW_EXCLUSIVE),),
        also={**also, "bounded": _is_bounded(node), "equal": _equal_columns(where)},
    )


def _is_bounded(node: Node) -> bool:
    """Whether few rows are meant: a LIMIT or a range of keys with both ends."""
    where = node.get("whereClause")
    ends: dict[str, set[str]] = {}
    for name, value in nodes.walk([where, node.get("withClause"), node.get("fromClause"), node.get("usingClause")]):
        if name == "limitCount":
            return True
        if name == "A_Expr" and value.get("kind") == "AEXPR_BETWEEN":
            return True
        if name == "A_Expr" and value.get("kind") == "AEXPR_OP" and "ColumnRef" in value.get("lexpr", {}):
            column = nodes.strings(value["lexpr"]["ColumnRef"].get("fields"))[-1:]
            operator = nodes.strings(value.get("name"))[-1][:1]
            if column and operator in {"<", ">"} and "ColumnRef" not in value.get("rexpr", {}):
                ends.setdefault(column[0], set()).add(operator)
    return any(found == {"<", ">"} for found in ends.values())


def _equal_columns(where: Any) -> tuple[str, ...]:
    """Return the columns that must equal a constant, or be one of a list of constants."""
    node = where or {}
    if node.get("BoolExpr", {}).get("boolop") == "AND_EXPR":
        return tuple(name for part in node["BoolExpr"]["args"] for name in _equal_columns(part))
    test = node.get("A_Expr", {})
    if test.get("kind") not in {"AEXPR_OP", "AEXPR_IN"} or nodes.strings(test.get("name")) != ("=",):
        return ()
    right = test.get("rexpr", {})
    constant = "A_Const" in right or "ParamRef" in right or "List" in right or "TypeCast" in right
    return nodes.strings(test.get("lexpr", {}).get("ColumnRef", {}).get("fields"))[-1:] if constant else ()


def insert(node: Node) -> Iterator[Action]:
    yield from _within(node)
    table = nodes.relation(node["relation"])
    yield Action(kind="insert", on=table, locks=((table, _ROW_EXCLUSIVE),))


def select(node: Node) -> Iterator[Action]:
    """Return the actions of a SELECT: none, unless it changes rows in WITH, makes a table, or calls unknown code."""
    if "intoClause" in node:
        yield Action(kind="create_table", on=nodes.relation(node["intoClause"]["rel"]), also={"constraints": ()})
    for name, value in nodes.walk(node):
        if name in {"UpdateStmt", "DeleteStmt"}:
            yield from (update if name == "UpdateStmt" else delete)(value)
        elif name == "FuncCall":
            called = nodes.strings(value.get("funcname"))[-1].lower()
            if called not in nodes.STEADY | _CALLED_FOR_NOTHING and not called.startswith("pg_get_"):
                yield Action(kind="opaque", name=f"a call of {called}()")
