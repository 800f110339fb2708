"""The sast gate beside plain bandit, on packages that are installed here and on snippets for each rule."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploykit.gates.tools import managed_tool
from deploykit.model import Outcome, Severity

PACKAGES = ("mako", "alembic", "starlette", "virtualenv", "jinja2", "uvicorn")

SNIPPETS = {
    "shell.py": """\
import subprocess, os
subprocess.run(
    "ls " + input(),
    check=True,
    shell=True,
)
launch(
    "x",
    shell=True,
)
os.system(
    "rm " + input()
)
os.chmod("/etc/x", 0o777)
sftp.chmod("/etc/x", 0o777)
""",
    "web.py": """\
import flask, jinja2, requests
from django.utils.safestring import mark_safe, SafeString
from markupsafe import Markup
from mako.template import Template
app = flask.Flask("x")
server = app
server.run(debug=True)
jinja = __import__("jinja2")
env = jinja2.Environment(loader=None)
mark_safe("<b>")
SafeString(input())
Markup(input())
Template(input())
requests.get("https://example.org", verify=False)
""",
    "imports.py": """\
import xmlrpc.client as client
from xmlrpc.client import Binary
import telnetlib, ftplib, pickle
from xml.etree.ElementTree import parse
import Crypto.Cipher
ftplib.FTP("x")
pickle.loads(b"")
parse("x")
""",
    "sql.py": """\
def f(table, cursor, x):
    cursor.execute("SELECT a FROM %s" % table)
    cursor.execute(
        "SELECT a "
        "FROM {}".format(table)
    )
    b = "ON CONFLICT DO UPDATE SET %s" % x
    c = "insert into t(x) values(%d)" % x
    d = (
        f"delete from {table} "
        "where x = 1"
    )
    e = "SELECT a" + " FROM " + table
    return b, c, d, e
""",
    "rest.py": """\
import hashlib, tarfile, tempfile, yaml, ssl, marshal, random
from OpenSSL import SSL
from urllib.request import urlopen
import paramiko, torch
from transformers import AutoModel
urlopen("https://example.org")
hashlib.md5(b"")
tarfile.open("x").extractall("y")
tempfile.mkdtemp(dir="/tmp")
open(f"/tmp/{x}")
yaml.load("x", Loader=yaml.BaseLoader)
SSL.Context(method=SSL.SSLv23_METHOD)
make(
    method=SSL.SSLv3_METHOD,
)
marshal.loads(b"")
client.exec_command("ls")
client.set_missing_host_key_policy(paramiko.AutoAddPolicy)
torch.load("x")
AutoModel.from_pretrained("x/y")
random.sample([1], 1)
bind("0.0.0.0")
def run(eval, exec):
    eval("1")
    exec("1")
def connect(version=ssl.PROTOCOL_SSLv3):
    pass
