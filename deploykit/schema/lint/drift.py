"""The tables that the application declares, compared with those that the revisions make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.schema.lint.actions import actions
from deploykit.schema.lint.catalog import Catalog, Table
from deploykit.schema.lint.engine import Script, at
from deploykit.schema.lint.rules import RULES
from deploykit.schema.lint.values import Key, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deploykit.schema.lint.finding import Finding
    from deploykit.schema.lint.parser import Text

__all__ = ["drift"]


def drift(models: Sequence[Text], made: Catalog, folder: str, *, left_out: frozenset[str]) -> list[Finding]:
    """Compare tables, columns, types, NOT NULL and foreign keys. The same grammar has read both sides.

    `left_out` are the tables to skip, by name: Alembic's own, and those of declared changes, whose SQL depends on a
    database. A table that only the database has does not belong to the application, and is no finding.
    """
    declared = Catalog()
    for text in models:
        for statement in text.statements:
            for action in actions(statement):
                declared.apply(action)
    script = Script(revision="", path=folder)
    rule = RULES["model-drift"]
    messages: list[str] = []
    for table, wanted in declared.tables.items():
        if table[1] in left_out:
            continue
        there = made.tables.get(table)
        if there is None or not there.of_revisions:
            messages.append(f"the application declares {shown(table)}, and no revision makes it")
        else:
            messages += _columns(table, wanted, there)
    return [at(rule, message, script) for message in messages]


def _columns(table: Key, wanted: Table, there: Table) -> Iterator[str]:
    name = shown(table)
    for column in wanted.columns.values():
        known = there.columns.get(column.name)
        if known is None:
            yield f"{name}.{column.name} is declared, and no revision makes it"
            continue
        if known.type and known.type_text != column.type_text:
            yield f"{name}.{column.name} is declared {column.type_text}, and made {known.type_text}"
        if known.not_null != column.not_null and not (known.primary or column.primary):
            one, other = ("NOT NULL", "nullable") if column.not_null else ("nullable", "NOT NULL")
            yield f"{name}.{column.name} is declared {one}, and made {other}"
    for column_name in there.columns.keys() - wanted.columns.keys():
        yield f"{name}.{column_name} is made by the revisions, and no longer declared"
    keys = {(rule.columns, rule.target) for rule in wanted.constraints.values() if rule.kind == "foreign"}
    made = {(rule.columns, rule.target) for rule in there.constraints.values() if rule.kind == "foreign"}
    for columns, target in sorted(keys - made, key=str):
        yield (
            f"{name} is declared to reference {shown(target) if target else ''} by {', '.join(columns)}, and no "
            "revision says so"
        )
