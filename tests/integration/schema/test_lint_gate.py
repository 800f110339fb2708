"""The gate `migrations` as it is asked: real programs, a real tree, nothing in between."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from deploykit.gates.interface import GateContext
from deploykit.gates.migrations import Allowed, MigrationsGate
from deploykit.gates.run import judge
from deploykit.gates.tools import managed_tool
from deploykit.model import Outcome

TABLE = (
    'op.create_table("orders", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("a",'
    " sa.Text))"
)
DROP = 'op.drop_column("orders", "a")'


class Toolbox:
    """The real tools, and this environment in place of the application's."""

    def tool(self, name):
        return [str(managed_tool("squawk-cli", environment=os.environ) / "bin" / name)]

    def tool_python(self, name):
        return managed_tool(name, environment=os.environ) / "bin" / "python"

    def python(self):
        raise AssertionError

    def application_python(self):
        return sys.executable


@pytest.fixture
def ask(tree):
    def run(*arguments, environment=None, **fields):
        context = GateContext(
            root=tree.root,
            toolbox=Toolbox(),
            environment={**os.environ, **(environment or {})},
            clock=lambda: 0.0,
            arguments=arguments,
        )
        gate = MigrationsGate(**{"migrations": "migrations", **fields})
        return judge("migrations", lambda: gate.run(context), tree=lambda: "")

    return run


def rules(verdict):
    return [finding.rule for finding in verdict.findings]


def git(*words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


def test_revisions_that_harm_nobody_pass_with_evidence(tree, ask):
    tree("a", None, TABLE)("b", "a", 'op.add_column("orders", sa.Column("b", sa.Text))')
    verdict = ask()
    assert verdict.outcome is Outcome.PASSED, verdict
    assert (verdict.evidence.looked_at, verdict.evidence.unit) == (2, "revisions")
    assert any("PostgreSQL 14 is assumed" in note for note in verdict.evidence.notes)


def test_a_finding_has_its_place_the_lock_and_the_safe_way(tree, ask):
    tree("a", None, TABLE)("b", "a", DROP)
    verdict = ask()
    assert verdict.outcome is Outcome.FINDINGS
    (finding,) = verdict.findings
    assert (finding.rule, finding.path, finding.line) == ("ban-drop-column", "migrations/versions/b.py", 12)
    assert "AccessExclusiveLock" in finding.message
    assert 'op.drop_column("orders", "a")' in finding.fix


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("op.get_bind().execute(sa.text('select 1')).scalar()", "reads from the database"),
        ("raise ValueError('no')", "can't be run without a database: ValueError: no"),
        ("op.execute('ALTER TABEL orders')", "grammar refuses"),
    ],
)
def test_a_revision_that_cannot_be_read_is_never_green(tree, ask, body, words):
    verdict = ask() if tree("a", None, body) else None
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any(words in note for note in verdict.evidence.notes)


def test_no_migrations_and_a_broken_script_are_never_green(tree, ask):
    assert ask(migrations="").outcome is Outcome.INCONCLUSIVE
    assert "no revision" in ask().reason
    tree("a", None, head="import nothing_of_that_name")
    broken = ask()
    assert broken.outcome is Outcome.INCONCLUSIVE
    assert "nothing_of_that_name" in broken.reason
    assert ask(driver="mysql+pymysql").outcome is Outcome.INCONCLUSIVE


MYSQL = (
    'op.create_table("orders", sa.Column("id", mysql.BIGINT(unsigned=True), primary_key=True), sa.Column("a",'
    ' mysql.TINYINT(1)), sa.Column("kind", mysql.ENUM("x", "y")), mysql_engine="InnoDB")'
)


