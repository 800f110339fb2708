"""An attacker who names files and branches, has an application print, or gives a reason: their text commands nothing.

In a pipe no control character comes through, on a terminal only those that the kit itself draws with.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.shared.terminal import on_a_terminal

LOCAL = ("--env", "local")
HIDING = "\x1b[5A\x1b[45m\x9b7m\x7f\r\u202e\u2066"
FILE = f"x\n{HIDING}secrets: PASSED (0.1 s)"
COMMAND = "::add-mask::x ##[add-mask]y"
LOGGED = f"log\tline {HIDING}healthy"
KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
OWN = re.compile(r"\x1b\[(?:1;)?(?:[0-2]|3[1-3])?m|\x1b\[2K|\x1b\[\?25[hl]")
"""What the kit draws with: its colours, a line that is taken back for the spinner, the cursor."""
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def check(said: str, *, terminal: bool = False) -> str:
    """Assert that nothing in it is a command; returns it."""
    text = OWN.sub("", said).replace("\r", "") if terminal else said
    assert not UNSAFE.findall(text), ascii(said)
    for line in text.splitlines():
        assert not line.lstrip().startswith(("::", "secrets: PASSED")), ascii(said)
        assert "##[" not in line
    return said


@pytest.fixture
def spoiled(tiny, foreign_repo):
    """Files with such names, one of them a secret, and a branch whose name turns the line around."""
    for name in (FILE, COMMAND.replace("/", "")):
        (tiny / f"{name}.env").write_text(f"AWS_ACCESS_KEY_ID={KEY}\n")
    foreign_repo.git(tiny, "checkout", "-q", "-b", "main\u202e")
    foreign_repo.git(tiny, "add", "-A")
    foreign_repo.git(tiny, "commit", "-qm", f"Change {HIDING}")
    return tiny


def test_names_of_files_command_nothing_in_the_output_of_gates(here, spoiled, state, monkeypatch):
    said = check(here(spoiled, "gate", "secrets").both)
    assert "x\\x0a\\x1b[5A\\x1b[45m\\x9b7m\\x7f\\x0d\\u202e\\u2066secrets: PASSED" in said
    code, _, sent = on_a_terminal(spoiled, state, "gate", "secrets")
    assert code == 1
    assert "\\x1b[5A" in check(sent, terminal=True)
    told = here(spoiled, "gate", "secrets", "--json")
    assert told.out.isascii()
    assert FILE in json.loads(told.out)["findings"][0]["path"] + json.loads(told.out)["findings"][1]["path"]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = here(spoiled, "gate", "secrets").both.splitlines()
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) == 2
    assert all(line.startswith("::error file=") and not UNSAFE.search(line) for line in commands)
    reports = spoiled / ".deploykit" / "reports"
    for report in ("secrets.sarif", "secrets.junit.xml"):
        assert not UNSAFE.search((reports / report).read_text())


def test_the_hooks_output_is_as_harmless(spoiled, typed, state):
    names = [f"{FILE}.env"]
    found = typed(state, spoiled, "deploykit-hook", "secrets", *names)
    assert found.code == 1
    check(found.both)
    absent = typed(state, spoiled, "deploykit-hook", "secrets", f"{FILE}.txt")
    assert absent.code == 3
    check(absent.both)


def test_what_an_application_prints_and_a_reason_says_commands_nothing(here, spoiled, state, foreign_repo):
    check(here(spoiled, "release", *LOCAL, "--plan").both)
    shout = f"\nprint({LOGGED!r}, flush=True)\nprint({COMMAND!r}, flush=True)\n"
    foreign_repo.behave(spoiled)
    with (spoiled / "behaviour.py").open("a") as stream:
        stream.write(shout)
    check(here(spoiled, "release", *LOCAL).ok().both)
    said = check(here(spoiled, "logs", *LOCAL).ok().both)
    assert "log\tline \\x1b[5A\\x1b[45m" in said
    code, _, sent = on_a_terminal(spoiled, state, "logs", *LOCAL)
    assert code == 0
    assert "\\x1b[5A" in check(sent, terminal=True)
    with (spoiled / "behaviour.py").open("a") as stream:
        stream.write("CRASH = True\n")
    code, _, sent = on_a_terminal(spoiled, state, "release", *LOCAL)
    assert code == 1
    assert "\\x1b[5A" in check(sent, terminal=True)
    check(here(spoiled, "lock", *LOCAL, "--reason", f"why\n{HIDING}{COMMAND}").ok().both)
    assert "\\x1b[5A" in check(here(spoiled, "status", *LOCAL).both)
    check(here(spoiled, "history", *LOCAL).both)
    told = here(spoiled, "status", *LOCAL, "--json").out
    assert told.isascii()
    assert "\x7f" not in told
    here(spoiled, "unlock", *LOCAL).ok()
    here(spoiled, "down", *LOCAL).ok()


def test_a_usage_error_says_the_word_back_harmlessly(here, tiny, typed, state):
    check(here(tiny, "release", "--env", f"local\n{HIDING}").both)
    done = typed(state, tiny, "deploykit-hook", f"secrets\n{HIDING}")
    assert done.code == 3
    check(done.both)
