"""`deploykit gate` as it is typed: reports where they are wanted, annotations that leave standard output alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "deploykit"


@pytest.fixture
def typed(shop):
    shop.write({"shop/bad.py": "import subprocess\n\nsubprocess.call(input(), shell=True)\n"})

    def run(*words, **environment):
        return subprocess.run(
            [PROGRAM, "gate", *words, "--path", shop.root],
            cwd=shop.root.parent,
            env=shop.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    return run


def test_several_reports_can_be_asked_for(typed, tmp_path):
    wishes = ("--report", f"sarif={tmp_path}/a.sarif", "--report", f"junit={tmp_path}/b.xml")
    assert typed("sast", *wishes).returncode == 1
    assert json.loads((tmp_path / "a.sarif").read_text())["runs"][0]["results"]
    assert "<failure" in (tmp_path / "b.xml").read_text()


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_behind_the_task_is_help_though_the_task_takes_a_name(word, tmp_path):
    answer = subprocess.run(
        [PROGRAM, "gate", word], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "--path" in answer.stdout
    assert "Run one gate on a tree" in answer.stdout


def test_a_report_that_nobody_knows_is_refused_before_the_work(typed, shop):
    answer = typed("sast", "--report", "html=x")
    assert answer.returncode == 3
    assert "formats: json, sarif, junit, gitlab" in answer.stderr
    assert not (shop.root / ".deploykit").exists()


def test_annotations_leave_the_json_alone(typed):
    answer = typed("sast", "--json", GITHUB_ACTIONS="true")
    assert json.loads(answer.stdout)["outcome"] == "findings"
    assert "::error file=shop/bad.py,line=3,title=sast B602::" in answer.stderr
