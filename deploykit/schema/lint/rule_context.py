"""What a rule may know besides the action: the schema so far, the server, the transaction, the revision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.schema.lint.values import Action, Key, Mode, stronger

if TYPE_CHECKING:
    from deploykit.schema.lint.catalog import Catalog

__all__ = ["RuleContext"]


@dataclass
class RuleContext:
    """The context of an action.

    - `existing` are the types that a revision says its columns had.
    - `held` are the strong locks of this transaction on tables that existed before, in the order taken.
    - `made_invalid` are the constraints added NOT VALID in it.
    - `waited`: something in it has already waited for a strong lock.
    """

    catalog: Catalog
    version: int
    phase: str = "expand"
    in_transaction: bool = True
    transactional: bool = True
    existing: dict[str, str] = field(default_factory=dict)
    held: dict[Key, Mode] = field(default_factory=dict)
    made_invalid: set[tuple[Key, str]] = field(default_factory=set)
    new_enum_values: set[str] = field(default_factory=set)
    changed_schema: set[Key] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)
    local_settings: set[str] = field(default_factory=set)
    waited: bool = False
    sql: str = ""

    def begin_transaction(self, *, in_transaction: bool) -> None:
        self.in_transaction = in_transaction
        self.held.clear()
        self.made_invalid.clear()
        self.new_enum_values.clear()
        self.changed_schema.clear()
        self.local_settings.clear()
        self.waited = False

    def after(self, action: Action) -> None:
        """Update the context for the actions after this one."""
        if action.kind in {"begin", "commit", "rollback"}:
            self.begin_transaction(in_transaction=action.kind == "begin")
            return
        if action.kind == "set" and not action.also["reset"]:
            (self.local_settings if action.also["local"] else self.settings).add(action.name)
        self.catalog.apply(action)
        self.waited = self.waited or bool(self.strong(action))
        if not self.in_transaction:
            return
        for table, mode in self.strong(action):
            if stronger(mode, self.held.get(table, "")):
                self.held[table] = mode
        if action.constraint is not None and not action.constraint.valid:
            self.made_invalid.add((action.on, action.name))
        if action.kind == "add_enum_value":
            self.new_enum_values.add(action.also["value"])
        if action.lock == "AccessExclusiveLock" and self.is_old(action):
            self.changed_schema.add(action.on)

    def strong(self, action: Action) -> list[tuple[Key, Mode]]:
        """Return the locks that block writers of tables in use."""
        return [
            (table, mode)
            for table, mode in (*action.locks, *self._referenced(action))
            if stronger(mode, "ShareUpdateExclusiveLock") and not self.catalog.is_new(table)
        ]

    def _referenced(self, action: Action) -> list[tuple[Key, Mode]]:
        """Return the locks on referenced tables: dropping a foreign key, or its table, drops triggers there."""
        if action.kind not in {"drop_constraint", "drop_table"}:
            return []
        rules = self.catalog.table(action.on).constraints.items()
        return [
            (rule.target, "AccessExclusiveLock")
            for name, rule in rules
            if rule.kind == "foreign"
            and rule.target not in {None, action.on}
            and (action.kind == "drop_table" or name == action.name)
        ]

    def is_old(self, action: Action) -> bool:
        """Whether its table is in use: it existed before this change."""
        return not self.catalog.is_new(action.on)
