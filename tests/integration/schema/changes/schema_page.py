"""docs/schema-operations.md, written by the planners themselves on the example tables of the tests.

python tests/integration/schema/changes/schema_page.py URL    # writes the page anew, on the PostgreSQL 18 at the URL
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import psycopg
from changed_database import Case, changed_database
from schema_cases import CASES

from deploykit.schema.in_app.changes.declaration_source import declaration_source
from deploykit.schema.in_app.changes.model import PROGRAMS, Backfill, Block, Comparison, Step
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS
from deploykit.schema.in_app.changes.sql import quote
from deploykit.schema.in_app.live.session import Session

PAGE = Path(__file__).parents[4] / "docs" / "schema-operations.md"
ALIKE = {"change_key_always"}
"""Cases that differ from the one before in a word."""
STRONG = ("AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock", "ShareUpdateExclusiveLock")
WORDS = {
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
}
HEAD = """# The operations, with the SQL they run and the locks they take

Written by the planners on the tables of the tests, by `tests/integration/schema/changes/schema_page.py`; a test compares it. What the operations
are for, and how a change goes through its life, stands in [schema-changes.md](schema-changes.md).

A lock is the strongest that a step's statements hold on a table of the application when they commit (from pg_locks, PostgreSQL 18). Readers and
writers wait for ACCESS EXCLUSIVE, writers for SHARE and SHARE ROW EXCLUSIVE, nobody for SHARE UPDATE EXCLUSIVE; `-` is a step that holds
no such lock, or one that runs outside a transaction (CONCURRENTLY), whose SHARE UPDATE EXCLUSIVE lets readers and writers pass.
Each step of a transaction waits for its lock at most `lock_timeout`, and is tried again. Comparisons only read.
"""


class Watching(Session):
    """Notes the strongest lock of each transaction just before it commits."""

    def __init__(self, connection) -> None:
        super().__init__(connection)
        self.locks: list[set[str]] = []

    def run(self, sql):
        if sql == "COMMIT":
            self.locks.append(
                {
                    row[0]
                    for row in super().rows(
                        "SELECT DISTINCT l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE l.pid = pg_backend_pid() AND l.granted AND n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v')"
                    )
                }
            )
        return super().run(sql)


def page(url_of) -> str:
    """The whole page; `url_of(case)` gives the URL of a fresh database."""
    shown = [case for case in CASES if 18 in case.versions and case.name not in ALIKE]
    return HEAD + "\n".join(_section(case, url_of) for case in shown)


def _section(case: Case, url_of) -> str:
    change = case.declare()
    with url_of() as url, changed_database(url, case, seed=20) as found:
        lines: dict[str, list[str]] = {}
        order = ["expand", "fill", "contract", *(["reopen"] if case.reopens else [])]
        found.runner.expand(change)
        known = found.runner.known(change.key)
        for program in PROGRAMS:
            lines[program] = [line for step in known.steps.program(program) for line in _sql(step)]
        with url_of() as other, changed_database(other, case, seed=20) as measured:
            locks = _measured(measured, change, order)
    purpose = (DECLARATIONS[change.kind].__doc__ or "").strip().splitlines()[0]
    text = [f"## {case.name.replace('_', ' ')}", "", purpose, "", *_code(declaration_source(change)), ""]
    text += ["| phase | step | lock |", "|---|---|---|", *locks, ""]
    for program in PROGRAMS:
        if lines[program]:
            text += [f"{program}:", "", "```sql", *lines[program], "```", ""]
    text += [f"- {note}" for note in known.steps.notes]
    if known.steps.lost:
        text.append(f"- After contract no way back brings again: {known.steps.lost.split(', with its')[0]}.")
    return "\n".join(text).rstrip() + "\n"


def _code(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def _measured(found, change, order: list[str]) -> list[str]:
    session = Watching(found.runner.session._connection)
    found.runner.session = session
    found.runner.__post_init__()
    rows: list[str] = []

    original = found.runner._step

    def step(known, program, number, item, finish) -> None:
        session.locks.clear()
        original(known, program, number, item, finish)
        held = session.locks[0] if isinstance(item, Block) and not item.alone and session.locks else set()
        strongest = next((WORDS[name] for name in STRONG if name in held), "-")
        rows.append(f"| {program} | {item.title} | {strongest} |")

    found.runner._step = step
    found.runner.expand(change)
    for program in order[1:]:
        if program == "contract":
            found.runner.contract(change.key, "the page")
        else:
            getattr(found.runner, program)(change.key)
    return rows


def _sql(step: Step) -> list[str]:
    if isinstance(step, Block):
        made = [f"{statement};" for statement in step.statements]
        return made if step.alone or len(made) == 1 else ["BEGIN;", *made, "COMMIT;"]
    if isinstance(step, Backfill):
        if step.statement:
            return [f"{step.statement.replace('{batch}', '/* the batch */')};"]
        sets = ", ".join(f"{quote(name)} = {expression}" for name, expression in step.assignments)
        return [
            f'UPDATE "{step.table.schema}"."{step.table.name}" source SET {sets} WHERE /* the batch */ AND ({step.needing});'
        ]
    assert isinstance(step, Comparison)
    return [f'SELECT FROM "{step.table.schema}"."{step.table.name}" source WHERE ({step.agree}) IS NOT TRUE;']


def main() -> None:
    import contextlib
    import uuid

    base = sys.argv[1]

    @contextlib.contextmanager
    def fresh():
        name = f"p{uuid.uuid4().hex[:10]}"
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            try:
                yield base.replace("/postgres?", f"/{name}?")
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    PAGE.write_text(page(fresh), encoding="utf-8")


if __name__ == "__main__":
    main()
