"""What the kit costs before anything is done: `invoke --list` and `nox -l` with it and without it.

The bare side has as many tasks and sessions, all empty, so that only the kit's own share is counted. The kit is a copy
without bytecode, as after `pip install -e`: what its own commands don't keep is compiled in each run.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import deploykit
from benchmarks.measure import Figure, Section, environment, interleaved, ran, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.measure import Ran

__all__ = ["measure"]

BOUND = 1.15
SERIES, RUNS = 5, 5
_SHOWN_MODULES = 6

_KIT_TASKS = "from deploykit.tasks import collection\n\nnamespace = collection()\n"
_KIT_SESSIONS = "from deploykit import sessions\n\nsessions.register()\n"
_BARE_TASK = '@task\ndef task{number}(context):\n    """Do nothing."""\n'
_BARE_SESSION = '@nox.session\ndef session{number}(session):\n    """Do nothing."""\n'


def measure() -> Section:
    from deploykit.sessions import NAMES
    from deploykit.tasks import collection

    tasks = len(collection().task_names)
    with tempfile.TemporaryDirectory(prefix="dk-startup-") as folder:
        kit, bare = Path(folder) / "kit", Path(folder) / "bare"
        kit.mkdir()
        bare.mkdir()
        (kit / "tasks.py").write_text(_KIT_TASKS)
        (kit / "noxfile.py").write_text(_KIT_SESSIONS)
        empty = "\n\n".join(_BARE_TASK.format(number=number) for number in range(tasks))
        (bare / "tasks.py").write_text(f"from invoke import task\n\n\n{empty}")
        empty = "\n\n".join(_BARE_SESSION.format(number=number) for number in range(len(NAMES)))
        (bare / "noxfile.py").write_text(f"import nox\n\n\n{empty}")
        env = environment(PYTHONPATH=str(_installed(Path(folder) / "installed")))
        figures = [*_compared("invoke --list", kit, bare, env), *_compared("nox -l", kit, bare, env)]
        breakdown = _imports(kit, env)
    return Section(
        title=f"Start-up: {tasks} tasks and {len(NAMES)} sessions, {SERIES} interleaved series of {RUNS} runs each",
        figures=figures,
        notes=[f"the kit's modules in `invoke --list`: {breakdown}"],
    )


def _installed(folder: Path) -> Path:
    """A folder for PYTHONPATH that has this kit without its bytecode."""
    source = Path(deploykit.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _compared(command: str, kit: Path, bare: Path, env: Mapping[str, str]) -> list[Figure]:
    program, option = command.split()
    argv: list[str | Path] = [Path(sys.executable).with_name(program), option]
    series = interleaved(
        lambda: ran(argv, cwd=kit, env=env), lambda: ran(argv, cwd=bare, env=env), series=SERIES, runs=RUNS
    )
    return [
        Figure(name=f"{command}: kit / bare", unit="x", samples=_ratios(series, lambda run: run.wall), bound=BOUND),
        Figure(name=f"{command}: kit / bare, CPU", unit="x", samples=_ratios(series, lambda run: run.cpu)),
        timed(f"{command} with the kit", [run.wall for runs, _ in series for run in runs]),
        timed(f"{command} bare", [run.wall for _, runs in series for run in runs]),
    ]


def _ratios(series: Sequence[tuple[list[Ran], list[Ran]]], cost: Callable[[Ran], float]) -> list[float]:
    """One ratio of medians for each series."""
    return [statistics.median(map(cost, kit)) / statistics.median(map(cost, bare)) for kit, bare in series]


def _imports(kit: Path, env: Mapping[str, str]) -> str:
    """The kit's slowest modules, as `-X importtime` tells them: milliseconds of their own, without what they import."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", Path(sys.executable).with_name("invoke"), "--list"],
        cwd=kit,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| \s*(deploykit\S*)", done.stderr)
    own = sorted(((int(micros) / 1000, name) for micros, name in rows), reverse=True)
    shown = ", ".join(f"{name} {millis:.1f}" for millis, name in own[:_SHOWN_MODULES])
    return f"{sum(millis for millis, _ in own):.1f} ms in {len(own)} modules ({shown})"
