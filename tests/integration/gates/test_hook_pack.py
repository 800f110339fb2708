"""The hook pack as other repositories use it: the real pre-commit and prek, and this repository as the source of the
hooks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLEAN = '"""Nothing to see."""\n\nVALUE = 1\n'


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """A git repository of what this tree holds now, committed, so that there is something to clone."""
    target = tmp_path_factory.mktemp("kit") / "deploykit"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    git(target, "init", "-q")
    git(target, "add", "-A")
    git(target, "commit", "-qm", "the kit")
    return target


def git(root: Path, *words: str) -> None:
    owner = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *owner, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def environment(tmp_path_factory, gate_environment):
    """Caches of their own for the hooks' environments; those of the tools are shared with the other tests."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in gate_environment.items() if not name.startswith(("COV", "GIT_"))}
    return kept | {"PRE_COMMIT_HOME": str(home / "pre-commit"), "PREK_HOME": str(home / "prek"), "NO_COLOR": "1"}


@pytest.fixture
def repo(tmp_path):
    """A repository that knows nothing of the kit but the configuration of its hooks."""
    root = tmp_path / "repo"
    root.mkdir()
    (root / "app.py").write_text(CLEAN)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def tried(program: str, kit: Path, repo: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`PROGRAM try-repo KIT` on what is staged, each hook once."""
    git(repo, "add", "-A")
    binary = Path(sys.executable).with_name(program)
    argv = [binary, "try-repo", kit, "--verbose"]
    return subprocess.run(argv, cwd=repo, env=environment, capture_output=True, text=True, timeout=300, check=False)


def outcomes(said: str) -> dict[str, str]:
    """What came of each hook: the program prints its name, dots and the outcome on one line."""
    lines = [line for line in said.splitlines() if "..." in line and not line.startswith("[")]
    return {line.partition("..")[0]: line.rpartition(".")[2].rpartition(")")[2] for line in lines}


def test_with_prek_a_good_commit_passes_in_a_repository_that_does_not_know_the_kit(kit, repo, environment):
    (repo / "more.py").write_text(CLEAN)
    done = tried("prek", kit, repo, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == {
        "lint and format": "Passed",
        "secrets": "Passed",  # pragma: allowlist secret
        "insecure code": "Passed",
        "Dockerfiles": "Skipped",
        "workflows": "Skipped",
        "migrations": "Skipped",
    }


def test_with_pre_commit_each_hook_judges_its_files_of_the_commit(kit, repo, environment):
    (repo / "untouched.py").write_text("import sys\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "not of this commit")
    (repo / "more.py").write_text("import os\nexec(input())\n")
    (repo / "Dockerfile").write_text("FROM debian\n")
    done = tried("pre-commit", kit, repo, environment)
    assert done.returncode == 1
    assert outcomes(done.stdout) == {
        "lint and format": "Failed",
        "secrets": "Passed",  # pragma: allowlist secret
        "insecure code": "Failed",
        "Dockerfiles": "Failed",
        "workflows": "Skipped",
        "migrations": "Skipped",
    }
    assert all(rule in done.stdout for rule in ("F401", "B102", "DL3006"))
    assert "untouched.py" not in done.stdout


def test_one_line_has_the_hooks_run_at_each_commit_and_push_with_nothing_activated(tmp_path, environment):
    """This repository's own configuration, in a smaller one: what is pushed is judged by its types and its tests."""
    root, remote = tmp_path / "shop", tmp_path / "remote.git"
    for name, text in {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.deploykit]\napp = "shop"\n',
        "shop/__init__.py": '"""A shop."""\n\n\ndef price(cents: int) -> str:\n    return f"{cents / 100:.2f}"\n',
        "tests/test_price.py": (
            'from shop import price\n\n\ndef test_price() -> None:\n    assert price(150) == "1.50"\n'
        ),
        ".gitignore": "__pycache__/\n/.venv\n/.deploykit\n/.nox\n",
        ".pre-commit-config.yaml": (ROOT / ".pre-commit-config.yaml").read_text(),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / ".venv").symlink_to(sys.prefix)
    owner = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    bare = {name: value for name, value in environment.items() if name != "VIRTUAL_ENV"} | owner
    bare["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    bare["SKIP"] = "deploykit-audit"  # it has no dependencies, and so nothing to look up

    def type_in(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=root, env=bare, capture_output=True, text=True, timeout=300, check=False)

    git(root, "init", "-q", "-b", "main")
    git(root, "init", "-q", "--bare", str(remote))
    git(root, "remote", "add", "origin", str(remote))
    assert type_in(".venv/bin/pre-commit", "install").returncode == 0
    git(root, "add", "-A")
    done = type_in("git", "commit", "-m", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    (root / "shop" / "more.py").write_text('"""More."""\n\nimport os\n')
    git(root, "add", "-A")
    refused = type_in("git", "commit", "-m", "two")
    assert refused.returncode == 1
    assert "F401" in refused.stdout + refused.stderr
    git(root, "reset", "-q", "--hard")
    done = type_in("git", "push", "-q", "origin", "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout + done.stderr) == {
        "types": "Passed",
        "tests": "Passed",
        "vulnerable dependencies": "Skipped",
    }
