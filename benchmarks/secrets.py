"""The secrets gate beside detect-secrets, on the same cores, and what both find in the labelled corpus.

The tree is `DEPLOYKIT_BENCH_TREE` (such as a source distribution, unpacked), else the well-known projects of
`benchmarks.sast` as they are installed, 45 MB at most. detect-secrets takes minutes for that, so it looks at a
sample: every so many-th file; the kit looks at the sample too, for equality, and at the whole tree, for its speed.
Speeds are bytes a second.

`python -m benchmarks.secrets` prints the table of the corpus, as it stands in docs/secrets.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure, Section, timed
from benchmarks.sast import CORPUS
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.secretscan.scan import ScanReport

__all__ = ["corpus_table", "detect_secrets_says", "differences", "load_corpus", "measure"]

BOUND = 1 / 20
RUNS = 3
SAMPLE_BYTES = 2_000_000
TREE_BYTES = 45_000_000
_ROOT = Path(__file__).parents[1]
_DRIVER = Path(__file__).with_name("detect_secrets_driver.py")


def measure() -> Section:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="dk-secrets-") as folder:
        tree = _tree(Path(folder))
        files = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
        sizes = {name: (tree / name).stat().st_size for name in files}
        total = sum(sizes.values())
        sample = files[:: max(1, total // SAMPLE_BYTES)]
        sampled = sum(sizes[name] for name in sample)
        began = time.perf_counter()
        theirs = detect_secrets_says(tree, sample, processes=cores)
        slow = time.perf_counter() - began
        same = not differences(tree, sample, theirs)
        fast = [_scan(tree, files, cores, Path(folder) / f"cache{run}") for run in range(RUNS)]
        again = [_scan(tree, files, cores, Path(folder) / "cache0") for _ in range(RUNS)]
    ratios = [(seconds / total) / (slow / sampled) for seconds in fast]
    megabytes = total / 1e6
    return Section(
        title=f"Secrets: {len(files)} files, {megabytes:.0f} MB, {cores} processes each",
        figures=[
            Figure(name="the kit / detect-secrets, time for a byte", unit="x", samples=ratios, bound=BOUND),
            Figure(name="times as fast as detect-secrets", unit="", samples=[1 / ratio for ratio in ratios]),
            timed("the kit, the whole tree", fast),
            timed("the kit, the whole tree again (cache)", again),
            timed(f"detect-secrets, a sample of {sampled / 1e6:.1f} MB", [slow]),
        ],
        notes=[
            f"detect-secrets looked at {len(sample)} of the files, evenly taken; the kit's findings in them are "
            + ("the same" if same else "NOT the same"),
            f"detect-secrets for the whole tree, by that: {slow * total / sampled:.0f} s",
        ],
    )


def _tree(folder: Path) -> Path:
    given = os.environ.get("DEPLOYKIT_BENCH_TREE")
    if given:
        return Path(given)
    tree = folder / "tree"
    words = [find_uv(), "pip", "install", "-q", "--no-deps", "--target", str(tree), *CORPUS]
    subprocess.run(words, check=True, timeout=300)
    size = 0
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            size += path.stat().st_size
            if size > TREE_BYTES:
                path.unlink()
    return tree


def _scan(tree: Path, files: Sequence[str], cores: int, cache: Path) -> float:
    from deploykit.gates.secretscan.cache import ScanCache
    from deploykit.gates.secretscan.rules import default_rules
    from deploykit.gates.secretscan.scan import scan_files

    began = time.perf_counter()
    scan_files(tree, files, default_rules(), processes=cores, cache=ScanCache(cache, tree), whole=True)
    return time.perf_counter() - began


def detect_secrets_says(
    root: Path, files: Sequence[str], *, processes: int, python: Path | None = None
) -> dict[str, Any]:
    """What detect-secrets finds: `secrets` by file, and the files on which it `crashed`."""
    from deploykit.gates.tools import managed_tool
    from deploykit.process.run import run

    python = python or managed_tool("detect-secrets", environment=os.environ) / "bin" / "python"
    done = run(
        [python, "-P", _DRIVER],
        cwd=root,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdin=json.dumps({"files": list(files), "processes": processes}),
        timeout=900,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def differences(root: Path, files: Sequence[str], theirs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(path, only the kit, only detect-secrets) for every file with a difference that is not one of those documented.

    Files that are not UTF-8 are left out (detect-secrets ignores them), and those that end it with a traceback.
    """
    from deploykit.gates.secretscan.findings import first_lines
    from deploykit.gates.secretscan.rules import default_rules
    from deploykit.gates.secretscan.scan import scan_files

    report: ScanReport = scan_files(root, files, default_rules(formats=False))
    left_out = {*theirs["crashed"], *report.recoded}
    found = []
    for name in sorted((report.secrets.keys() | theirs["secrets"].keys()) - left_out):
        ours = {(secret.type, secret.hashed, secret.line) for secret in first_lines(report.secrets.get(name, ()))}
        own = {(kind, hashed, line) for kind, hashed, line in theirs["secrets"].get(name, ())}
        if ours != own:
            found.append((name, sorted(ours - own), sorted(own - ours)))
    return found


def load_corpus() -> Any:
    """The module that reads the labelled corpus; it lives with the tests."""
    path = _ROOT / "tests" / "fixtures" / "secrets_corpus" / "corpus.py"
    spec = importlib.util.spec_from_file_location("secrets_corpus", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"there is no corpus at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def corpus_table(*, python: Path | None = None) -> list[str]:
    """Recall and noise of each tool on each half, as lines of Markdown."""
    corpus = load_corpus()
    lines = ["| half | tool | files | secrets | found | recall | noise (lines) |", "|---|---|--:|--:|--:|--:|--:|"]
    with tempfile.TemporaryDirectory(prefix="dk-corpus-") as folder:
        for half in corpus.HALVES:
            files = corpus.lay_out(Path(folder), half)
            root = Path(folder) / half
            names = [file.path.partition("/")[2] for file in files]
            for tool, found in (
                ("deploykit", _found_by_kit(root, names)),
                ("detect-secrets 1.5", _found_by_detect_secrets(root, names, python)),
            ):
                hit = total = noise = 0
                for file, name in zip(files, names, strict=True):
                    there = found.get(name, set())
                    hit += sum(1 for secret in file.secrets if secret & there)
                    total += len(file.secrets)
                    noise += len(there.difference(*file.secrets))
                half_name = half.replace("_", "-")
                lines.append(
                    f"| {half_name} | {tool} | {len(files)} | {total} | {hit} | {100 * hit / total:.0f} % | {noise} |"
                )
    return lines


def _found_by_kit(root: Path, names: Sequence[str]) -> dict[str, set[int]]:
    from deploykit.gates.secretscan.rules import default_rules
    from deploykit.gates.secretscan.scan import scan_files

    report = scan_files(root, names, default_rules())
    return {name: {secret.line for secret in secrets} for name, secrets in report.secrets.items()}


def _found_by_detect_secrets(root: Path, names: Sequence[str], python: Path | None) -> dict[str, set[int]]:
    answer = detect_secrets_says(root, names, processes=1, python=python)
    return {name: {line for _, _, line in secrets} for name, secrets in answer["secrets"].items()}


if __name__ == "__main__":
    print("\n".join(corpus_table()))
