"""What the gates cost a developer: the hooks on a commit of one file, and `invoke ci` on a tree of which every pass
stands.

Both are whole processes, on a small repository. The tools' environments are made before anything is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Figure, Ran, Section, environment, ran, timed

__all__ = ["measure"]

RUNS = 7
HOOK_SECONDS = CI_SECONDS = 1.0
_BIN = Path(sys.executable).parent
_FILES = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n\n[tool.deploykit]\napp = "shop"\n'
    '[tool.deploykit.service]\nrequirements = "requirements.txt"\n',
    "requirements.txt": "iniconfig==2.1.0\n",
    "shop/__init__.py": '"""A shop."""\n\nVALUE = 1\n',
    "tests/test_shop.py": "from shop import VALUE\n\n\ndef test_value() -> None:\n    assert VALUE == 1\n",
}


def measure() -> Section:
    with tempfile.TemporaryDirectory(prefix="dk-gates-") as folder:
        root = _repository(Path(folder) / "shop")
        figures = [*_hooks(root), *_second_ci(root)]
    return Section(title=f"Gates: {RUNS} runs each", figures=figures)


def _repository(root: Path) -> Path:
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    config = Path(__file__).parents[1] / ".pre-commit-config.yaml"
    (root / config.name).write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    _git(root, "init", "-q")
    _git(root, "add", "-A")
    _git(root, "commit", "-qm", "one")
    return root


def _git(root: Path, *words: str) -> None:
    owner = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", root, *owner, *words], check=True, capture_output=True)


def _hooks(root: Path) -> list[Figure]:
    """The hooks that `git commit` would run, by either program, on one changed file of which nothing is known yet."""
    env = environment(PATH=f"{_BIN}:{environment()['PATH']}")
    found: dict[str, list[Ran]] = {"prek": [], "pre-commit": []}
    for number in range(RUNS + 1):
        for program, runs in found.items():
            text = f'"""A shop."""\n\nVALUE = {number}\nWHOM = "{program}"\n'
            (root / "shop/__init__.py").write_text(text, encoding="utf-8")
            _git(root, "add", "-A")
            run = ran([_BIN / program, "run"], cwd=root, env=env)
            if number:  # the first makes the tools' environments
                runs.append(run)
    _git(root, "reset", "-q", "--hard")
    return [
        timed("the hooks on a commit of one file, prek", [run.wall for run in found["prek"]], bound=HOOK_SECONDS),
        timed("the same, CPU", [run.cpu for run in found["prek"]]),
        timed("the hooks on a commit of one file, pre-commit", [run.wall for run in found["pre-commit"]]),
        timed("the same with pre-commit, CPU", [run.cpu for run in found["pre-commit"]]),
    ]


def _second_ci(root: Path) -> list[Figure]:
    """`invoke ci` where nothing changed since every gate passed, and how much of it is Python's own start."""
    env = environment(DEPLOYKIT_ADVISORIES=str(_advisories(root.parent)))
    _git(root, "clean", "-qfd")
    # Every gate is really run and passes; what they have found then stands.
    first = ran([_BIN / "deploykit", "ci"], cwd=root, env=env)
    again, bare = [], []
    for _ in range(RUNS + 1):
        again.append(ran([_BIN / "deploykit", "ci"], cwd=root, env=env))
        bare.append(ran([sys.executable, "-c", ""], cwd=root, env=env))
    if "nothing was run again" not in again[-1].output:
        raise RuntimeError(f"gates were run on an unchanged tree:\n{again[-1].output}")
    beyond = [one.wall - other.wall for one, other in zip(again[1:], bare[1:], strict=True)]
    return [
        timed("`invoke ci`, the first time", [first.wall]),
        timed("`invoke ci` on an unchanged tree, beyond Python's own start", beyond, bound=CI_SECONDS),
        timed("the same with Python's own start, CPU", [run.cpu for run in again[1:]]),
        timed("Python's own start", [run.wall for run in bare[1:]]),
    ]


def _advisories(folder: Path) -> Path:
    """A copy of advisories of this moment, with one about a package that nobody here has."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    package = {"ecosystem": "PyPI", "name": "a-package-of-nobody"}
    record = {"id": "PYSEC-0", "modified": now, "affected": [{"package": package, "versions": ["1"]}]}
    path = folder / "advisories.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path
