"""The kit's engine beside the real detect-secrets: the same findings, and one baseline for both."""

from __future__ import annotations

import base64
import importlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from deploykit.gates.files import list_files
from deploykit.gates.secretscan.baseline import Baseline, parse_baseline, read_baseline, refreshed
from deploykit.gates.secretscan.rules import default_rules
from deploykit.gates.secretscan.scan import scan_files
from deploykit.gates.tools import managed_tool
from deploykit.model import Outcome

REPOSITORY = Path(__file__).parents[3]
KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
HEX = "3f9a1c7e5b2d8064f1e9a7c3b5d20846"
RUN = "kQ7mZx2LtWvBs9JdNfGhRuEaOi5KtZwXyB2v4M0Q"

ODD = {
    "pragma.py": (
        f'a = "{KEY}"  # pragma: allowlist secret\n# pragma: allowlist nextline secret\nb = "{KEY}"\nc = "{KEY}"\n'
    ),
    "eager_pragma.txt": f"{KEY}  # pragma: allowlist secret\n",
    "twice.py": f'x = "{KEY}"\npassword = "{KEY}"\ny = "{KEY}"\n',
    "windows.ini": f"[a]\r\npassword = larch\r\nname = {HEX}\r\n; x\r\nmany =\r\n  one\r\n  {HEX[::-1]}\r\n",
    "sections.cfg": f'[a]\nx = "{HEX}"\nx2 : {RUN}\n[b]\n# pragma: allowlist nextline secret\ny = {HEX}\nz = {HEX}\n',
    "defaults.ini": f"[DEFAULT]\nbase = {HEX}\n[a]\npassword = %(base)s\nother = %%{RUN}\n",
    "double.ini": f"[a]\nx = {HEX}\nx = {HEX}\n",
    "interpolated.ini": f"[a]\npassword = %(nowhere)s\ny = {HEX}\n",
    "header_later.ini": f"x = {HEX}\n[a]\n",
    "empty_value.ini": "[a]\npassword =\nsecret = \n  larch\n",
    "plain": f"name = {HEX}\nother: {RUN}\n",
    "plain_with_hit": f'name = {HEX}\nkey = "{KEY}"\n',
    "list.json": f'["{RUN}",\n"{HEX}"]\n',
    "a.yaml": (
        f"a: {HEX}  # comment\nb: &x {RUN}\nc: *x\npassword: |\n  larch\n  tree\nd: {{e: {HEX[::-1]}, f:"
        f" '{RUN[::-1]}'}}\n"
    ),
    "flow.yml": f"a:\n  - {{name: {HEX},\n     password: larch}}\n  - [{RUN}, x]\n",
    "binary.yaml": f"a: !!binary {base64.b64encode(bytes(range(3, 130, 3))).decode()}\n",
    "escaped.yaml": f'a: "\\x{ord(KEY[0]):02x}{KEY[1:]}"\n"pass\\u0077ord": larch\nq: say "{RUN}" twice\n',
    "two_documents.yaml": f"a: {HEX}\n---\nb: '{HEX}'\n",
    "tagged.yaml": f"a: !Ref {HEX}\nb: '{HEX}'\n",
    "number.yaml": f"1: {HEX}\n? x\n: {RUN}\nnull: {HEX}\n",
    "broken.yaml": f"a: [{HEX}\nb: '{HEX}'\n",
    "pragma.yaml": f"a: {HEX}  # pragma: allowlist secret\nb: '{RUN}'  // pragma: allowlist secret\n",
    "pragma.yml": f"a: {HEX}  # pragma: allowlist secret\nb: '{RUN}'  # whitelist\n",
    "folded.py": 'pa\u017f\u017fword = "larch"\napi_\u212aey = "birch"\nΐ\u0130 secret = "elm-tree"\n',
    "feeds.py": f'a = "x"\x0cpassword = "larch"\x0b\x85"{HEX}"\u2028\n',
    "long.py": 'password = "larch"' + " " * 1500 + "f(x)\n" + 'password = x("larch")\n',
    "zero.txt": f'\0 "{KEY}"\n',
    "bom.py": f'\ufeffpassword = "{KEY}"\n',
    "no_end.py": f'"{KEY}"',
    "ids.py": f'user_id = "{HEX}"\nid: "{RUN}"\nids = ["{HEX}"]\n',
    "api.swagger.json": f'"{KEY}"\n',
    "Pipfile.lock": f'"{KEY}"\n',
    "package-lock.json": f'"{KEY}"\n',
    "style.css": f'"{KEY}"\n',
    "a.go": 'secret := "larch"\npassword := larch\n',
    "a.cpp": 'std::string secret("larch");\nsecret.assign("birch",17);\n',
    "a.c": 'char password[25] = "larch";\nsecret = @"birch";\n',
    "a.php": "<?php $password = 'larch'; define('SECRET', 'birch');\n",
    "a.example": "password=larch\n",
    "a.tf": 'password = "larch"\n',
}


@pytest.fixture(scope="module")
def python(gate_environment):
    return managed_tool("detect-secrets", environment=gate_environment) / "bin" / "python"


@pytest.fixture(scope="module")
def bench():
    """The module of the benchmark: it runs detect-secrets, and compares."""
    sys.path.insert(0, str(REPOSITORY))
    try:
        return importlib.import_module("benchmarks.secrets")
    finally:
        sys.path.remove(str(REPOSITORY))


@pytest.fixture(scope="module")
def compared(bench, python):
    def compare(root, names):
        theirs = bench.detect_secrets_says(root, names, processes=2, python=python)
        return bench.differences(root, names, theirs)

    return compare


