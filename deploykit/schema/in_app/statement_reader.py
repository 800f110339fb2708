"""One SQL statement, read word by word from the left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tokens import Token

__all__ = ["Operation", "StatementReader"]

Operation = dict[str, Any]
"""What a statement does to one table: `kind`, `table`, `schema`, and what else the kind has."""


class StatementReader:
    """Reads the words of one statement; `at` is the index of the next one."""

    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        token = self.words[self.at + ahead] if self.at + ahead < len(self.words) else None
        return token.text if token is not None and token.kind in {"word", "sign"} else ""

    def take(self, *wanted: str) -> bool:
        """Skip these words if all of them come next."""
        if all(self.peek(index) == word for index, word in enumerate(wanted)):
            self.at += len(wanted)
            return True
        return False

    def take_any(self, *wanted: str) -> str:
        word = self.peek()
        if word in wanted:
            self.at += 1
            return word
        return ""

    def name(self) -> Operation:
        """Read a name, perhaps with a schema (and a database) before it, as `table` and `schema`."""
        parts = []
        while self.at < len(self.words) and self.words[self.at].kind in {"word", "quoted"}:
            parts.append(self.words[self.at].name)
            self.at += 1
            if not self.take("."):
                break
        return {"table": parts[-1] if parts else None, "schema": parts[-2] if len(parts) > 1 else None}

    def identifier(self) -> str:
        token = self.words[self.at] if self.at < len(self.words) else None
        self.at += 1
        return token.name if token is not None and token.kind in {"word", "quoted"} else ""

    def rest(self) -> list[Token]:
        return self.words[self.at :]

    def unknown(self) -> list[Operation]:
        text = " ".join(word.text if word.kind not in {"body", "string", "escaped"} else "'…'" for word in self.words)
        return [
            {"kind": "unknown", "table": None, "schema": None, "sql": text if len(text) <= 200 else f"{text[:200]}…"}
        ]

    def names(self) -> list[Operation]:
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        return found
