"""How it looks: 80 columns and no colour codes in a pipe, colour where it is asked for, and a tidy screen on a
terminal.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.shared.terminal import DEPLOYKIT, on_a_terminal

LOCAL = ("--env", "local")
ESCAPE = "\x1b"
# Data, which is not broken to fit: digests and hashes; and invoke's own line with a task's name in it.
DATA = re.compile(r"sha256:[0-9a-f]{64}|head  [0-9a-f]{64}|^Usage: ")


def too_wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > 80 and not DATA.search(line)]


def tasks() -> list[str]:
    from deploykit.tasks import collection

    return sorted(collection().task_names)


@pytest.mark.parametrize("task", tasks())
def test_the_help_of_every_task_fits_and_says_what_it_is_for(here, tiny, task):
    said = here(tiny, "--help", task).ok().out
    assert too_wide(said) == []
    assert ESCAPE not in said
    assert "Docstring:" in said
    assert "none" not in said.split("Options:")[0]


def test_the_list_of_tasks_gives_each_a_whole_sentence(here, tiny):
    said = here(tiny, "--list").ok().out
    assert too_wide(said) == []
    told = " ".join(said.split())
    for task in tasks():
        assert f" {task} " in told
    for line in re.split(r"\n  (?=[a-z])", said)[1:]:
        assert line.split("\n\n")[0].rstrip().endswith("."), line


@pytest.fixture
def printed(here, tiny, foreign_repo) -> dict[str, str]:
    """What is printed in a pipe in the course of a release, of one with a long name that fails, and of looking at
    them.
    """
    told = {"release": here(tiny, "release", *LOCAL).ok().both}
    foreign_repo.behave(tiny, CRASH=True)
    told["failure"] = here(tiny, "release", *LOCAL).both
    told["plan"] = here(tiny, "release", *LOCAL, "--plan").ok().both
    foreign_repo.behave(tiny, VERSION_TEXT="two")
    told["second"] = here(tiny, "release", *LOCAL).ok().both
    told["status"] = here(tiny, "status", *LOCAL).ok().both
    told["rollback"] = here(tiny, "rollback", *LOCAL).ok().both
    for words in (("history",), ("history", "--check"), ("verify",), ("logs",), ("reap",), ("down",)):
        told[" ".join(words)] = here(tiny, *words, *LOCAL).ok().both
    nothing = here(tiny, "status", *LOCAL)
    assert nothing.code == 1
    told["status of nothing"] = nothing.both
    return told


def test_nothing_is_wider_than_80_columns_or_coloured_in_a_pipe(printed):
    for name, text in printed.items():
        assert too_wide(text) == [], name
        assert ESCAPE not in text, name
        assert "\r" not in text, name
        assert text.endswith("\n"), name


def test_each_says_what_to_do_next(printed):
    assert "next     invoke status --env local" in printed["release"]
    assert "next: fix it, then run: invoke release --env local" in printed["failure"]
    assert "1.0.0 (r1) still has the traffic" in printed["failure"]
    assert "nothing was changed; next: invoke release --env local" in printed["plan"]
    assert "next  invoke logs --env local --follow" in printed["status"]
    assert "invoke release --env local" in printed["down"]
    assert "nothing: 1.0.0 (r1) is live in the ledger and does not run" in printed["status of nothing"]
    assert "next  invoke release --env local" in printed["status of nothing"]


def test_the_history_tells_why_what_failed_did(printed):
    assert "r2: the new version ended before it was healthy (exit code 3)" in printed["history"]
    assert "* has the traffic" in printed["history"]


def test_colour_comes_when_it_is_forced_and_never_against_no_color(here, tiny, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"{ESCAPE}[31merror: {ESCAPE}[0m" in here(tiny, "release").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE not in here(tiny, "release").err


# On a terminal -------------------------------------------------------------------------------------------------------


def slow_health(tiny, foreign_repo) -> None:
    foreign_repo.behave(tiny, SLOW_HEALTH=0.6)


@pytest.mark.parametrize("columns", [80, 44])
def test_a_spinner_turns_and_leaves_nothing_behind(here, tiny, state, foreign_repo, columns):
    slow_health(tiny, foreign_repo)
    code, screen, sent = on_a_terminal(tiny, state, "release", *LOCAL, columns=columns)
    assert code == 0, screen.text
    assert "start …" in re.sub(r"\x1b\[[0-9;]*m", "", sent), "no spinner was seen"
    assert screen.cursor, "the cursor stays hidden"
    shown = "\n".join(screen.text)
    assert not re.search("[⠀-⣿]", shown)
    assert "…" not in shown
    stages = [line.split()[1] for line in screen.text if re.match(r"  done  ", line)]
    assert stages == ["plan", "preflight", "build", "migrate", "start", "switch", "verify", "record"]
    assert f"{ESCAPE}[32mdone" in sent
    here(tiny, "down", *LOCAL).ok()


def test_no_colour_and_no_spinner_where_they_are_not_wanted(here, tiny, state):
    code, screen, sent = on_a_terminal(tiny, state, "release", *LOCAL, NO_COLOR="1", CI="1")
    assert code == 0, screen.text
    assert ESCAPE not in sent
    here(tiny, "down", *LOCAL).ok()


def test_a_failure_on_a_terminal_is_red_and_whole(tiny, state):
    code, screen, sent = on_a_terminal(tiny, state, "release")
    assert code == 3
    assert f"{ESCAPE}[31merror: {ESCAPE}[0m" in sent
    assert screen.text[0] == "error: say which environment: there is no default one"


# Nobody listens ------------------------------------------------------------------------------------------------------


def test_a_closed_pipe_stops_no_release(here, tiny, state):
    """`invoke release --env local 2>&1 | head -1`: the reader goes, the release goes on to its end."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [DEPLOYKIT, "release", *LOCAL], cwd=tiny, env=dict(os.environ), stdout=writing, stderr=writing
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.readline() == "release of tiny to local\n"
    assert process.wait(60) == 0
    status = here(tiny, "status", *LOCAL, "--json").ok().json
    assert status["live"] == "r1"
    assert status["unfinished"] == ""


@pytest.mark.parametrize("argv", [("--list",), ("status", *LOCAL), ("release", *LOCAL, "--plan")])
def test_a_pipe_that_is_closed_at_once_brings_no_traceback(tiny, state, argv):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [DEPLOYKIT, *argv],
            cwd=tiny,
            env=dict(os.environ),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
