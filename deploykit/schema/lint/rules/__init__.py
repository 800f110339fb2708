"""Every rule, by its id."""

from __future__ import annotations

from deploykit.schema.lint.rules import (
    columns,
    constraints,
    data,
    history,
    indexes,
    objects,
    tables,
    transactions,
    types,
)
from deploykit.schema.lint.rules.rule import Rule

__all__ = ["GROUPS", "RULES", "Rule"]

GROUPS: dict[str, tuple[Rule, ...]] = {
    "Indexes": indexes.RULES,
    "Constraints": constraints.RULES,
    "Columns": columns.RULES,
    "Tables, schemas, enums": tables.RULES,
    "Other objects": objects.RULES,
    "Types": types.RULES,
    "Rows": data.RULES,
    "Transactions and locks": transactions.RULES,
    "Revisions together": history.RULES,
}
"""The rules under the headings of the documentation."""

RULES: dict[str, Rule] = {rule.id: rule for group in GROUPS.values() for rule in group}