def test_the_findings_in_odd_files_are_the_same(tmp_path, bench, python):
    for name, text in ODD.items():
        (tmp_path / name).write_bytes(text.encode())
    theirs = bench.detect_secrets_says(tmp_path, sorted(ODD), processes=2, python=python)
    assert bench.differences(tmp_path, sorted(ODD), theirs) == []
    assert len(theirs["secrets"]) > 20
    assert theirs["crashed"] == []


def test_the_findings_in_the_corpus_are_the_same(tmp_path, bench, compared):
    names = [file.path for file in bench.load_corpus().lay_out(tmp_path)]
    assert compared(tmp_path, names) == []


@pytest.mark.every_case
def test_the_findings_in_this_repository_are_the_same(compared):
    names = [name for name in list_files(REPOSITORY).files if not name.endswith(".lock")]
    assert compared(REPOSITORY, names) == []


def test_the_findings_in_other_peoples_code_are_the_same(compared):
    library = Path(sysconfig.get_path("stdlib"))
    names = [path.relative_to(library).as_posix() for path in sorted(library.glob("*.py"))[::4]]
    names += [path.relative_to(library).as_posix() for path in sorted((library / "email").glob("*.py"))]
    assert compared(library, names) == []


def test_a_file_that_detect_secrets_crashes_on_is_looked_at(tmp_path, bench, python):
    (tmp_path / "a.yaml").write_text(f"a: 2023-99-99\nb: '{HEX}'\n")
    assert bench.detect_secrets_says(tmp_path, ["a.yaml"], processes=1, python=python)["crashed"] == ["a.yaml"]
    assert scan_files(tmp_path, ["a.yaml"], default_rules()).secrets


@pytest.fixture
def leaky(shop):
    shop.write(
        {
            "shop/keys.py": f'aws_key = "{KEY}"\n\npassword = "larch-tree"\n',
            ".netrc": "machine a login b password larch\n",
        }
    )
    shop.commit()
    return shop


def ours(root):
    names = [name for name in list_files(root).files if name != ".secrets.baseline"]
    return scan_files(root, names, Baseline().rules()).secrets


def test_what_detect_secrets_writes_is_read(leaky, plain_detect_secrets):
    made = plain_detect_secrets(leaky.root, "main", "scan", "--no-verify")
    baseline = parse_baseline(made.stdout)
    assert {key[:2] for key in baseline.entries} == {
        ("shop/keys.py", "AWS Access Key"),
        ("shop/keys.py", "Secret Keyword"),
    }
    assert baseline.entries.keys() < refreshed(Baseline(), ours(leaky.root)).entries.keys()
    assert baseline.rules().keywords


def test_what_the_kit_writes_is_read_by_detect_secrets(leaky, plain_detect_secrets):
    (leaky.root / ".secrets.baseline").write_text(refreshed(Baseline(), ours(leaky.root)).render())
    leaky.commit()
    accepted = plain_detect_secrets(
        leaky.root, "pre_commit_hook", "--no-verify", "--baseline", ".secrets.baseline", "tests/test_price.py"
    )
    assert (accepted.returncode, accepted.stdout) == (0, "")
    plain = refreshed(Baseline(), {"shop/keys.py": ours(leaky.root)["shop/keys.py"]})
    (leaky.root / ".secrets.baseline").write_text(plain.render())
    leaky.commit()
    leaky.write({"shop/keys.py": "\n\n" + (leaky.root / "shop/keys.py").read_text()})
    moved = plain_detect_secrets(
        leaky.root, "pre_commit_hook", "--no-verify", "--baseline", ".secrets.baseline", "shop/keys.py"
    )
    assert (moved.returncode, moved.stdout) == (0, "")
    assert (leaky.root / ".secrets.baseline").read_text() == plain.render()
    leaky.write({"shop/keys.py": f'aws_key = "{KEY[:-1]}S"\n'})
    refused = plain_detect_secrets(
        leaky.root, "pre_commit_hook", "--no-verify", "--baseline", ".secrets.baseline", "shop/keys.py"
    )
    assert refused.returncode == 1


def test_a_rewrite_by_detect_secrets_is_normalised_back_with_every_label(leaky, plain_detect_secrets, gate_environment):
    path = leaky.root / ".secrets.baseline"
    baseline = refreshed(Baseline(), ours(leaky.root))
    for key in baseline.entries:
        baseline = baseline.with_label(key, is_secret=False)
    path.write_text(baseline.render())
    leaky.commit()
    rewritten = plain_detect_secrets(leaky.root, "main", "scan", "--no-verify", "--baseline", ".secrets.baseline")
    assert rewritten.returncode == 0, rewritten.stderr
    assert "generated_at" in path.read_text()
    # Its own rules' labels are kept by detect-secrets; those of rules that it does not know are findings until then.
    assert {f.path for f in leaky.gate("secrets").findings} == {".netrc"}
    done = subprocess.run(
        ["deploykit", "secrets.baseline"],
        cwd=leaky.root,
        env=_on_path(gate_environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read_baseline(path).entries == baseline.entries
    assert leaky.gate("secrets").outcome is Outcome.PASSED
    again = path.read_text()
    subprocess.run(
        ["deploykit", "secrets.baseline"],
        cwd=leaky.root,
        env=_on_path(gate_environment),
        check=True,
        capture_output=True,
    )
    assert path.read_text() == again
    assert "generated_at" not in again


def _on_path(environment):
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}


def test_the_table_in_the_docs_is_what_is_measured(bench, python):
    page = (REPOSITORY / "docs" / "secrets.md").read_text()
    for line in bench.corpus_table(python=python):
        assert line in page


def test_the_json_of_the_task_is_one_object(leaky, gate_environment):
    done = subprocess.run(
        ["deploykit", "secrets.baseline", "--json"],
        cwd=leaky.root,
        env=_on_path(gate_environment),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["unlabelled"] == 3
