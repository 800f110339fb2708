"""Each rule on real revisions: rendered by Alembic, read by PostgreSQL's grammar."""

from __future__ import annotations

import importlib.util
import os
import textwrap
from pathlib import Path

import pytest

from deploykit.gates.tools import managed_tool
from deploykit.schema.in_app.rendering import render_migrations
from deploykit.schema.lint.linter import Options, lint
from deploykit.schema.lint.parser import read_texts
from deploykit.schema.lint.rendered import parse_rendering
from deploykit.schema.lint.rules import RULES

_SPEC = importlib.util.spec_from_file_location("lint_examples", Path(__file__).with_name("lint_examples.py"))
lint_examples = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["lint_examples"] = lint_examples
_SPEC.loader.exec_module(lint_examples)
EXAMPLES = lint_examples.EXAMPLES

ELSEWHERE = {
    "multiple-heads",
    "edited-revision",
    "model-drift",
    "phase-forbidden",
    "ban-uncommitted-transaction",
    "unread-statement",
}
"""About more than revisions of one tree: test_lint_gate.py has their examples."""

REVISION = '''"""about {revision}"""
from alembic import op
import sqlalchemy as sa
{head}
revision = {revision!r}
down_revision = {down!r}


def upgrade():
{body}


def downgrade():
{back}
'''


def write(folder, revision, down, body, *, back="raise NotImplementedError", head=""):
    def indent(text):
        return textwrap.indent(text.strip(), "    ")

    text = REVISION.format(revision=revision, down=down, body=indent(body), back=indent(back), head=head)
    (folder / "versions" / f"{revision}.py").write_text(text)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What the lint says of each example, all of them read in one go."""
    import json

    reader = managed_tool("pglast", environment=os.environ) / "bin" / "python"
    root, rendered, before = tmp_path_factory.mktemp("lint"), {}, Path.cwd()
    os.chdir(root)
    try:
        for number, example in enumerate(EXAMPLES):
            folder = root / str(number)
            (folder / "versions").mkdir(parents=True)
            (folder / "env.py").touch()
            write(folder, "a", None, lint_examples.BEFORE)
            write(folder, "b", "a", example.between or "pass")
            write(folder, "c", "b", example.body, back=example.down, head=example.head)
            answer = render_migrations(str(number), "NO_SUCH_VARIABLE")
            rendered[example] = parse_rendering(f"@deploykit {json.dumps(answer)}")
    finally:
        os.chdir(before)
    known = {}

    def remember(texts, _python):
        known.update(dict.fromkeys(texts))
        return [], ""

    def recall(texts, _python):
        return [known[text] for text in texts], "18"

    def judge(example, read):
        since = ("b",) if example.rule != "lock-order" else ("a",)
        options = Options(
            root=str(root), reader="", since=since, server_version=example.version, enable=tuple(RULES)
        )  # fmt: skip
        return lint(options, render=lambda _: rendered[example], read=read)

    for item in rendered.values():
        for revision in item.revisions:
            known.update(dict.fromkeys(step.sql for step in (*revision.upgrade.steps, *revision.downgrade.steps)))
    read, _ = read_texts(list(known), reader)
    known = dict(zip(known, read, strict=True))
    return {example: judge(example, recall) for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.rule}-{'finds' if one.finds else 'lets'}")
def test_each_rule_finds_what_it_is_for_and_lets_the_safe_way_pass(reports, example):
    report = reports[example]
    assert report.unknown == ()
    found = [item for item in report.found if item.rule == example.rule]
    assert bool(found) is example.finds, (example.body, [(item.rule, item.message) for item in report.found])
    for item in found:
        assert item.path.endswith("/c.py")
        assert "$" not in item.rewrite.replace("$$", "")


def test_each_rule_has_an_example_that_it_finds_and_one_that_it_lets_pass():
    for finds in (True, False):
        assert {example.rule for example in EXAMPLES if example.finds is finds} | ELSEWHERE == set(RULES)


def test_a_finding_names_the_line_that_asked_for_it(reports):
    example = next(one for one in EXAMPLES if one.rule == "backfill-with-schema-change" and one.finds)
    lines = {item.rule: item.line for item in reports[example].found}
    assert lines["require-lock-timeout"] == 10
    assert lines["backfill-with-schema-change"] == 11


def test_each_rule_says_why_and_shows_the_safe_way_as_code():
    for rule in RULES.values():
        assert rule.why, rule.id
        assert rule.rewrite, rule.id
        assert bool(rule.lock) is bool(rule.how_long), rule.id
