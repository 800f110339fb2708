"""A statement of PostgreSQL's grammar as the actions that rules know. Anything else is `other`, or `opaque`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.schema.lint import nodes, rows
from deploykit.schema.lint.alter_table import EXCLUSIVE, SHARE_ROW, SHARE_UPDATE, alter_table
from deploykit.schema.lint.safe_statements import SAFE_STATEMENTS
from deploykit.schema.lint.values import Action, Key, key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deploykit.schema.lint.parser import Parsed

    Node = Mapping[str, Any]

__all__ = ["actions"]

_SHARE, _ROW_EXCLUSIVE = "ShareLock", "RowExclusiveLock"


def actions(statement: Parsed) -> tuple[Action, ...]:
    """Return the actions of the statement, in order; never empty. An unknown kind of statement is opaque."""
    return tuple(_read(statement.name, statement.node)) or (Action(kind="other"),)


def _read(name: str, node: Node) -> Iterator[Action]:
    reader = _READERS.get(name)
    if reader is not None:
        yield from reader(node)
    elif name not in SAFE_STATEMENTS:
        yield Action(kind="opaque", name=f"a {name}")


def _create_table(node: Node) -> Iterator[Action]:
    table = nodes.relation(node["relation"])
    elements = node.get("tableElts", ())
    columns = tuple(nodes.column(item["ColumnDef"]) for item in elements if "ColumnDef" in item)
    rules = [nodes.constraint(item["Constraint"]) for item in elements if "Constraint" in item]
    constraints = tuple(rule for rule in rules if rule is not None)
    every = (*constraints, *(rule for column in columns for rule in column.constraints))
    locks = tuple((rule.target, SHARE_ROW) for rule in every if rule.target and rule.target != table)
    parents = tuple((nodes.relation(item["RangeVar"]), SHARE_UPDATE) for item in node.get("inhRelations", ()))
    yield Action(
        kind="create_table",
        on=table,
        columns=columns,
        guarded=bool(node.get("if_not_exists")),
        locks=(*locks, *parents),
        also={"constraints": constraints},
    )


def _create_as(node: Node) -> Iterator[Action]:
    into = node.get("into", {})
    kind = "create_table" if node.get("objtype") == "OBJECT_TABLE" else "create_object"
    yield Action(
        kind=kind,
        on=nodes.relation(into.get("rel", {})),
        guarded=bool(node.get("if_not_exists")),
        also={"constraints": ()},
    )


def _create_index(node: Node) -> Iterator[Action]:
    table, concurrent = nodes.relation(node["relation"]), bool(node.get("concurrent"))
    elements = [item["IndexElem"] for item in node.get("indexParams", ())]
    yield Action(
        kind="create_index",
        on=table,
        name=str(node.get("idxname", "")),
        concurrent=concurrent,
        guarded=bool(node.get("if_not_exists")),
        scans=True,
        locks=((table, SHARE_UPDATE if concurrent else _SHARE),),
        also={
            "columns": tuple(str(item.get("name", "")) for item in elements),
            "unique": bool(node.get("unique")),
            "partial": "whereClause" in node,
        },
    )


def _drop(node: Node) -> Iterator[Action]:
    what, concurrent = node["removeType"], bool(node.get("concurrent"))
    guarded, cascade = bool(node.get("missing_ok")), node.get("behavior") == "DROP_CASCADE"
    kinds = {
        "OBJECT_TABLE": "drop_table",
        "OBJECT_FOREIGN_TABLE": "drop_table",
        "OBJECT_INDEX": "drop_index",
        "OBJECT_SCHEMA": "drop_schema",
        "OBJECT_VIEW": "drop_view",
        "OBJECT_MATVIEW": "drop_view",
    }
    for item in node.get("objects", ()):
        names = _names(item)
        kind = kinds.get(what, "drop_object")
        on = key(names[-2] if len(names) > 1 else None, names[-1])
        locks: tuple[tuple[Key, str], ...] = ((on, EXCLUSIVE),) if kind in {"drop_table", "drop_view"} else ()
        if what in {"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"}:
            on = key(names[-3] if len(names) > 2 else None, names[-2])
            locks = ((on, EXCLUSIVE),)
        yield Action(
            kind=kind,
            on=on,
            name=names[-1],
            concurrent=concurrent,
            guarded=guarded,
            locks=locks,
            also={"cascade": cascade, "what": what},
        )


def _names(item: Node) -> tuple[str, ...]:
    """Return the parts of the name in a DROP: a relation, a type, or a function with its arguments."""
    if "String" in item:
        return (nodes.string(item),)
    ((_, named),) = item.items()
    return nodes.strings(named.get("items") or named.get("names") or named.get("objname")) or ("",)


def _rename(node: Node) -> Iterator[Action]:
    what, to = node["renameType"], str(node.get("newname", ""))
    table = nodes.relation(node["relation"]) if "relation" in node else ("", str(node.get("subname", "")))
    locks = ((table, EXCLUSIVE),) if "relation" in node else ()
    kinds = {
        "OBJECT_TABLE": "rename_table",
        "OBJECT_VIEW": "rename_table",
        "OBJECT_MATVIEW": "rename_table",
        "OBJECT_COLUMN": "rename_column",
        "OBJECT_SCHEMA": "rename_schema",
        "OBJECT_DATABASE": "rename_schema",
    }
    if what == "OBJECT_INDEX":
        locks = ()  # of the index alone
    yield Action(
        kind=kinds.get(what, "rename_object"),
        on=table,
        name=str(node.get("subname") or table[1]),
        column=str(node.get("subname", "")),
        locks=locks,
        also={"to": to},
    )


def _set_schema(node: Node) -> Iterator[Action]:
    if node.get("objectType") != "OBJECT_TABLE":
        return
    table = nodes.relation(node["relation"])
    also = {"to": table[1], "schema": node["newschema"]}
    yield Action(kind="set_schema", on=table, locks=((table, EXCLUSIVE),), also=also)


def _truncate(node: Node) -> Iterator[Action]:
    for item in node.get("relations", ()):
        table = nodes.relation(item["RangeVar"])
        cascade = node.get("behavior") == "DROP_CASCADE"
        yield Action(kind="truncate", on=table, locks=((table, EXCLUSIVE),), also={"cascade": cascade})


def _vacuum(node: Node) -> Iterator[Action]:
    full = node.get("is_vacuumcmd", False) and nodes.flag(node.get("options"), "full")
    tables = [nodes.relation(item["VacuumRelation"]["relation"]) for item in node.get("rels", ())] or [("", "")]
    for table in tables:
        mode = EXCLUSIVE if full else SHARE_UPDATE
        kind = "vacuum_full" if full else ("vacuum" if node.get("is_vacuumcmd") else "other")
        yield Action(kind=kind, on=table, scans=full, locks=((table, mode),) if table[1] else ())


def _cluster(node: Node) -> Iterator[Action]:
    table = nodes.relation(node.get("relation", {}))
    yield Action(kind="cluster", on=table, scans=True, locks=((table, EXCLUSIVE),))


def _reindex(node: Node) -> Iterator[Action]:
    on = nodes.relation(node["relation"]) if "relation" in node else ("", str(node.get("name", "")))
    concurrent = nodes.flag(node.get("params"), "concurrently")
    of_table = node.get("kind") == "REINDEX_OBJECT_TABLE"
    mode = SHARE_UPDATE if concurrent else _SHARE
    yield Action(
        kind="reindex",
        on=on,
        concurrent=concurrent,
        scans=True,
        locks=((on, mode),) if of_table else (),
        also={"table": of_table},
    )


def _refresh(node: Node) -> Iterator[Action]:
    view, concurrent = nodes.relation(node["relation"]), bool(node.get("concurrent"))
    mode = "ExclusiveLock" if concurrent else EXCLUSIVE
    yield Action(kind="refresh_view", on=view, concurrent=concurrent, scans=True, locks=((view, mode),))


def _set(node: Node) -> Iterator[Action]:
    yield Action(
        kind="set",
        name=str(node.get("name", "")).lower(),
        also={"local": bool(node.get("is_local")), "reset": node.get("kind") in {"VAR_RESET", "VAR_SET_DEFAULT"}},
    )


def _transaction(node: Node) -> Iterator[Action]:
    kinds = {
        "TRANS_STMT_BEGIN": "begin",
        "TRANS_STMT_START": "begin",
        "TRANS_STMT_COMMIT": "commit",
        "TRANS_STMT_ROLLBACK": "rollback",
    }
    yield Action(kind=kinds.get(node.get("kind", ""), "other"))


def _alter_enum(node: Node) -> Iterator[Action]:
    name = nodes.strings(node.get("typeName"))[-1]
    if node.get("oldVal"):
        yield Action(kind="rename_enum_value", name=name, also={"value": node["oldVal"]})
    else:
        ordered = bool(node.get("newValNeighbor"))
        yield Action(kind="add_enum_value", name=name, also={"value": node.get("newVal", ""), "ordered": ordered})


def _create_domain(node: Node) -> Iterator[Action]:
    rules = [item["Constraint"]["contype"] for item in node.get("constraints", ())]
    checked = bool({"CONSTR_CHECK", "CONSTR_NOTNULL"} & set(rules))
    yield Action(kind="create_domain", name=nodes.strings(node["domainname"])[-1], also={"checked": checked})


def _alter_domain(node: Node) -> Iterator[Action]:
    adds = node.get("subtype") in {"C", "O"}
    valid = not node.get("def", {}).get("Constraint", {}).get("skip_validation", False)
    yield Action(
        kind="alter_domain_add" if adds else "other", name=nodes.strings(node["typeName"])[-1], also={"valid": valid}
    )


def _create_trigger(node: Node) -> Iterator[Action]:
    table = nodes.relation(node["relation"])
    yield Action(kind="create_trigger", on=table, name=str(node.get("trigname", "")), locks=((table, SHARE_ROW),))


def _lock_table(node: Node) -> Iterator[Action]:
    modes = {
        1: "AccessShareLock",
        2: "RowShareLock",
        3: _ROW_EXCLUSIVE,
        4: SHARE_UPDATE,
        5: _SHARE,
        6: SHARE_ROW,
        7: "ExclusiveLock",
        8: EXCLUSIVE,
    }
    for item in node.get("relations", ()):
        table = nodes.relation(item["RangeVar"])
        yield Action(kind="lock_table", on=table, locks=((table, modes.get(node.get("mode", 8), EXCLUSIVE)),))


def _comment(node: Node) -> Iterator[Action]:
    names = nodes.strings(node.get("object", {}).get("List", {}).get("items"))
    if node.get("objtype") == "OBJECT_TABLE" and names:
        table = key(names[-2] if len(names) > 1 else None, names[-1])
        yield Action(kind="other", on=table, locks=((table, SHARE_UPDATE),))


def _view(node: Node) -> Iterator[Action]:
    view = nodes.relation(node["view"])
    yield Action(kind="create_object", on=view, name=view[1])


def _create_object(node: Node) -> Iterator[Action]:
    names = nodes.strings(node.get("typeName") or node.get("funcname")) or (
        str(
            node.get("extname") or node.get("sequence", {}).get("relname") or node.get("typevar", {}).get("relname", "")
        ),
    )
    yield Action(kind="create_object", name=names[-1])


def _schema(node: Node) -> Iterator[Action]:
    for element in node.get("schemaElts", ()):
        ((name, inner),) = element.items()
        yield from _read(name, inner)


def _explain(node: Node) -> Iterator[Action]:
    if nodes.flag(node.get("options"), "analyze"):
        yield Action(kind="opaque", name="EXPLAIN ANALYZE, which runs what it explains,")


def _on_table(node: Node) -> Iterator[Action]:
    """A rule or a policy."""
    table = nodes.relation(node.get("relation") or node["table"])
    yield Action(kind="other", on=table, locks=((table, EXCLUSIVE),))


_READERS: dict[str, Callable[[Node], Iterator[Action]]] = {
    "AlterDomainStmt": _alter_domain,
    "AlterEnumStmt": _alter_enum,
    "AlterObjectSchemaStmt": _set_schema,
    "AlterTableStmt": alter_table,
    "CompositeTypeStmt": _create_object,
    "CreateEnumStmt": _create_object,
    "CreateExtensionStmt": _create_object,
    "CreateFunctionStmt": _create_object,
    "CreateSeqStmt": _create_object,
    "CallStmt": lambda _: iter([Action(kind="opaque", name="CALL")]),
    "ClusterStmt": _cluster,
    "CommentStmt": _comment,
    "CreateDomainStmt": _create_domain,
    "AlterPolicyStmt": _on_table,
    "CreatePolicyStmt": _on_table,
    "CreateSchemaStmt": _schema,
    "ExplainStmt": _explain,
    "MergeStmt": rows.merge,
    "RuleStmt": _on_table,
    "CreateStmt": _create_table,
    "CreateTableAsStmt": _create_as,
    "CreateTrigStmt": _create_trigger,
    "DeleteStmt": rows.delete,
    "DoStmt": lambda _: iter([Action(kind="opaque", name="a DO block")]),
    "DropStmt": _drop,
    "DropdbStmt": lambda node: iter([Action(kind="drop_database", name=str(node.get("dbname", "")))]),
    "IndexStmt": _create_index,
    "InsertStmt": rows.insert,
    "LockStmt": _lock_table,
    "RefreshMatViewStmt": _refresh,
    "ReindexStmt": _reindex,
    "RenameStmt": _rename,
    "SelectStmt": rows.select,
    "TransactionStmt": _transaction,
    "TruncateStmt": _truncate,
    "UpdateStmt": rows.update,
    "VacuumStmt": _vacuum,
    "VariableSetStmt": _set,
    "ViewStmt": _view,
}
