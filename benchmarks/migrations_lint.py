"""The lint of 1,000 revisions, made at run time: from the program's start to its answer, all of them judged.

The application's environment is this one; the environments of pglast and squawk are made before the clock starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Figure, Section, environment, ran
from deploykit.gates.tools import managed_tool

__all__ = ["measure"]

REVISIONS, RUNS, BOUND = 1_000, 5, 5.0  # seconds
_REVISION = '''"""Revision {number}."""
import sqlalchemy as sa
from alembic import op

revision = "r{number:04}"
down_revision = {down!r}


def upgrade():
{up}


def downgrade():
{back}
'''
_SHAPES = (
    (
        (
            'op.create_table("t{n}", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("note",'
            " sa.Text))"
        ),
        'op.drop_table("t{n}")',
    ),
    ('op.add_column("t0", sa.Column("c{n}", sa.Text))', 'op.drop_column("t0", "c{n}")'),
    ('op.create_index("ix{n}", "t0", ["note"])', 'op.drop_index("ix{n}", "t0")'),
    ('op.create_foreign_key("f{n}", "t0", "t0", ["c1"], ["id"])', 'op.drop_constraint("f{n}", "t0")'),
    ("op.execute(\"UPDATE t0 SET note = 'x' WHERE id BETWEEN {n} AND 999999\")", "pass"),
    ('op.alter_column("t0", "note", server_default="x{n}")', 'op.alter_column("t0", "note", server_default=None)'),
)


def measure() -> Section:
    with tempfile.TemporaryDirectory(prefix="dk-lint-") as folder:
        root = Path(folder)
        _make(root)
        plain = _figure("the kit's rules", root, squawk="", bound=BOUND)
        squawk = str(managed_tool("squawk-cli", environment=os.environ) / "bin" / "squawk")
        both = _figure("the kit's rules and squawk", root, squawk=squawk, bound=None)
    return Section(title=f"Lint of {REVISIONS} migrations, {RUNS} runs each", figures=[plain, both])


def _make(root: Path) -> None:
    versions = root / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "migrations" / "env.py").touch()
    for number in range(REVISIONS):
        up, back = _SHAPES[number % len(_SHAPES)]
        down = f"r{number - 1:04}" if number else None
        lines = {"up": f"    {up.format(n=number)}", "back": f"    {back.format(n=number)}"}
        (versions / f"r{number:04}.py").write_text(_REVISION.format(number=number, down=down, **lines))


def _figure(name: str, root: Path, *, squawk: str, bound: float | None) -> Figure:
    reader = managed_tool("pglast", environment=os.environ) / "bin" / "python"
    options = {
        "root": str(root),
        "reader": str(reader),
        "python": sys.executable,
        "migrations": "migrations",
        "squawk": squawk,
    }
    (root / "options.json").write_text(json.dumps(options))
    argv: list[str | Path] = [sys.executable, "-P", "-m", "deploykit.schema.lint", root / "options.json"]
    answer = json.loads(
        subprocess.run(argv, cwd=root, env=environment(), capture_output=True, text=True, check=True).stdout
    )
    if answer["judged"] != REVISIONS or answer["unknown"] or not answer["findings"]:
        msg = "the lint did not judge all of them"
        raise RuntimeError(msg)
    return Figure(name=name, unit="s", samples=[ran(argv, cwd=root).wall for _ in range(RUNS)], bound=bound)
