"""This repository's own release: the board with its PostgreSQL, HAProxy and migrations, from a clone of what is
committed.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import Section, timed
from benchmarks.switch import Commands, rename, stage_figures, state_folder

__all__ = ["measure"]

ROUNDS = 3
_ROOT = Path(__file__).resolve().parent.parent
_CHANGED = "deploykit/board/config.py"


def measure() -> Section:
    with state_folder() as state, tempfile.TemporaryDirectory(prefix="dk-board-") as folder:
        repo = Path(folder) / "board"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", _ROOT, repo], check=True)
        rename(repo, "release-board")
        commands = Commands(repo, state)
        try:
            first = commands("release")
            changed = []
            for number in range(ROUNDS):
                with (repo / _CHANGED).open("a") as source:
                    source.write(f"# {number}\n")
                changed.append(commands.told("release"))
            back = commands("rollback")
        finally:
            commands("down")
    return Section(
        title=f"The release board: this repository's own release, first and {ROUNDS} of a changed tree",
        figures=[
            timed("first release: environment made, database started", [first.wall]),
            timed("release of a changed tree", [done.wall for done, _ in changed]),
            timed("release of a changed tree, CPU", [done.cpu for done, _ in changed]),
            timed("rollback to a warm version", [back.wall]),
            *stage_figures("release", [told for _, told in changed]),
        ],
    )
