"""No command ends in a traceback, or outside the exit codes 0 to 3, on generated settings, repositories and ledgers.

In this process, from the number of the case: `nox -s integration -- tests/integration/fuzz --cases 10000`, and
`--first-case N --cases 1` for one again. Without Docker, and without installing anything.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from fuzz_commands import LEFT_OUT, TASKS, command_line
from fuzz_repositories import Templates, spoil
from fuzz_settings import ODD_TEXTS, pyproject
from fuzz_state import Ledgers, spoil_state, unlock
from invoke.program import Program

from deploykit.tasks import collection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 20
"""A case that takes longer hangs."""
_ODD_VARIABLES = {
    **dict.fromkeys(("DEPLOYKIT_ACTOR", "DEPLOYKIT_ADVISORIES", "DEPLOYKIT_FORCE", "DEPLOYKIT_LEDGER"), ODD_TEXTS),
    **dict.fromkeys(("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "CI", "GITHUB_ACTIONS", "DATABASE_URL"), ODD_TEXTS),
    "DOCKER_HOST": ("tcp://[", "ssh://", "ssh://-x", "tcp://127.0.0.1:1", "x", "http://["),
    "HOME": ("/proc/nowhere", "relative"),
}


_ODD_FOLDERS = ("relative", "/dev/null/x", "/proc/nowhere", "a\nb", "long" * 2_000)


@dataclass
class Found:
    """What went wrong, by where in the kit: the first case of each, and how many there were."""

    first: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, what: str) -> None:
        self.counts[where] += 1
        self.first.setdefault(where, what)

    def __str__(self) -> str:
        return "\n\n".join(f"{count} times: {self.first[where]}" for where, count in self.counts.most_common(20))


@dataclass(frozen=True)
class Answer:
    code: object
    said: str
    error: BaseException | None = None


class Hangs(BaseException):
    """Nothing may catch it."""


@pytest.fixture
def case_environment(memory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Iterator[list[str]]]:
    """Make the place of a case, go there, and give the command's words; it is gone afterwards."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DEPLOYKIT_", "DOCKER_"))] + list(
        _ODD_VARIABLES
    ):
        monkeypatch.delenv(name, raising=False)
    git = shutil.which("git")
    assert git is not None
    (memory / "bin").mkdir()
    (memory / "bin" / "git").symlink_to(git)
    for name, value in {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PATH": str(memory / "bin"),
        "GIT_AUTHOR_DATE": "1000000000 +0000",
        "GIT_COMMITTER_DATE": "1000000000 +0000",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(memory / "uv"),
        "DOCKER_HOST": "unix:///nowhere.sock",
        "DOCKER_CONFIG": "/proc/nowhere",
        "XDG_CACHE_HOME": str(memory / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    templates, ledgers = Templates(memory / "repositories"), Ledgers(memory / "ledgers")

    @contextlib.contextmanager
    def place(number: int) -> Iterator[list[str]]:
        random, here = Random(number), memory / "case"
        repo, home = here / "repo", here / "state"
        with monkeypatch.context() as patch:
            _make(random, repo, home, templates, ledgers)
            patch.setenv("DEPLOYKIT_STATE_DIR", str(home) if random.random() < 0.97 else random.choice(_ODD_FOLDERS))
            for name, values in _ODD_VARIABLES.items():
                if random.random() < 0.05:
                    patch.setenv(name, random.choice(values))
            patch.chdir(repo)
            if random.random() < 0.02:
                (repo / "sub" / "folder").mkdir(parents=True, exist_ok=True)
                patch.chdir(repo / "sub" / "folder")
            if random.random() < 0.01:
                shutil.rmtree(repo)
            yield command_line(random)
        unlock(here)
        shutil.rmtree(here)

    return place


def _make(random: Random, repo: Path, home: Path, templates: Templates, ledgers: Ledgers) -> None:
    root = home / "apps" / "shop" / "local"
    root.mkdir(parents=True)
    templates.copy(random.choice((*templates.names, *["tagged"] * 6)), repo)
    if random.random() < 0.95:
        (repo / "pyproject.toml").write_bytes(pyproject(random))
    spoil(random, repo)
    ledgers.copy(random.choice((*ledgers.names, *["two"] * 3)), root / "ledger.sqlite3")
    spoil_state(random, home)


def type_in(words: list[str], patch: pytest.MonkeyPatch) -> Answer:
    """Type the command: its exit code, and what it said."""
    patch.setattr(sys, "argv", ["invoke", *words])
    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(EOFError):
            Program(namespace=collection(), name="invoke", binary="invoke").run()
        return Answer(0, said.getvalue())
    except SystemExit as left:
        return Answer(0 if left.code is None else left.code, said.getvalue())
    except BaseException as error:
        return Answer(None, said.getvalue(), error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hangs(_number: int, _frame: Any) -> None:
    raise Hangs


def judge(answer: Answer) -> tuple[str, str]:
    """Where it went wrong, and how; empty: it did not."""
    if answer.error is not None:
        frames = traceback.extract_tb(answer.error.__traceback__)
        ours = [frame for frame in frames if "/deploykit/" in frame.filename] or frames
        return (
            f"{type(answer.error).__name__} {Path(ours[-1].filename).name}:{ours[-1].lineno}",
            "".join(traceback.format_exception(answer.error)[-12:]),
        )
    if answer.code not in {0, 1, 2, 3}:
        return f"exit code {answer.code}", answer.said
    if "Traceback (most recent call last)" in answer.said:
        last = answer.said.strip().splitlines()[-1]
        return f"a traceback in what it said: {last[:60]}", answer.said
    if answer.code and not answer.said.strip():
        return f"exit code {answer.code} without a word", ""
    return "", ""


@pytest.mark.filterwarnings("default::ResourceWarning")
@pytest.mark.timeout(7_200)
def test_no_command_ends_in_a_traceback_whatever_it_is_given(
    case_environment: Any, pytestconfig: pytest.Config, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = sorted(Path("/").iterdir())
    first, cases = (int(pytestconfig.getoption(name)) for name in ("--first-case", "--cases"))
    found, codes, commands = Found(), Counter[object](), Counter[str]()
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        for number in range(first, first + cases):
            with case_environment(number) as words:
                answer = type_in(words, monkeypatch)
                where, what = judge(answer)
            codes[answer.code] += 1
            commands[words[0]] += 1
            if where:
                found.add(where, f"case {number}, {' '.join(words)[:200]}\n{where}\n{what[-3_000:]}")
    summary = (
        f"{cases} cases, exit codes {dict(sorted(codes.items(), key=str))}, commands {dict(sorted(commands.items()))}"
    )
    assert sorted(Path("/").iterdir()) == top, "a case wrote outside of its folder"
    record_property("fuzz", summary)
    print(summary)
    assert not found.counts, f"{sum(found.counts.values())} of {summary}:\n\n{found}"


def test_every_task_of_the_kit_is_typed_or_left_out_for_a_reason() -> None:
    assert set(collection().task_names) == set(TASKS) | set(LEFT_OUT)
    assert all(LEFT_OUT.values())