@pytest.mark.parametrize("driver", ["mysql+pymysql", "mariadb+mariadbconnector"])
def test_on_another_database_the_rules_count_that_hold_on_any(tree, ask, driver):
    tree("a", None, MYSQL, head="from sqlalchemy.dialects import mysql")
    tree(
        "b",
        "a",
        'op.add_column("orders", sa.Column("n", sa.Integer, nullable=False))\nop.create_index("ix", "orders", ["a"])',
    )
    tree("c", "b", 'op.execute("UPDATE `orders` SET `a` = 1 -- of `all`")')
    tree("d", "c", DROP)
    verdict = ask(driver=driver, squawk=True, ask=True)
    assert verdict.outcome is Outcome.FINDINGS
    # No word of the index: that it needs CONCURRENTLY is PostgreSQL's.
    assert rules(verdict) == ["adding-required-field", "unbatched-data-change", "ban-drop-column"]
    assert not any("Lock" in finding.message for finding in verdict.findings)
    assert "ORDER BY id LIMIT 1000" in str(verdict.findings[1])
    assert "IN (SELECT" not in str(verdict.findings[1])
    assert any("rules that hold on any database" in note for note in verdict.evidence.notes)
    assert not any(note.startswith("PostgreSQL") for note in verdict.evidence.notes)


def test_a_statement_of_another_database_that_nobody_can_read_is_a_finding_until_it_is_acknowledged(tree, ask):
    body = 'op.execute("ALTER TABLE orders MODIFY a INT AFTER id")'
    tree("a", None, TABLE)("b", "a", body)
    verdict = ask(driver="mysql+pymysql")
    assert rules(verdict) == ["unread-statement"]
    assert "ALTER TABLE orders MODIFY" in verdict.findings[0].message
    tree("b", "a", f"# deploykit: allow unread-statement because it only moves a column of 40 rows\n{body}")
    assert ask(driver="mysql+pymysql").outcome is Outcome.PASSED
    # On PostgreSQL it is an error, and never green.
    assert ask().outcome is Outcome.INCONCLUSIVE


def test_findings_are_told_even_if_another_revision_cannot_be_read(tree, ask):
    tree("a", None, TABLE)("b", "a", DROP)("c", "b", "op.get_bind().execute(sa.text('select 1')).scalar()")
    verdict = ask()
    assert verdict.outcome is Outcome.FINDINGS
    assert "could not be read" in verdict.reason


def test_an_acknowledgement_with_a_reason_counts_and_one_without_is_refused(tree, ask):
    tree("a", None, TABLE)("b", "a", DROP, head="# deploykit: allow ban-drop-column because nobody ever wrote it")
    accepted = ask()
    assert accepted.outcome is Outcome.PASSED
    assert any("because nobody ever wrote it" in note for note in accepted.evidence.notes)
    tree("b", "a", DROP, head="# deploykit: allow ban-drop-column")
    assert sorted(rules(ask())) == ["acknowledgement-without-reason", "ban-drop-column"]
    tree("b", "a", DROP)
    allowed = Allowed(rule="ban-drop-column", reason="nobody ever wrote it", revision="b")
    assert ask(allow=(allowed,)).outcome is Outcome.PASSED
    assert ask(allow=(Allowed(rule="ban-drop-colum", reason="x"),)).outcome is Outcome.USAGE


def test_what_is_applied_everywhere_is_not_judged_and_a_range_is_one_change(tree, ask):
    tree("a", None, TABLE)("b", "a", DROP)("c", "b")
    assert ask(since=("b",)).outcome is Outcome.PASSED
    assert rules(ask("--revs", "a:b")) == ["ban-drop-column"]
    assert ask("--revs", ":b").outcome is Outcome.PASSED  # the table is new in it
    assert ask("--revs", "c:a").outcome is Outcome.INCONCLUSIVE
    assert ask("--revs", "nowhere:").outcome is Outcome.USAGE
    assert ask("--rev", "a").outcome is Outcome.USAGE


def test_two_heads_and_drift_of_the_models_are_findings(tree, ask):
    tree("a", None, TABLE)("b", "a")("c", "a")
    (tree.root / "shop.py").write_text(
        textwrap.dedent("""
        import sqlalchemy as sa
        metadata = sa.MetaData()
        sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
                 sa.Column("a", sa.Integer), sa.Column("b", sa.Text, nullable=False))
        sa.Table("lines", metadata, sa.Column("order_id", sa.ForeignKey("orders.id")))
        """)
    )
    verdict = ask(metadata="shop:metadata")
    assert rules(verdict).count("multiple-heads") == 1
    drifts = {finding.message.partition(";")[0] for finding in verdict.findings if finding.rule == "model-drift"}
    assert drifts == {
        "orders.a is declared integer, and made text",
        "orders.b is declared, and no revision makes it",
        "the application declares lines, and no revision makes it",
    }
    assert ask(metadata="shop:nothing").outcome is Outcome.INCONCLUSIVE


