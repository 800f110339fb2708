"""An application with declared changes, and the ways to migrate it: bare Alembic, and the kit's commands in its
environment.
"""

from __future__ import annotations

import os
import subprocess
import sys

from deploykit.process import run
from deploykit.schema.runner import change_command, parse_change, parse_upgrade, upgrade_command

EXPAND = (
    "op.expand_change_type('items', 'price', sa.Numeric(12, 2), up='price / 100.0', down='(price_2 * 100)::int',"
    " change='price')"
)


def declared(tree, body: str) -> None:
    write(tree, "b", "a", None, None, body, "op.undo('price')")
    write(tree, "k", None, ("contract",), "b", "op.contract('price')", "op.reopen('price')")


def write(tree, revision, down, labels, depends, up, back) -> None:
    (tree.migrations / "versions" / f"{revision}.py").write_text(
        f'"""about {revision}"""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision ='
        f" {revision!r}\ndown_revision = {down!r}\nbranch_labels = {labels!r}\ndepends_on = {depends!r}\n\n\ndef"
        f" upgrade():\n    {up}\n\n\ndef downgrade():\n    {back}\n"
    )


def environment(url: str) -> dict[str, str]:
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "LANG"} or name.startswith("COVERAGE_")
        },
        "DATABASE_URL": url,
    }


def alembic(shop, url, *words: str, python: str = sys.executable, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [python, "-m", "alembic", *words]
    return subprocess.run(
        argv, cwd=shop.root, env=environment(url) | more, capture_output=True, text=True, timeout=60, check=False
    )


def upgrade(shop, url, *, python: str = sys.executable, **options):
    argv = upgrade_command(python, "migrations", shop.root, options=options)
    return parse_upgrade(run(argv, env=environment(url), cwd="/", timeout=60, check=False).stdout)


def change(shop, url, action, *, python: str = sys.executable, **options):
    argv = change_command(action, python, "migrations", shop.root, options=options)
    return parse_change(run(argv, env=environment(url), cwd="/", timeout=60, check=False).stdout)
