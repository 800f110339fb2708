"""SQL parsed by PostgreSQL's own grammar (libpg_query, through pglast), in an environment of its own.

pglast is under the GPL, so it runs as a program and is no part of the kit: `docs/decisions/0004-reading-sql.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import InconclusiveError
from deploykit.process.run import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["READER", "Parsed", "Text", "read_texts"]

READER = Path(__file__).parents[1] / "drivers" / "read_sql.py"
_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """One statement: its text, its first line in the whole text (from 0), its name in the grammar, and its node."""

    sql: str
    line: int
    name: str
    node: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A parsed text; `error` is the grammar's complaint, and then there are no statements."""

    statements: tuple[Parsed, ...] = ()
    error: str = ""


def read_texts(texts: Sequence[str], python: Path | str) -> tuple[list[Text], str]:
    """Parse each text; return them with the version of the grammar. Raises InconclusiveError without an answer."""
    # An isolated Python: nothing of the tree that is judged is imported.
    done = run([str(python), "-I", str(READER)], stdin=json.dumps(list(texts)), timeout=_SECONDS, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise InconclusiveError(
            f"the SQL could not be read: the reader ended with exit code {done.returncode}",
            details=done.stderr.strip().splitlines()[-10:],
            next_step="run the gate again; delete the environment of its tools to rebuild them",
        ) from None
    read = [_text(text, item) for text, item in zip(texts, answer["texts"], strict=True)]
    return read, str(answer["grammar"])


def _text(text: str, item: Mapping[str, Any]) -> Text:
    if "error" in item:
        return Text(error=str(item["error"]))
    raw = text.encode()
    statements = []
    for entry in item["read"].get("stmts", ()):
        start = int(entry.get("stmt_location", 0))
        length = int(entry.get("stmt_len", 0)) or len(raw) - start
        piece = raw[start : start + length].decode("utf-8", "replace")
        kept = piece.lstrip()
        before = raw[:start].count(b"\n") + piece[: len(piece) - len(kept)].count("\n") + _comment_lines(kept)
        ((name, node),) = entry["stmt"].items()
        statements.append(Parsed(sql=kept.rstrip(), line=before, name=name, node=node))
    return Text(statements=tuple(statements))


def _comment_lines(sql: str) -> int:
    """Count lines of comment and space before the first word: they belong to the statement, which begins below them."""
    count = 0
    for line in sql.splitlines():
        if line.strip() and not line.lstrip().startswith("--"):
            break
        count += 1
    return count
