"""The rules for MariaDB, MySQL and others: what two versions of an application survive, not what a lock costs.

Revisions are rendered as PostgreSQL's SQL and read by its grammar there too: Alembic's operations mean the same
everywhere. SQL of the other database is read if both know it. Statements that only the other one knows are reported one
by one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.schema.lint.engine import Script, at
from deploykit.schema.lint.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deploykit.schema.lint.finding import Finding
    from deploykit.schema.lint.parser import Text
    from deploykit.schema.lint.rendered import Step

__all__ = ["ANY_DATABASE", "note", "plain", "readable", "unread"]

ANY_DATABASE = frozenset(
    {
        "acknowledgement-of-no-rule",
        "acknowledgement-without-reason",
        "adding-required-field",
        "ban-drop-column",
        "ban-drop-constraint",
        "ban-drop-database",
        "ban-drop-default",
        "ban-drop-not-null",
        "ban-drop-table",
        "ban-drop-view",
        "changing-column-type",
        "downgrade-drops-new-data",
        "downgrade-loses-data",
        "edited-revision",
        "model-drift",
        "multiple-heads",
        "not-null-in-expand",
        "phase-forbidden",
        "renaming-column",
        "renaming-table",
        "truncate",
        "unbatched-data-change",
        "unread-statement",
    }
)
_TOKEN = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|`(?:[^`]|``)*`", re.DOTALL)


def readable(sql: str) -> str:
    """Return the SQL with standard quotes around names instead of MySQL's."""
    return _TOKEN.sub(lambda found: '"' + found[0][1:-1] + '"' if found[0].startswith("`") else found[0], sql)


def unread(steps: Sequence[Step], texts: Sequence[Text], script: Script) -> Iterator[Finding]:
    """Yield a finding for each statement that could not be parsed."""
    for step, text in zip(steps, texts, strict=True):
        if text.error:
            words = " ".join(step.sql.split())
            shown = words if len(words) <= 60 else f"{words[:60]}…"
            yield at(RULES["unread-statement"], f"{shown}: {text.error}", script, line=step.line)


_BY_LIMIT = "# outside the migration, or in a revision of its own, batch by batch, each committed:\n"


def plain(found: Finding, dialect: str) -> Finding:
    """Return the finding without the lock, which is PostgreSQL's, and with the database's own form of a batch."""
    found = replace(found, lock="", how_long="")
    if found.rule == "unbatched-data-change" and dialect in {"mysql", "mariadb"}:
        way = 'op.execute("UPDATE the_table SET … WHERE … ORDER BY id LIMIT 1000")'
        return replace(found, rewrite=_BY_LIMIT + way)
    return found


def note(dialect: str) -> str:
    return f"{dialect}: the {len(ANY_DATABASE)} rules that hold on any database; what its locks cost is not judged"
