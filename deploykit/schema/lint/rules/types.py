"""Rules about types that are hard to change later; they are checked where a column is made."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.schema.in_app.tokens import tokens
from deploykit.schema.lint.rules.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.schema.lint.rule_context import RuleContext
    from deploykit.schema.lint.values import Action, Column

__all__ = ["RULES"]

_LONGEST = 63
"""Bytes of a name that PostgreSQL keeps. https://www.postgresql.org/docs/current/limits.html"""
_PERHAPS_LONG = re.compile(r"[^\s(),.;]{32,}")


def _each(wrong: Callable[[Column], bool], words: str) -> Callable[[Action, RuleContext], str]:
    def check(action: Action, _situation: RuleContext) -> str:
        if action.kind not in {"create_table", "add_column", "alter_type"}:
            return ""
        names = [column.name for column in _with_keys(action) if wrong(column)]
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {words}" if names else ""

    return check


def _with_keys(action: Action) -> tuple[Column, ...]:
    """Return the columns; one that a constraint of the table makes the key is primary, too."""
    # One column of several is seldom a number that runs out.
    rules = [rule for rule in action.also.get("constraints", ()) if rule.kind == "primary" and len(rule.columns) == 1]
    keys = {name for rule in rules for name in rule.columns}
    return tuple(replace(column, primary=True) if column.name in keys else column for column in action.columns)


def _long(action: Action, context: RuleContext) -> str:
    # The grammar has cut the names already, so they are looked for in the text.
    if action.kind in {"insert", "update", "delete"} or not _PERHAPS_LONG.search(context.sql):
        return ""
    names = [token.name for token in tokens(context.sql) if token.kind in {"word", "quoted"}]
    long = [name for name in names if len(name.encode()) > _LONGEST]
    return f"{long[0]} has {len(long[0].encode())} bytes, and is cut to {_LONGEST}" if long else ""


RULES = (
    Rule(
        id="prefer-bigint-over-int",
        why="a key of four bytes ends at 2,147,483,647, and changing it then rewrites the table and all that "
        "reference it",
        rewrite='sa.Column("$column", sa.BigInteger, sa.Identity(), primary_key=True)',
        check=_each(lambda column: column.primary and column.type == "integer", "a key of four bytes"),
    ),
    Rule(
        id="prefer-bigint-over-smallint",
        why="a key of two bytes ends at 32,767",
        rewrite='sa.Column("$column", sa.BigInteger, sa.Identity(), primary_key=True)',
        check=_each(lambda column: column.primary and column.type == "smallint", "a key of two bytes"),
    ),
    Rule(
        id="prefer-identity",
        why="the sequence of a serial has rights and an owner of its own, and ids can be written by hand by mistake",
        rewrite='sa.Column("$column", sa.BigInteger, sa.Identity(), primary_key=True)',
        check=_each(lambda column: column.serial, "serial, where an identity column does the same"),
    ),
    Rule(
        id="prefer-text-field",
        why="a limit in the type is hard to shorten and saves nothing; a CHECK can be changed without a rewrite",
        rewrite='sa.Column("$column", sa.Text)  # and, if the limit matters, a CHECK (length($column) <= …)',
        check=_each(lambda column: column.type == "varchar" and column.length > 0, "limited by type"),
    ),
    Rule(
        id="ban-char-field",
        why="char(n) pads with blanks, which count in some comparisons and not in others",
        rewrite='sa.Column("$column", sa.Text)',
        check=_each(lambda column: column.type == "char", "padded with blanks"),
    ),
    Rule(
        id="prefer-timestamp-tz",
        why="a timestamp without a time zone means another moment to each reader",
        rewrite='sa.Column("$column", sa.DateTime(timezone=True))',
        check=_each(lambda column: column.type == "timestamp", "without a time zone"),
    ),
    Rule(
        id="prefer-jsonb",
        why="json has no equality, so SELECT DISTINCT and GROUP BY over its rows fail, also in the version "
        "that runs now",
        rewrite='sa.Column("$column", postgresql.JSONB)',
        check=_each(lambda column: column.type == "json", "json, which can't be compared"),
    ),
    Rule(
        id="identifier-too-long",
        why="PostgreSQL cuts it without an error, and two names may become one",
        rewrite='op.create_index("a_shorter_name", "$table", ["$column"])',
        check=_long,
    ),
)