def test_declared_changes_are_judged_by_their_phase_and_their_tables_are_not_compared(tree, ask):
    tree("a", None, TABLE)
    tree("b", "a", 'op.expand_rename_column("orders", "a", "c", change="c")')
    (tree.root / "shop.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\n"
        'sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("c", sa.Text))\n'
    )
    verdict = ask(metadata="shop:metadata")
    assert verdict.outcome is Outcome.PASSED, verdict.findings
    assert any("not compared, since their changes are declared: orders" in note for note in verdict.evidence.notes)
    tree("k", "b", 'op.contract("c")')
    assert rules(ask()) == ["phase-forbidden"]
    tree("k", None, 'op.contract("c")\nop.expand_drop_column("orders", "c", change="d")', labels=("contract",))
    assert [(one.rule, one.line > 0) for one in ask().findings] == [("phase-forbidden", True)]


def test_a_revision_that_was_released_may_only_change_its_comments(tree, ask):
    tree("a", None, TABLE)("b", "a")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    git("tag", "v1.0.0")
    tree("a", None, TABLE, head="# deploykit: allow truncate because of nothing")
    assert ask().outcome is Outcome.PASSED
    tree("a", None, f'{TABLE}\nop.create_index("ix", "orders", ["a"])')
    assert rules(ask()) == ["edited-revision"]
    tree("a", None, TABLE)
    (tree.migrations / "versions" / "b.py").unlink()
    assert [(one.rule, one.path) for one in ask().findings] == [("edited-revision", "migrations/versions/b.py")]


def test_plain_sql_is_judged_by_the_same_rules_with_its_own_lines(tree, ask):
    (tree.root / "bad.sql").write_text("SET lock_timeout = '1s';\n-- why\nCREATE INDEX i ON t (a);\nBEGIN;\n")
    verdict = ask("--sql", "bad.sql")
    assert {(finding.rule, finding.line) for finding in verdict.findings} == {
        ("require-concurrent-index-creation", 3),
        ("require-statement-timeout", 3),
        ("ban-uncommitted-transaction", 4),
    }
    (tree.root / "good.sql").write_text("BEGIN; CREATE TABLE t (a text); CREATE INDEX i ON t (a); COMMIT;")
    assert ask("--sql", "good.sql").outcome is Outcome.PASSED
    assert ask("--sql", "none.sql").outcome is Outcome.USAGE


def test_squawk_is_asked_too_and_nothing_is_said_twice(tree, ask):
    tree("a", None, TABLE)
    tree("b", "a", 'op.create_index("ix", "orders", ["a"])\nop.execute("ALTER TABLE orders ADD COLUMN n integer[]")')
    alone, both = ask(), ask(squawk=True)
    assert rules(alone) == rules(both) == ["require-concurrent-index-creation"]
    assert any("1 findings that the kit has too" in note for note in both.evidence.notes)


def test_squawk_adds_what_only_it_finds(tree, ask):
    tree("a", None, TABLE)("b", "a", 'op.execute("REVOKE ALL ON orders FROM public")')
    assert ask().outcome is Outcome.PASSED
    assert rules(ask(squawk=True, enable=("squawk/ban-revoke",))) == ["squawk/ban-revoke"]


def test_squawk_obeys_no_configuration_above_the_folder_for_temporary_files(tree, ask, tmp_path):
    tree("a", None, TABLE)("b", "a", 'op.execute("REVOKE ALL ON orders FROM public")')
    (tmp_path / ".squawk.toml").write_text('excluded_paths = ["*.sql"]\n')
    (tmp_path / "temporary").mkdir()
    verdict = ask(squawk=True, enable=("squawk/ban-revoke",), environment={"TMPDIR": str(tmp_path / "temporary")})
    assert rules(verdict) == ["squawk/ban-revoke"]


def test_the_database_is_asked_for_its_version(tree, ask, database):
    tree("a", None, TABLE)
    url = database.replace("postgresql://", "postgresql+psycopg://")
    verdict = ask(ask=True, environment={"DATABASE_URL": url})
    assert any("as the database says" in note for note in verdict.evidence.notes)
    assert ask(ask=True, environment={"DATABASE_URL": ""}).outcome is Outcome.INCONCLUSIVE
