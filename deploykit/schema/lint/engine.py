"""Applies the rules to the revisions, in the order in which those run, with the schema as it grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploykit.schema.lint.actions import actions
from deploykit.schema.lint.catalog import Catalog
from deploykit.schema.lint.finding import Finding
from deploykit.schema.lint.rule_context import RuleContext
from deploykit.schema.lint.rules import RULES, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from deploykit.schema.lint.parser import Parsed, Text
    from deploykit.schema.lint.rendered import Step
    from deploykit.schema.lint.values import Action, Key

__all__ = ["Engine", "Script", "Statement", "at", "statements_of"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement in its file: its line, and whether it runs outside Alembic's transaction."""

    parsed: Parsed
    line: int
    autocommit: bool = False
    existing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A revision, or a file of SQL.

    `judged` is False if it only contributes to the schema. `transactional`: it runs in one transaction.
    """

    revision: str
    path: str
    statements: tuple[Statement, ...] = ()
    downgrade: tuple[Statement, ...] = ()
    phase: str = "expand"
    judged: bool = True
    transactional: bool = True


def statements_of(steps: Sequence[Step], texts: Sequence[Text], *, sql_file: bool = False) -> tuple[Statement, ...]:
    """Return the steps' statements; in a file of SQL the line is the statement's own."""
    return tuple(
        Statement(
            parsed=parsed,
            line=parsed.line + 1 if sql_file else step.line,
            autocommit=step.autocommit,
            existing=step.existing,
        )
        for step, text in zip(steps, texts, strict=True)
        for parsed in text.statements
    )


def at(
    rule: Rule, message: str, script: Script, *, line: int = 0, statement: int = -1, action: Action | None = None
) -> Finding:
    """Make a finding of the rule in the script."""
    return Finding(
        rule=rule.id,
        message=message,
        revision=script.revision,
        path=script.path,
        line=line,
        why=rule.why,
        lock=rule.lock,
        how_long=rule.how_long,
        rewrite=rule.safe_way(action),
        statement=statement,
    )


class Engine:
    """Judges scripts by the `rules` given; `known` are the session's settings during a migration (`lock_timeout`)."""

    def __init__(self, *, version: int, rules: Iterable[str], known: Iterable[str] = ()) -> None:
        self.catalog = Catalog()
        self.version = version
        self.rules = [RULES[name] for name in rules if name in RULES]
        self.known = frozenset(known)
        self.free: set[tuple[str, int]] = set()
        """Statements, as (revision, index), that only touch what is new in the change: they can harm no session."""
        self._orders: dict[tuple[Key, Key], tuple[Script, int]] = {}

    def change(self, scripts: Sequence[Script]) -> list[Finding]:
        """Judge scripts that are applied together: what one of them makes is new to all."""
        self.catalog.begin_change()
        found: list[Finding] = []
        for script in scripts:
            found += self._script(script)
        return found + self._unindexed(scripts)

    def _script(self, script: Script) -> list[Finding]:
        found: list[Finding] = []
        context = RuleContext(
            catalog=self.catalog,
            version=self.version,
            phase=script.phase,
            transactional=script.transactional,
            settings=set(self.known),
        )
        context.begin_transaction(in_transaction=script.transactional)
        outside = not script.transactional
        for number, statement in enumerate(script.statements):
            if script.transactional and statement.autocommit != outside:
                outside = statement.autocommit
                context.begin_transaction(in_transaction=not outside)
            context.existing = dict(statement.existing)
            context.sql = statement.parsed.sql
            done = actions(statement.parsed)
            for action in done:
                if script.judged:
                    found += self._judge(action, context, script, statement.line, number)
                context.after(action)
            if all(self._is_free(action) for action in done):
                self.free.add((script.revision, number))
        if script.judged and not script.transactional and context.in_transaction and script.statements:
            rule = RULES["ban-uncommitted-transaction"]
            found.append(at(rule, "BEGIN is not followed by a COMMIT", script, line=script.statements[-1].line))
        return found

    def _judge(self, action: Action, context: RuleContext, script: Script, line: int, number: int) -> list[Finding]:
        found = [
            at(rule, message, script, line=line, statement=number, action=action)
            for rule in self.rules
            if (message := rule.check(action, context))
        ]
        found += self._lock_order(action, context, script, line, number)
        return found

    def _is_free(self, action: Action) -> bool:
        tables = [table for table, _ in action.locks] or [action.on]
        return action.kind in {"create_table", "set"} or (
            bool(action.on[1]) and all(self.catalog.is_new(table) for table in tables)
        )

    def _lock_order(
        self, action: Action, context: RuleContext, script: Script, line: int, number: int
    ) -> list[Finding]:
        """Find locks of this transaction that another one takes in the opposite order."""
        rule = RULES["lock-order"]
        if not context.in_transaction or rule not in self.rules:
            return []
        found, before = [], list(context.held)
        for table, _ in context.strong(action):
            for held in before:
                if held == table:
                    continue
                other = self._orders.get((table, held))
                if other is not None and other[0].revision != script.revision:
                    names = f"{held[1]} and then {table[1]} are locked here, the other way round in {other[0].revision}"
                    found.append(at(rule, names, script, line=line, statement=number, action=action))
                self._orders.setdefault((held, table), (script, line))
            before.append(table)
        return found

    def _unindexed(self, scripts: Sequence[Script]) -> list[Finding]:
        """Find foreign keys of this change whose columns no index begins with, once the change is complete."""
        rule = RULES["missing-foreign-key-index"]
        if rule not in self.rules:
            return []
        found = []
        for script in scripts:
            for number, statement in enumerate(script.statements if script.judged else ()):
                for action in actions(statement.parsed):
                    for columns in _foreign_keys(action):
                        table = self.catalog.tables.get(action.on)
                        if table is None or not set(columns) <= table.columns.keys() | set(columns):
                            continue
                        if not table.has_index(columns):
                            message = (
                                f"{action.on[1]} references another table by {', '.join(columns)}, and no index "
                                "begins with it"
                            )
                            found.append(
                                at(
                                    rule,
                                    message,
                                    script,
                                    line=statement.line,
                                    statement=number,
                                    action=_about(action, columns),
                                )
                            )  # fmt: skip
        return found


def _foreign_keys(action: Action) -> list[tuple[str, ...]]:
    own = [action.constraint] if action.constraint is not None and action.kind == "add_constraint" else []
    own += [rule for column in action.columns for rule in column.constraints]
    own += action.also.get("constraints", ())
    return [rule.columns for rule in own if rule.kind == "foreign"]


def _about(action: Action, columns: tuple[str, ...]) -> Action:
    from dataclasses import replace

    return replace(action, column=columns[0])
