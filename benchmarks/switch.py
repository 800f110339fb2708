"""Releases and rollbacks of the smallest service under load, with a real HAProxy: how long the switch takes, what is
lost.

The switch as the clients saw it lies between the first answer of the new version and the last of the old one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load import Clients, longest_gap
from benchmarks.measure import Figure, Section, environment, ran, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.load import Answer
    from benchmarks.measure import Ran

__all__ = ["Commands", "measure", "rename", "stage_figures", "state_folder"]

ROUNDS = 5
_FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


class Commands:
    """Runs `invoke` in a repository, with a state folder of its own."""

    def __init__(self, repo: Path, state: Path) -> None:
        self.repo = repo
        self._env = environment(DEPLOYKIT_STATE_DIR=str(state))
        self._invoke = Path(sys.executable).with_name("invoke")

    def __call__(self, *words: str) -> Ran:
        return ran([self._invoke, *words, "--env", "local"], cwd=self.repo, env=self._env)

    def fails(self, *words: str) -> Ran:
        """The same of a command that is to fail. Raises RuntimeError when it does not."""
        return ran([self._invoke, *words, "--env", "local"], cwd=self.repo, env=self._env, code=1)

    def tried(self, *words: str) -> tuple[Ran, dict[str, Any]]:
        """The same with `--json`, whatever its exit code is, and what it said."""
        done = ran([self._invoke, *words, "--env", "local", "--json"], cwd=self.repo, env=self._env, code=None)
        return done, json.loads(done.output)

    def told(self, *words: str) -> tuple[Ran, dict[str, Any]]:
        """The same with `--json`, and what it said."""
        done = self(*words, "--json")
        return done, json.loads(done.output)


@contextmanager
def state_folder() -> Iterator[Path]:
    """A state folder with a short path, since Unix sockets have paths of at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="dk-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def rename(repo: Path, app: str) -> None:
    """Give the app a name of its own, and so a port of its own: another one may run here at the same time."""
    file = repo / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(f'app = "{app}"', f'app = "bench-{os.getpid()}"'), encoding="utf-8")


def measure() -> Section:
    sys.path.insert(0, str(_FIXTURES))
    foreign_repo = importlib.import_module("foreign_repo")

    with state_folder() as state, tempfile.TemporaryDirectory(prefix="dk-switch-") as folder:
        repo = foreign_repo.make_tiny(Path(folder) / "tiny")
        (repo / "tasks.py").write_text("from deploykit.tasks import collection\n\nnamespace = collection()\n")
        rename(repo, "tiny")
        commands = Commands(repo, state)

        def write(text: str) -> None:
            foreign_repo.behave(repo, VERSION_TEXT=text)
            foreign_repo.commit(repo, text)

        write("version 0")
        try:
            _, first = commands.told("release")
            with Clients(first["url"]) as clients:
                return _measure(commands, clients, write)
        finally:
            commands("down")


def _measure(commands: Commands, clients: Clients, write: Any) -> Section:
    began = time.monotonic()
    clients.wait_for("version 0", since=began)
    releases: list[_Change] = []
    rollbacks: list[_Change] = []
    statuses: list[Ran] = []
    for number in range(1, ROUNDS + 1):
        new = f"version {number}"
        write(new)
        releases.append(_change(commands, clients, "release", old="version 0", new=new))
        statuses.append(commands("status"))
        # Back to the very first version each time: it is what was live before, and still warm.
        rollbacks.append(_change(commands, clients, "rollback", old=new, new="version 0"))
    answers = clients.since(began)
    lost = [answer.problem for answer in answers if answer.problem]
    every = [*releases, *rollbacks]
    return Section(
        title=f"Switch: {ROUNDS} releases and {ROUNDS} rollbacks of the smallest service, HAProxy, "
        f"{clients.clients} keep-alive clients, {clients.pause * 1000:.0f} ms between their requests",
        figures=[
            Figure(name="lost requests", unit="", samples=[len(lost)], bound=0),
            Figure(name="requests", unit="", samples=[len(answers)]),
            _millis("switch, first new answer to last old one", [change.switch for change in every]),
            _millis("longest time between two answers of a client", [change.gap for change in every]),
            timed("invoke release", [change.ran.wall for change in releases]),
            timed("invoke release, CPU", [change.ran.cpu for change in releases]),
            timed("invoke rollback to a warm version", [change.ran.wall for change in rollbacks]),
            timed("invoke rollback, CPU", [change.ran.cpu for change in rollbacks]),
            timed("from typing rollback to the last wrong answer", [change.settled for change in rollbacks]),
            timed("invoke status", [status.wall for status in statuses]),
            timed("invoke status, CPU", [status.cpu for status in statuses]),
            *stage_figures("release", [change.told for change in releases]),
            *stage_figures("rollback", [change.told for change in rollbacks]),
        ],
        notes=[
            f"a client's own pause of {clients.pause * 1000:.0f} ms is part of the time between its answers",
            *(f"lost: {problem}, {count} times" for problem, count in Counter(lost).most_common(3)),
        ],
    )


class _Change:
    """One release or rollback and what the clients saw of it. Times in seconds."""

    def __init__(
        self, done: Ran, told: Mapping[str, Any], answers: Sequence[Answer], typed: float, versions: Any
    ) -> None:
        old, new = versions
        self.ran, self.told = done, told
        first_new = min(answer.answered for answer in answers if answer.text == new)
        last_old = max(answer.answered for answer in answers if answer.text == old)
        self.switch = max(0.0, last_old - first_new)
        self.settled = last_old - typed
        self.gap = longest_gap(answers)


def _change(commands: Commands, clients: Clients, command: str, *, old: str, new: str) -> _Change:
    typed = time.monotonic()
    done, told = commands.told(command)
    clients.wait_for(new, since=time.monotonic())
    return _Change(done, told, clients.since(typed), typed, (old, new))


def stage_figures(command: str, reports: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """One figure for each stage that the reports name, in their order, and their sum."""
    rows = [{stage["name"]: stage["seconds"] for stage in report["stages"]} for report in reports]
    names = list(dict.fromkeys(name for row in rows for name in row))
    sums = timed(f"{command}, all stages", [sum(row.values()) for row in rows])
    return [sums, *(timed(f"{command}: {name}", [row.get(name, 0.0) for row in rows]) for name in names)]


def _millis(name: str, seconds: Sequence[float]) -> Figure:
    return Figure(name=name, unit="ms", samples=[value * 1000 for value in seconds])
