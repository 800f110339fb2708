"""The sast gate beside plain bandit, on the same files, in one run: time, share of bandit's lines found, and ratios.

    python -m benchmarks sast
    python -m benchmarks.sast [FOLDER]

Without a folder it installs a corpus (Django, SQLAlchemy, requests and more) into a temporary one. The tools'
environments are made before the clock starts. `--json PATH` writes the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure, Section, timed
from deploykit.gates.run import run_gate
from deploykit.gates.tools import managed_tool
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = ("django", "sqlalchemy", "requests", "werkzeug", "paramiko", "celery", "twisted", "setuptools", "ansible-core")
PROJECT = """
[project]
name = "corpus"
[tool.deploykit]
packages = ["django"]
[tool.deploykit.service]
command = "true"
health = "/"
"""
"""Says what the settings would else search the corpus for."""
BOUND = 1 / 15
MISSED = 0.01
DOCUMENTED = frozenset({"B101", "B105", "B106", "B107", "B311", "B404", "B603", "B607"})
"""Classes of low severity that docs/sast.md names as left out."""


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work answers, its seconds on the wall, and its seconds of processor time, children included."""
    before, started = _cpu(), time.monotonic()
    answer = work()
    return answer, time.monotonic() - started, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def measure() -> Section:
    with tempfile.TemporaryDirectory(prefix="deploykit-sast-") as made:
        root = Path(made).resolve()
        _fill(root)
        figures = compare(root)
    gate, bandit, times = figures["gate"], figures["bandit"], figures["times_faster"]
    medium, low = (figures["lines_of_bandit"][name] for name in ("medium and above", "low"))
    return Section(
        title=f"SAST: {figures['files']} files of {len(CORPUS)} projects, once",
        figures=[
            Figure(name="the gate / bandit, CPU", unit="x", samples=[gate["cpu"] / bandit["cpu"]], bound=BOUND),
            Figure(name="times as fast as bandit, CPU", unit="", samples=[times["cpu"]]),
            Figure(name="times as fast as bandit", unit="", samples=[times["wall"]]),
            timed("the gate", [gate["wall"]]),
            timed("the gate, CPU", [gate["cpu"]]),
            timed("bandit", [bandit["wall"]]),
            timed("bandit, CPU", [bandit["cpu"]]),
            Figure(
                name="share of bandit's lines, medium and above, that is missed",
                unit="x",
                samples=[1 - medium["found"] / medium["lines"]],
                bound=MISSED,
            ),
        ],
        notes=[
            f"lines of medium severity and above: {medium['found']} of {medium['lines']} found",
            f"low ones: {low['found']} of {low['lines']}; missed: {low['missed_by_rule']}",
        ],
    )


def _fill(root: Path) -> None:
    words = [find_uv(), "pip", "install", "-q", "--no-deps", "--target", str(root), *CORPUS]
    subprocess.run(words, check=True)
    (root / "pyproject.toml").write_text(PROJECT, encoding="utf-8")


def compare(root: Path) -> dict[str, Any]:
    environment = dict(os.environ)
    for family in ("bandit", "ruff"):
        managed_tool(family, environment=environment)
    verdict, wall, cpu = _timed(lambda: run_gate("sast", root, environment=environment, record=lambda _verdict: None))
    bandit = managed_tool("bandit", environment=environment) / "bin" / "bandit"

    def plain() -> list[dict[str, Any]]:
        words = [str(bandit), "-q", "-f", "json", "-x", "./tests", "-r", "."]
        answer = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
        results: list[dict[str, Any]] = json.loads(answer.stdout)["results"]
        return results

    results, bandit_wall, bandit_cpu = _timed(plain)
    found = {(finding.path, finding.line) for finding in verdict.findings}
    shares = {}
    for name, levels in (("medium and above", ("MEDIUM", "HIGH")), ("low", ("LOW",))):
        wanted = {}
        for item in results:
            place = (os.path.normpath(item["filename"]), item["line_number"])
            is_assert_of_test = item["test_id"] == "B101" and _is_test(place[0])
            if item["issue_severity"] in levels and not is_assert_of_test and not _has_noqa(root, place):
                wanted[place] = item["test_id"]
        missed = Counter(rule for place, rule in wanted.items() if place not in found)
        shares[name] = {
            "lines": len(wanted),
            "found": len(wanted) - missed.total(),
            "missed_by_rule": dict(missed),
            "missed_outside_documented_classes": sum(n for rule, n in missed.items() if rule not in DOCUMENTED),
        }
    return {
        "files": verdict.evidence.looked_at,
        "notes": list(verdict.evidence.notes),
        "gate": {"wall": wall, "cpu": cpu},
        "bandit": {"wall": bandit_wall, "cpu": bandit_cpu},
        "times_faster": {"wall": bandit_wall / wall, "cpu": bandit_cpu / cpu},
        "lines_of_bandit": shares,
    }


def _is_test(path: str) -> bool:
    from deploykit.gates.sastscan.judge import in_tests

    return in_tests(path)


def _has_noqa(root: Path, place: tuple[str, int]) -> bool:
    return "noqa" in (root / place[0]).read_text(encoding="utf-8", errors="replace").splitlines()[place[1] - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deploykit-sast-") as made:
        root = arguments.folder or Path(made)
        if arguments.folder is None:
            _fill(root)
        figures = compare(root.resolve())
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    gate, bandit, ratio = figures["gate"], figures["bandit"], figures["times_faster"]
    print(f"files: {figures['files']}; {'; '.join(figures['notes'])}")
    print(f"{'':20}{'wall':>10}{'cpu':>10}")
    print(f"{'bandit':20}{bandit['wall']:9.1f}s{bandit['cpu']:9.1f}s")
    print(f"{'gate sast':20}{gate['wall']:9.1f}s{gate['cpu']:9.1f}s")
    print(f"{'times faster':20}{ratio['wall']:10.1f}{ratio['cpu']:10.1f}")
    for name, share in figures["lines_of_bandit"].items():
        part = share["found"] / share["lines"] if share["lines"] else 1.0
        print(f"{name}: {share['found']} of {share['lines']} lines ({part:.2%}); missed: {share['missed_by_rule']}")
    medium = figures["lines_of_bandit"]["medium and above"]
    if medium["found"] < 0.99 * medium["lines"]:
        sys.exit("fewer than 99 % of bandit's lines of medium severity and above were found")


if __name__ == "__main__":
    main()
