"""Small readers of libpg_query's JSON: names, types, defaults, columns and constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.schema.lint.values import Column, Constraint, Key, key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Node = Mapping[str, Any]

__all__ = [
    "STEADY",
    "column",
    "constraint",
    "flag",
    "not_null_columns",
    "relation",
    "string",
    "strings",
    "type_of",
    "walk",
]

_TYPES = {
    "bool": "boolean",
    "bpchar": "char",
    "float4": "real",
    "float8": "double precision",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "decimal": "numeric",
}
_SERIALS = {
    "serial": "integer",
    "serial4": "integer",
    "bigserial": "bigint",
    "serial8": "bigint",
    "smallserial": "smallint",
    "serial2": "smallint",
}
STEADY = frozenset({
    "now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_database", "current_schema",
    "lower", "upper", "coalesce", "concat", "md5", "to_timestamp", "to_date", "to_char", "to_number", "timezone",
    "date_trunc", "make_interval", "make_date", "make_timestamp", "make_timestamptz", "jsonb_build_object",
    "jsonb_build_array", "json_build_object", "json_build_array", "to_json", "to_jsonb", "row_to_json", "array_fill",
    "string_to_array", "point", "box", "int4range", "int8range", "tstzrange", "daterange", "numrange", "abs", "round",
    "ceil", "floor", "length", "replace", "trim", "btrim", "substring", "date_part", "extract", "age", "decode",
    "encode", "repeat", "left", "right", "array_length", "to_tsvector", "nullif", "greatest", "least",
})  # fmt: skip
"""Functions that are immutable or stable: PostgreSQL evaluates them once, and rewrites nothing. Others are unknown."""


def string(node: Node) -> str:
    return str(node.get("String", {}).get("sval", ""))


def strings(nodes: Any) -> tuple[str, ...]:
    return tuple(string(node) for node in nodes or ())


def relation(node: Node) -> Key:
    return key(node.get("schemaname"), str(node.get("relname", "")))


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield every named node below this one, with its name."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, value
            yield from walk(value)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


def flag(options: Any, name: str) -> bool:
    """Whether an option in brackets (`(CONCURRENTLY, VERBOSE)`) is on."""
    return any(item.get("DefElem", {}).get("defname") == name for item in options or ())


def type_of(node: Node) -> tuple[str, int]:
    """Return a type as PostgreSQL names it, and its length limit (0: none).

    A precision with a scale is written out in the name.
    """
    names = [name for name in strings(node.get("names")) if name != "pg_catalog"]
    name = ".".join(names)
    name = _TYPES.get(name, _SERIALS.get(name, name))
    sizes = [item.get("A_Const", {}).get("ival", {}).get("ival", 0) for item in node.get("typmods", ())]
    if node.get("arrayBounds"):
        return f"{name}[]", 0
    if len(sizes) > 1:
        return f"{name}({','.join(map(str, sizes))})", 0
    return name, int(sizes[0]) if sizes else 0


def column(node: Node) -> Column:
    type_node = node.get("typeName", {})
    names = strings(type_node.get("names"))
    type_, length = type_of(type_node)
    rules = [item["Constraint"] for item in node.get("constraints", ())]
    kinds = {rule["contype"] for rule in rules}
    default = next((rule.get("raw_expr") for rule in rules if rule["contype"] == "CONSTR_DEFAULT"), None)
    stored = any(rule["contype"] == "CONSTR_GENERATED" and rule.get("generated_kind", "s") == "s" for rule in rules)
    serial = bool(names) and names[-1] in _SERIALS
    own = [constraint(rule, str(node.get("colname", ""))) for rule in rules]
    return Column(
        name=str(node.get("colname", "")),
        type=type_,
        length=length,
        not_null=bool({"CONSTR_NOTNULL", "CONSTR_PRIMARY"} & kinds) or serial or "CONSTR_IDENTITY" in kinds,
        default=_default(default) or ("generated" if "CONSTR_GENERATED" in kinds else ""),
        serial=serial,
        identity="CONSTR_IDENTITY" in kinds,
        stored=stored,
        primary="CONSTR_PRIMARY" in kinds,
        constraints=tuple(item for item in own if item is not None and item.kind != "not-null"),
    )


def _default(node: Any) -> str:
    if node is None or node.get("A_Const", {}).get("isnull"):
        return ""
    for name, value in walk(node):
        if name == "FuncCall" and strings(value.get("funcname"))[-1].lower() not in STEADY:
            return "volatile"
    return "constant"


_KINDS = {
    "CONSTR_CHECK": "check",
    "CONSTR_FOREIGN": "foreign",
    "CONSTR_UNIQUE": "unique",
    "CONSTR_PRIMARY": "primary",
    "CONSTR_EXCLUSION": "exclusion",
    "CONSTR_NOTNULL": "not-null",
}


def constraint(node: Node, of_column: str = "") -> Constraint | None:
    """Return the constraint; None for a node that the grammar calls one and is none, such as a default."""
    kind = _KINDS.get(node["contype"])
    if kind is None:
        return None
    columns = strings(node.get("fk_attrs") if kind == "foreign" else node.get("keys"))
    return Constraint(
        kind=kind,
        name=str(node.get("conname", "")),
        columns=columns or ((of_column,) if of_column else ()),
        valid=not node.get("skip_validation", False),
        index=str(node.get("indexname", "")),
        target=relation(node["pktable"]) if "pktable" in node else None,
        not_null=not_null_columns(node.get("raw_expr")) if kind == "check" else (),
    )


def not_null_columns(expression: Any) -> tuple[str, ...]:
    """Return the columns that the expression, alone or joined by AND, keeps from being NULL."""
    node = expression or {}
    if "BoolExpr" in node and node["BoolExpr"].get("boolop") == "AND_EXPR":
        return tuple(name for part in node["BoolExpr"].get("args", ()) for name in not_null_columns(part))
    test = node.get("NullTest", {})
    if test.get("nulltesttype") != "IS_NOT_NULL":
        return ()
    return strings(test.get("arg", {}).get("ColumnRef", {}).get("fields"))[-1:]
