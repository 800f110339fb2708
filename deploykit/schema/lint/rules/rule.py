"""A rule. Its id is squawk's if squawk has the same rule, so that the two engines report it once."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.schema.lint.rule_context import RuleContext
    from deploykit.schema.lint.values import Action

__all__ = ["Rule"]


def _nothing(_action: Action, _situation: RuleContext) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule. `check` returns its message for an action, empty for none; rules about several actions have no check.

    `lock` and `how_long` are what the database does meanwhile (an empty `lock`: it is not about a lock). `rewrite` is
    the safe way as code, with `$table`, `$column`, `$name` for the names. With `on` False it applies only if a setting
    enables it.
    """

    id: str
    why: str
    rewrite: str
    lock: str = ""
    how_long: str = ""
    check: Callable[[Action, RuleContext], str] = _nothing
    on: bool = True

    def safe_way(self, action: Action | None = None) -> str:
        """Return the rewrite with the names of the action in it."""
        names = {"table": "the_table", "column": "the_column", "name": "the_name"}
        if action is not None:
            columns = action.constraint.columns if action.constraint is not None else action.also.get("columns", ())
            column = action.column or next(iter(columns), "")
            known = {"table": action.on[1], "column": column, "name": action.name}
            names |= {name: value for name, value in known.items() if value}
        return Template(self.rewrite).safe_substitute(names)
