"""Runs plans on SQLite, each program in one transaction with its ledger entry: a kill leaves all of it or nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..changes.model import Change, Refused
from ..changes.sql import quote
from .plan import Action, Plan
from .planner import make_plan
from .shape import Shape
from .sql import text_literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..live.session import Session

__all__ = ["TABLE", "KnownChange", "SqliteRunner", "described"]

TABLE = "deploykit_change"
_MADE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (key TEXT PRIMARY KEY, declaration TEXT NOT NULL, plan TEXT NOT NULL, "
    "inverse TEXT NOT NULL, "
    "phase TEXT NOT NULL, revision TEXT NOT NULL, expanded_at TEXT, contracted_at TEXT, undone_at TEXT)"
)


@dataclass(frozen=True)
class KnownChange:
    """A change as stored.

    `inverse` has the ways back of what was done: `expand`, and after it `contract`. `phase` is filled, contracted or
    undone.
    """

    change: Change
    plan: Plan
    inverse: dict[str, list[Action]]
    phase: str
    revision: str
    times: dict[str, Any]


class SqliteRunner:
    """Runs the programs of changes on one database; `session` is in autocommit."""

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self.session, self.tell = session, tell

    # What there is

    def all(self) -> list[KnownChange]:
        if not self.session.value(f"SELECT 1 FROM sqlite_master WHERE name = '{TABLE}'"):
            return []
        rows = self.session.rows(
            "SELECT declaration, plan, inverse, phase, revision, expanded_at, contracted_at, undone_at FROM "
            f"{TABLE} ORDER BY rowid"
        )
        return [
            KnownChange(
                Change.from_json(row[0]),
                Plan(**json.loads(row[1])),
                json.loads(row[2]),
                row[3],
                row[4],
                dict(zip(("expanded_at", "contracted_at", "undone_at"), row[5:], strict=True)),
            )
            for row in rows
        ]

    def known(self, key: str) -> KnownChange:
        everything = self.all()
        for item in everything:
            if item.change.key == key:
                return item
        names = ", ".join(item.change.key for item in everything) or "none"
        raise Refused(f"this database knows no change {key}", f"it knows: {names}")

    def shape(self, table: str) -> Shape:
        rows = self.session.rows(
            f"SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = lower({text_literal(table)}) "
            "AND sql IS NOT NULL ORDER BY rowid"
        )
        made = [row for row in rows if row[0] == "table"]
        if not made:
            raise Refused(f"there is no table {table}", "see to it that what makes it comes before")
        of = {kind: [row[2] for row in rows if row[0] == kind] for kind in ("index", "trigger")}
        return Shape.parse(made[0][1], made[0][2], of["index"], of["trigger"])

    def incoming(self, table: str) -> Sequence[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        for (name,) in self.session.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL"):
            rows = [
                row
                for row in self.session.rows(f"PRAGMA foreign_key_list({quote(name)})")
                if row[2].lower() == table.lower()
            ]
            alone = [row for row in rows if sum(other[0] == row[0] for other in rows) == 1]
            found += [(name, row[3], row[4] or row[3]) for row in alone]
        return found

    def plan(self, change: Change) -> Plan:
        return make_plan(change, self)

    # The programs

    def begin(self, change: Change, revision: str = "") -> None:
        found = next((item for item in self.all() if item.change.key == change.key), None)
        if found is not None and found.phase != "undone":
            if found.change != change:
                raise Refused(
                    f"the change {change.key} was declared otherwise when it was expanded, so its revision was "
                    "edited since",
                    "undo it by: invoke db.undo, or give the new declaration another name: change='…'",
                )
            return
        plan = self.plan(change)
        for note in plan.notes:
            self.tell(f"{change.key}: {note}")
        with self._transaction():
            self.session.run(_MADE)
            inverse = self._perform(plan.expand)
            values = ", ".join(
                map(
                    text_literal,
                    (
                        change.key,
                        change.to_json(),
                        json.dumps(asdict(plan)),
                        json.dumps({"expand": inverse}),
                        "filled",
                        revision,
                    ),
                )
            )
            self.session.run(
                f"INSERT OR REPLACE INTO {TABLE} (key, declaration, plan, inverse, phase, revision, "
                f"expanded_at) VALUES ({values}, CURRENT_TIMESTAMP)"
            )
        self.tell(f"{change.key}: expanded, with its rows; on SQLite the two shapes are not kept in sync")

    def contract(self, key: str) -> None:
        known = self.known(key)
        if known.phase == "contracted":
            return
        if known.phase != "filled":
            raise Refused(f"{key} is {known.phase}, so it can't be contracted", "invoke db.expand")
        with self._transaction():
            inverse = {**known.inverse, "contract": self._perform(known.plan.contract)}
            self._note(key, "contracted", inverse)
        self.tell(f"{key}: contracted")

    def reopen(self, key: str) -> None:
        known = self.known(key)
        if known.phase != "contracted":
            return
        if known.plan.lost:
            self.tell(f"{key} comes back without {known.plan.lost}")
        with self._transaction():
            self._perform(known.inverse.get("contract", []))
            self._statements(known.plan.reopen)
            self._note(key, "filled", {"expand": known.inverse["expand"]})
        self.tell(f"{key}: its old shape is there again")

    def undo(self, key: str) -> None:
        self.reopen(key)
        known = self.known(key)
        if known.phase == "undone":
            return
        with self._transaction():
            self._statements(known.plan.undo)
            self._perform(known.inverse["expand"])
            self._note(key, "undone", {})
        self.tell(f"{key}: undone")

    def _note(self, key: str, phase: str, inverse: dict[str, list[Action]]) -> None:
        at = {"contracted": ", contracted_at = CURRENT_TIMESTAMP", "undone": ", undone_at = CURRENT_TIMESTAMP"}.get(
            phase, ""
        )
        self.session.run(
            f"UPDATE {TABLE} SET phase = {text_literal(phase)}, inverse = "
            f"{text_literal(json.dumps(inverse))}{at} WHERE key = {text_literal(key)}"
        )

    # The actions

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Follow https://sqlite.org/lang_altertable.html, section 7: foreign keys are off, and checked at the end."""
        checked = self.session.value("PRAGMA foreign_keys")
        self.session.run("PRAGMA foreign_keys = OFF")
        legacy = self.session.value("PRAGMA legacy_alter_table")
        try:
            before = set(map(tuple, self.session.rows("PRAGMA foreign_key_check")))
            self.session.run("PRAGMA legacy_alter_table = ON")  # a rename of the new table is no rename in views
            with self.session.transaction():
                yield
                broken = [row for row in self.session.rows("PRAGMA foreign_key_check") if tuple(row) not in before]
                if broken:
                    table, _, parent, _ = broken[0]
                    raise Refused(f"rows of {table} would refer to none of {parent}", "fix these rows first")
        finally:
            self.session.run(f"PRAGMA legacy_alter_table = {'ON' if legacy else 'OFF'}")
            if checked:
                self.session.run("PRAGMA foreign_keys = ON")

    def _perform(self, actions: Sequence[Action]) -> list[Action]:
        """Run the actions in order. Returns their inverses, in the order in which to run those."""
        inverses: list[Action] = []
        for action in actions:
            inverses[:0] = self._one(action)
        return inverses

    def _one(self, action: Action) -> list[Action]:
        what, *arguments = action
        if what == "table":
            return self._rebuild(*arguments)
        if what == "rename":
            old, new = arguments
            # Not in legacy mode: who refers to the table goes on referring to it.
            self.session.run("PRAGMA legacy_alter_table = OFF")
            self._statements([f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}"])
            self.session.run("PRAGMA legacy_alter_table = ON")
            return [["rename", new, old]]
        if what == "drop":
            shape = self.shape(arguments[0])
            made = [shape.sql(shape.name), *shape.indexes, *shape.triggers]
            self._statements([f"DROP TABLE {quote(shape.name)}"])
            return [["fill", sql] for sql in made]
        self._statements([arguments[0]])
        return [["sql", arguments[1], arguments[0]]] if what == "sql" else []

    def _rebuild(self, table: str, edits: Sequence[list[Any]]) -> list[Action]:
        shape = self.shape(table)
        before = set(shape.stored())
        inverses = [shape.apply(edit) for edit in edits][::-1]
        made = f"deploykit_new_{shape.name}"
        kept = [name for name in shape.stored() if name in before and name not in shape.values]
        values = {
            **{name: quote(name) for name in kept},
            **{n: sql for n, sql in shape.values.items() if n in shape.stored()},
        }
        names, selected = ", ".join(map(quote, values)), ", ".join(values.values())
        given = self._number(shape.name)
        self._statements(
            [
                shape.sql(made),
                *(
                    [f"INSERT INTO {quote(made)} ({names}) SELECT {selected} FROM {quote(shape.name)}"]
                    if values
                    else []
                ),
                f"DROP TABLE {quote(shape.name)}",
                f"ALTER TABLE {quote(made)} RENAME TO {quote(shape.name)}",
                *shape.indexes,
                *shape.triggers,
                # AUTOINCREMENT: the number of a row that was deleted is not given again.
                *(
                    [f"UPDATE sqlite_sequence SET seq = max(seq, {given}) WHERE name = {text_literal(shape.name)}"]
                    if given
                    else []
                ),
            ]
        )
        return [["table", shape.name, inverses]]

    def _number(self, table: str) -> int:
        """Return the last number that AUTOINCREMENT gave in the table, 0 if it gave none."""
        if not self.session.value("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            return 0
        return int(self.session.value(f"SELECT seq FROM sqlite_sequence WHERE name = {text_literal(table)}") or 0)

    def _statements(self, statements: Sequence[str]) -> None:
        from sqlalchemy.exc import DBAPIError

        for statement in statements:
            try:
                self.session.run(statement)
            except DBAPIError as error:
                raise Refused(
                    f"SQLite refuses it: {error.orig}: {' '.join(statement.split())[:200]}",
                    "expressions of a declaration have to be SQL that both databases know, CAST(x AS y) say; "
                    "nothing was changed",
                ) from None


def described(actions: Sequence[Action]) -> list[str]:
    """Describe each action on a line, for people."""
    lines: list[str] = []
    for what, *arguments in actions:
        if what == "table":
            # The table is rebuilt from its edited text, so no statement shows the change.
            lines += [f"-- {arguments[0]}: {_edit(edit)}" for edit in arguments[1]]
        elif what == "rename":
            lines.append(f"ALTER TABLE {quote(arguments[0])} RENAME TO {quote(arguments[1])}")
        elif what == "drop":
            lines.append(f"DROP TABLE {quote(arguments[0])}")
        else:
            lines.append(arguments[0])
    return lines


def _edit(edit: Sequence[Any]) -> str:
    what, *arguments = edit
    if what == "add":
        return f"add {arguments[0]}" + (f", of {arguments[1]}" if len(arguments) > 1 and arguments[1] else "")
    if what == "set":
        return f"{arguments[0]} becomes {arguments[1]}"
    if what == "point":
        return "constraints and indexes: " + ", ".join(f"{old} becomes {new}" for old, new in arguments[0].items())
    return f"{what} {arguments[0]}"
