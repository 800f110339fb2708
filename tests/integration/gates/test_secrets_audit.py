"""`invoke secrets.audit` in a real terminal: a pseudo-terminal on which a test types."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploykit.gates.secretscan.baseline import read_baseline

KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
PROGRAM = str(Path(sys.executable).with_name("deploykit"))
SECONDS = 60.0


@pytest.fixture
def labelled(shop, gate_environment):
    """Write a baseline, and audit with these keys; gives what was shown, the exit code and the labels."""
    shop.write({"shop/a.py": f'one = 1\nkey = "{KEY}"\n', "shop/b.py": 'password = "larch-tree"\n'})
    shop.commit()
    subprocess.run([PROGRAM, "secrets.baseline"], cwd=shop.root, env=gate_environment, check=True, capture_output=True)

    def audit(*keys, more=()):
        process, terminal = _on_a_terminal([PROGRAM, "secrets.audit", *more], shop.root, gate_environment)
        shown = ""
        try:
            for key in keys:
                shown += _until(terminal, "[q]uit: ")
                os.write(terminal, f"{key}\n".encode())
            shown += _until(terminal, "")
            code = process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
        entries = read_baseline(shop.root / ".secrets.baseline").entries
        return shown, code, {path: entry.is_secret for (path, _, _), entry in entries.items()}

    return audit


def _on_a_terminal(argv, root, environment):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(argv, cwd=root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return process, ours


def _until(terminal, word):
    """What is shown until the word, or, without a word, until the end."""
    text = ""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if word and text.endswith(word):
            return text
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                read = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                return text
            if not read:
                return text
            text += read.decode()
    raise AssertionError(f"no {word!r} in {text!r}")


def test_answers_are_labels(labelled):
    shown, code, labels = labelled("y", "n")
    assert "shop/a.py:2" in shown
    assert KEY in shown
    assert (code, labels) == (0, {"shop/a.py": True, "shop/b.py": False})


def test_skipping_labels_nothing_and_an_unknown_key_asks_again(labelled):
    _, code, labels = labelled("s", "what?", "n")
    assert (code, labels) == (0, {"shop/a.py": None, "shop/b.py": False})


def test_quitting_keeps_what_was_answered(labelled):
    shown, code, labels = labelled("n", "q")
    assert "1 left" in shown
    assert (code, labels) == (0, {"shop/a.py": False, "shop/b.py": None})
    again, _, labels = labelled("y")
    assert "1 of 1" in again
    assert labels == {"shop/a.py": False, "shop/b.py": True}


def test_when_all_is_labelled_there_is_nothing_to_ask_but_with_all(labelled):
    labelled("n", "n")
    shown, code, _ = labelled()
    assert ("Every entry is labelled." in shown, code) == (True, 0)
    _, _, labels = labelled("y", "q", more=["--all"])
    assert labels == {"shop/a.py": True, "shop/b.py": False}


def test_without_a_terminal_it_is_a_clear_usage_error(shop, gate_environment):
    shop.commit()
    done = subprocess.run(
        [PROGRAM, "secrets.audit"],
        cwd=shop.root,
        env=gate_environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "terminal" in done.stderr


def test_without_a_baseline_it_says_how_to_make_one(shop, gate_environment):
    shop.commit()
    process, terminal = _on_a_terminal([PROGRAM, "secrets.audit"], shop.root, gate_environment)
    shown = _until(terminal, "")
    assert process.wait(SECONDS) == 3
    os.close(terminal)
    assert "secrets.baseline" in shown
