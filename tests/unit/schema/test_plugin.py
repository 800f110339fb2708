"""The Alembic plug-in: loaded inside `import alembic`, light, and never what breaks that import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import deploykit.schema.in_app as in_app

PLUGIN = Path(in_app.__file__).parent / "plugin.py"
ORDERS = {
    "alembic first": "import alembic",
    "op first": "from alembic import op",
    "sqlalchemy first": "import sqlalchemy, sqlalchemy.orm; import alembic",
    "plug-in first": "import deploykit.schema.in_app.plugin; import alembic",
    "plugins module first": "import alembic.runtime.plugins; import alembic",
    "config first": "from alembic.config import Config; import alembic",
}
ASK = (
    "\nfrom alembic import op\nprint(hasattr(op, 'expand_rename_column'), hasattr(op, 'contract'), hasattr(op, 'undo'),"
    " hasattr(op, 'reopen'))"
)


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    # Not measured: what these processes import, this one imports, too.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, *flags, "-c", code], env=unmeasured, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("order", ORDERS)
def test_op_has_the_operations_whatever_is_imported_first(order):
    done = python("import warnings; warnings.simplefilter('error')\n" + ORDERS[order] + ASK)
    assert (done.returncode, done.stdout.split()) == (0, ["True"] * 4), done.stderr


def test_only_the_standard_library_is_imported_at_the_top():
    names = set()
    for node in ast.parse(PLUGIN.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add((node.module or "").split(".")[0])
    assert names <= set(sys.stdlib_module_names)


def test_a_failure_of_the_plug_in_is_said_and_alembic_works(tmp_path):
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'deploykit.schema.in_app.alembic_operations':\n"
        "            raise RuntimeError('out of order')\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import alembic; from alembic import op; print(op.create_table)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0
    assert "RuntimeError: out of order" in done.stderr
    assert "op.expand_… is missing" in done.stderr


def test_the_kit_that_runs_by_its_path_is_not_disturbed_by_one_that_is_installed():
    code = (
        "import sys, types; sys.modules['_deploykit_in_app'] = types.ModuleType('_deploykit_in_app')\n"
        "from alembic import op; print(hasattr(op, 'expand_rename_column'))"
    )
    assert python(code).stdout.strip() == "False"


def test_a_mistake_in_an_argument_is_told_as_pythons_own():
    done = python(
        "from alembic.operations import Operations\nOperations.expand_rename_column(None, 'users', nonsense=1)"
    )
    assert "unexpected keyword argument 'nonsense'" in done.stderr
