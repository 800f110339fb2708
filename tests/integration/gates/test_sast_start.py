"""A commit of plain files does not wait for bandit to be imported, and is answered as bandit would."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import deploykit.gates
from deploykit.gates.tools import managed_tool

DRIVER = Path(deploykit.gates.__file__).parent / "drivers" / "scan_code.py"


@pytest.fixture
def scan(gate_environment, tmp_path):
    """Ask the driver about these files; the answer, and whether bandit was imported for it."""
    python = managed_tool("bandit", environment=gate_environment) / "bin" / "python"

    def ask(files: dict[str, str], **more) -> tuple[dict, bool]:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        nothing = {"config": "", "exclude": [], "skips": [], "tests": [], "whole": [], "processes": 1}
        task = {"files": [f"./{name}" for name in files], **nothing, **more}
        done = subprocess.run(
            [python, "-X", "importtime", DRIVER],
            cwd=tmp_path,
            input=json.dumps(task),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout), "bandit.core" in done.stderr

    return ask


def test_plain_files_are_answered_without_bandit_as_with_it(scan):
    plain = {f"m{number}.py": "VALUE = 1\n" for number in range(60)}
    by_bandit, imported = scan(plain)
    assert imported
    at_once, imported = scan({"m0.py": "VALUE = 1\n"})
    assert not imported
    assert at_once == by_bandit | {"files": {"./m0.py": by_bandit["files"]["./m0.py"]}}


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("import telnetlib\n", {}),
        ("x = 1  # nosec\n", {}),
        ("x = 1\n", {"skips": ["B101"]}),
        ("x = 1\n", {"exclude": ["*/a.py"]}),
        ("x = 1\n", {"whole": ["./a.py"]}),
    ],
)
def test_whatever_bandit_could_have_a_say_in_is_for_bandit(scan, text, more):
    _, imported = scan({"a.py": text}, **more)
    assert imported
