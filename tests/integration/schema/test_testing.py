"""The pytest plug-in, as a user types it; each check is shown to fail when it should."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(120)
MODELS = """
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("items", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
"""


@pytest.fixture
def repo(tree):
    (tree.root / "models.py").write_text(MODELS)
    (tree.root / "pyproject.toml").write_text(
        '[tool.deploykit]\napp = "shop"\n[tool.deploykit.database]\nurl = "env:DATABASE_URL"\ndriver ='
        ' "postgresql+psycopg"\nmigrations = "migrations"\n'
    )
    tree.env(
        "from models import metadata\n"
        + tree.migrations.joinpath("env.py")
        .read_text()
        .replace("transaction_per_migration=True", "transaction_per_migration=True, target_metadata=metadata")
    )
    write(
        tree,
        "a",
        None,
        "op.create_table('items', sa.Column('id', sa.Integer, primary_key=True), sa.Column('name', sa.Text))",
        "op.drop_table('items')",
    )
    (tree.root / "test_nothing.py").write_text("def test_nothing():\n    assert True\n")
    return tree


def write(tree, revision, down, up, back, labels=None, depends=None) -> None:
    (tree.migrations / "versions" / f"{revision}.py").write_text(
        f'"""about {revision}"""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision ='
        f" {revision!r}\ndown_revision = {down!r}\nbranch_labels = {labels!r}\ndepends_on = {depends!r}\n\n\ndef"
        f" upgrade():\n    {up}\n\n\ndef downgrade():\n    {back}\n"
    )


@pytest.fixture
def tested(repo, database):
    def run(*words: str, enabled: bool = True) -> subprocess.CompletedProcess[str]:
        more = ["--deploykit-migrations", "--deploykit-database", database] if enabled else []
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", *more, *words]
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "LANG"} or name.startswith("COVERAGE_")
        }
        return subprocess.run(argv, cwd=repo.root, env=kept, capture_output=True, text=True, timeout=100, check=False)

    return run


def git(root, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        cwd=root,
        check=True,
        capture_output=True,
    )


def test_nothing_happens_without_the_option(tested):
    done = tested(enabled=False)
    assert "1 passed" in done.stdout


def test_a_sound_repository_passes_and_says_what_it_left_out(tested):
    done = tested()
    assert done.returncode == 0, done.stdout
    assert "5 passed, 2 skipped" in done.stdout
    assert "say how the previous version is tested" in done.stdout
    assert "say how this version is tested" in done.stdout


def test_two_heads_fail(repo, tested):
    write(repo, "b", "a", "pass", "pass")
    write(repo, "c", "a", "pass", "pass")
    done = tested()
    assert "no label: b, c" in done.stdout
    assert "FAILED" in done.stdout or "failed" in done.stdout


def test_models_that_say_more_fail(repo, tested):
    (repo.root / "models.py").write_text(
        MODELS.replace('"name", sa.Text', '"name", sa.Text), sa.Column("more", sa.Integer')
    )
    done = tested("-k", "models")
    assert "the models and the revisions differ" in done.stdout
    assert "op.add_column('items', sa.Column('more'" in done.stdout
    assert done.returncode == 1


def test_a_downgrade_that_forgets_something_fails(repo, tested):
    write(
        repo,
        "b",
        "a",
        "op.execute('CREATE SEQUENCE IF NOT EXISTS left_over')\n    op.create_table('u' if not"
        " op.get_bind().exec_driver_sql(\"SELECT to_regclass('seen')\").scalar() else 'w', sa.Column('id',"
        " sa.Integer))\n    op.execute('CREATE TABLE IF NOT EXISTS seen ()')",
        "op.execute('DROP TABLE IF EXISTS u')\n    op.execute('DROP TABLE IF EXISTS w')",
    )
    done = tested("-k", "round-trip")
    assert "up, down and up again do not make the same" in done.stdout
    assert done.returncode == 1


def test_a_downgrade_that_is_not_there_is_said(repo, tested):
    write(repo, "b", "a", "pass", "raise NotImplementedError('restore the backup')")
    done = tested("-k", "round-trip")
    assert "there is no way down: restore the backup" in done.stdout
    assert done.returncode == 0


def test_an_operation_in_the_wrong_phase_fails(repo, tested):
    write(repo, "b", "a", "op.expand_rename_column('items', 'name', 'title', change='c')", "op.undo('c')")
    write(repo, "k", "b", "op.contract('c')", "op.reopen('c')")
    done = tested("-k", "phases")
    assert "op.contract is outside the branch contract" in done.stdout
    assert done.returncode == 1


def test_the_previous_version_is_tried_on_the_present_schema(repo, tested):
    (repo.root / "check.py").write_text(
        "import os, psycopg\n"
        "url = os.environ['DATABASE_URL'].replace('postgresql+psycopg', 'postgresql')\n"
        "psycopg.connect(url, autocommit=True).execute(\"INSERT INTO items (name) VALUES ('x')\")\n"
    )
    git(repo.root, "init", "-q")
    git(repo.root, "add", "-A")
    git(repo.root, "commit", "-qm", "one")
    git(repo.root, "tag", "v1.0.0")
    write(repo, "b", "a", "op.expand_rename_column('items', 'name', 'title', change='c')", "op.undo('c')")
    write(repo, "k", None, "op.contract('c')", "op.reopen('c')", labels=("contract",), depends="b")
    previous = ["--deploykit-previous", f"{sys.executable} check.py", "-k", "previous"]
    assert tested(*previous).returncode == 0
    write(repo, "b", "a", "op.alter_column('items', 'name', new_column_name='title')", "pass")
    (repo.migrations / "versions" / "k.py").unlink()
    done = tested(*previous)
    assert done.returncode == 1
    assert "v1.0.0 does not work on the present schema" in done.stdout


def test_this_version_is_tried_while_the_old_shape_is_still_there(repo, tested):
    """A version that counts on the old column's being gone works only after its contract, which comes days later."""
    write(repo, "b", "a", "op.expand_rename_column('items', 'name', 'title', change='c')", "op.undo('c')")
    write(repo, "k", None, "op.contract('c')", "op.reopen('c')", labels=("contract",), depends="b")
    asked = (
        "import os, psycopg\nconnection = psycopg.connect(os.environ['DATABASE_URL'].replace('postgresql+psycopg',"
        " 'postgresql'), autocommit=True)\nconnection.execute(\"INSERT INTO items (title) VALUES ('x')\")\n(row,) ="
        " connection.execute('SELECT * FROM items').fetchall()\n"
    )
    (repo.root / "check.py").write_text(asked)
    present = ["--deploykit-present", f"{sys.executable} check.py", "-k", "present"]
    done = tested(*present)
    assert done.returncode == 0, done.stdout
    (repo.root / "check.py").write_text(f"{asked}id, title = row\n")
    done = tested(*present)
    assert done.returncode == 1
    assert "this version does not work while the old shape is still there" in done.stdout
    assert "too many values to unpack" in done.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("no-such-program", "'no-such-program' can't be started: No such file or directory"),
        ("pytest 'tests", "can't be read: No closing quotation"),
        (" ", "the command that was given is empty"),
        ("./models.py", "can't be started: Permission denied"),
    ],
)
def test_a_command_that_is_none_is_told_in_a_sentence(tested, command, sentence):
    done = tested("--deploykit-present", command, "-k", "present")
    assert (done.returncode, sentence in done.stdout, "Traceback" in done.stdout) == (1, True, False), done.stdout


def test_an_option_that_would_do_nothing_is_refused(tested):
    done = tested("--deploykit-present", "pytest tests", enabled=False)
    said = "--deploykit-present does nothing without --deploykit-migrations: give both"
    assert (done.returncode, said in done.stdout + done.stderr) == (4, True)


def test_the_options_may_stand_in_addopts(repo, tested):
    command = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    (repo.root / "pytest.ini").write_text(
        f"[pytest]\naddopts = --deploykit-migrations --deploykit-present '{command}'\n"
    )
    done = tested("-k", "present")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout


def test_a_repository_without_migrations_is_told_where_to_say_them(repo, tested):
    (repo.root / "pyproject.toml").write_text('[tool.deploykit]\napp = "shop"\n')
    import shutil

    shutil.rmtree(repo.migrations)
    done = tested()
    assert done.returncode == 4
    assert "there are no migrations: say where they are" in done.stdout + done.stderr