""",
    "bidi.py": "# \u202e reversed\nX = 1\n",
    "latin.py": b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\nexec(NAME)\n",
}


def by_bandit(shop, *more: str) -> list[dict]:
    bandit = managed_tool("bandit", environment=shop.environment) / "bin" / "bandit"
    answer = subprocess.run(
        [bandit, "-q", "-f", "json", "-r", "shop", *more], cwd=shop.root, capture_output=True, text=True, check=False
    )
    return json.loads(answer.stdout)["results"]


def places(verdict) -> set[tuple[str, int]]:
    return {(finding.path, finding.line) for finding in verdict.findings}


def test_each_line_that_bandit_flags_in_a_snippet_for_each_rule_is_found_with_its_severity(shop):
    shop.write({f"shop/{name}": text for name, text in SNIPPETS.items()})
    verdict = shop.gate("sast")
    expected = [item for item in by_bandit(shop) if item["issue_severity"] != "LOW"]
    rules = {item["test_id"] for item in expected}
    assert len(rules) > 30, sorted(rules)
    found = {(f.path, f.line, f.rule): f.severity for f in verdict.findings}
    names = {"MEDIUM": Severity.MODERATE, "HIGH": Severity.HIGH}
    wanted = {(i["filename"], i["line_number"], i["test_id"]): names[i["issue_severity"]] for i in expected}
    assert {key: found.get(key) for key in wanted} == wanted
    assert not any("latin.py" in note for note in verdict.evidence.notes)


def test_what_bandit_flags_in_installed_packages_is_found(shop):
    for name in PACKAGES:
        folder = Path(importlib.util.find_spec(name).origin).parent
        shutil.copytree(folder, shop.root / "shop" / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.FINDINGS, verdict
    noted = {f"{path}:{line}" for path, line in _noqa_lines(shop.root)}
    results = [item for item in by_bandit(shop) if f"{item['filename']}:{item['line_number']}" not in noted]
    for low, share in ((False, 0.99), (True, 0.9)):
        wanted = {(i["filename"], i["line_number"]) for i in results if (i["issue_severity"] == "LOW") is low}
        missed = sorted(wanted - places(verdict))
        assert len(wanted) > 5
        assert len(missed) <= (1 - share) * len(wanted), missed


def _noqa_lines(root: Path):
    for path in (root / "shop").rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if "noqa" in line:
                yield path.relative_to(root).as_posix(), number


CALL = "import subprocess\n\nsubprocess.call({}\n    input(),\n    shell=True,\n){}\n"


@pytest.mark.parametrize(
    ("inside", "behind", "hidden"),
    [
        ("", "", False),
        ("  # nosec", "", True),
        ("  # nosec B602", "", True),
        ("", "  # nosec B602 - the command is ours", True),
        ("", "  # nosec B603", False),
        ("  # noqa: S602", "", True),
        ("  # noqa: S603", "", False),
        ('  # " nosec in words only: nanoseconds', "", False),
    ],
)
def test_nosec_and_noqa_hide_what_they_name(shop, inside, behind, hidden):
    shop.write({"shop/bad.py": CALL.format(inside, behind)})
    verdict = shop.gate("sast")
    assert ("B602" in {finding.rule for finding in verdict.findings}) is not hidden, verdict


def test_a_nosec_hides_what_only_ruff_looked_for(shop):
    shop.write({"shop/bad.py": "def f(x: int) -> None:\n    assert x  # nosec\n    assert x > 1\n"})
    verdict = shop.gate("sast")
    assert places(verdict) == {("shop/bad.py", 3)}
    assert "findings hidden by nosec: 1" in verdict.evidence.notes


def test_asserts_of_tests_are_no_noise(shop):
    shop.write({"shop/test_shop.py": "assert 1\n", "shop/real.py": "assert 1\n"})
    assert places(shop.gate("sast")) == {("shop/real.py", 1)}


BAD = "import marshal\n\nmarshal.loads(b'')\nexec('1')\nopen('/scratch/x')\n"


@pytest.mark.parametrize(
    ("files", "rules"),
    [
        ({}, {"B302", "B102"}),
        ({"bandit.yaml": "skips: [B302]\n"}, {"B102"}),
        ({".bandit": "[bandit]\ntests = B302\n"}, {"B302"}),
        ({"bandit.yml": "tests:\n  - B102\n"}, {"B102"}),
        ({"bandit.yaml": "hardcoded_tmp_directory:\n  tmp_dirs: ['/scratch']\n"}, {"B302", "B102", "B108"}),
    ],
)
def test_bandits_configuration_chooses_the_rules_of_both_tools(shop, files, rules):
    shop.write({"shop/bad.py": BAD, **files})
    verdict = shop.gate("sast")
    assert {finding.rule for finding in verdict.findings} == rules, verdict


def test_folders_that_bandits_configuration_leaves_out_are_counted(shop):
    shop.write({"shop/old/bad.py": BAD, "bandit.yaml": "exclude_dirs: [shop/old]\n"})
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.PASSED
    assert "files left out by bandit's own configuration: 1" in verdict.evidence.notes


@pytest.mark.parametrize("text", ["skips: [B999]\n", "skips: [B101\n", "- a list\n"])
def test_a_configuration_that_can_not_be_understood_is_refused_aloud(shop, text):
    shop.write({"bandit.yaml": text})
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.USAGE
    assert "bandit.yaml" in verdict.reason


def test_settings_of_ruff_can_not_hide_a_finding(shop):
    shop.write(
        {
            "shop/build/bad.py": "exec(input())\n",
            "ruff.toml": "exclude = ['shop']\n[lint.per-file-ignores]\n'*' = ['S']\n",
        }
    )
    shop.commit()
    assert ("shop/build/bad.py", 1) in places(shop.gate("sast"))


def test_a_file_that_neither_can_read_is_inconclusive(shop):
    shop.write({"shop/bad.py": b"NAME = '\xe9'\n"})
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any(note.startswith("shop/bad.py: ") for note in verdict.evidence.notes)


def test_odd_names_are_looked_at(shop):
    shop.write({"shop/@a.py": "exec('1')\n", "shop/a\nb.py": "exec('1')\n", "shop/ü b.py": "exec('1')\n"})
    assert {path for path, _ in places(shop.gate("sast"))} == {"shop/@a.py", "shop/a\nb.py", "shop/ü b.py"}
