"""What a noxfile of a few lines gives, read back from nox itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BASE = "from deploykit import sessions\nsessions.register({})\n"


@pytest.fixture
def nox(tmp_path):
    def run(noxfile: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "noxfile.py").write_text(noxfile)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NOX", "DEPLOYKIT"))}
        return subprocess.run(
            [sys.executable, "-m", "nox", *words],
            cwd=tmp_path,
            env=environment | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def listed(nox, noxfile: str) -> dict[str, str]:
    """Every session of the noxfile with its description."""
    lines = nox(noxfile, "-l").stdout.splitlines()
    return dict(line[2:].split(" -> ", 1) for line in lines if line.startswith(("* ", "- ")))


def test_all_sessions_are_registered_with_help(nox):
    sessions = listed(nox, BASE.format(""))
    assert set(sessions) == {
        "lint",
        "typing",
        "test",
        "tests",
        "coverage",
        "sast",
        "audit",
        "secrets",
        "migrations",
        "security",
    }
    assert all(sessions.values())


def test_include_and_exclude_choose(nox):
    assert set(listed(nox, BASE.format("include=['lint', 'test']"))) == {"lint", "test"}
    assert "audit" not in listed(nox, BASE.format("exclude=['audit']"))


def test_an_unknown_name_ends_nox_with_3_and_the_names(nox):
    answer = nox(BASE.format("exclude=['tets']"), "-l")
    assert answer.returncode == 3
    assert "no session 'tets'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_overridden_session_runs_the_repos_own_body(nox):
    noxfile = BASE.replace(
        "import sessions", "import sessions\ndef mine(session):\n    '''Mine.'''\n    print('my own lint')"
    )
    noxfile = noxfile.format("override={'lint': mine}")
    assert listed(nox, noxfile)["lint"] == "Mine."
    answer = nox(noxfile, "-s", "lint", "--no-venv")
    assert answer.returncode == 0, answer.stderr
    assert "my own lint" in answer.stdout


def test_another_test_session_has_a_name_of_its_own(nox):
    noxfile = BASE.format("include=['test']") + "sessions.register_tests('integration', paths=['tests/it'])\n"
    assert "tests/it" in listed(nox, noxfile)["integration"]


def test_every_session_may_run_in_parallel():
    code = (
        "import nox.registry\nfrom deploykit import sessions\nsessions.register()\n"
        "sessions.register_tests('integration', paths=['x'])\n"
        "import json\n"
        "print(json.dumps({n: [f.allow_parallel, f.reuse_venv, f.requires] for n, f in nox.registry.get().items()}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    sessions = json.loads(answer.stdout)
    assert all(parallel and reuse for parallel, reuse, _ in sessions.values())
    assert sessions["security"][2] == ["sast", "audit", "secrets"]
    assert sessions["coverage"][2] == ["test"]


def test_registering_imports_nothing_heavy():
    code = (
        "import nox, sys\nbefore = set(sys.modules)\n"
        "from deploykit import sessions\nsessions.register()\n"
        "print('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"pydantic", "sqlalchemy", "rich", "invoke", "httpx2", "deploykit.gates", "deploykit.settings"}
    assert not heavy & set(answer.stdout.split())
