"""What a command in the foreground (`Target.attach`) has on every target: input, output, signals, a terminal.

A test module subclasses `ForegroundContract` and gives it the fixtures `attached`: the argv of a program of its own
that attaches `python -c SOURCE` on that target and ends with its exit code; and `python`, as `TargetContract` has it.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time

import pytest

from deploykit.model.secret import MASK

SECONDS = 60.0
DRIVER = """
import json, sys
from pathlib import Path
from deploykit.credentials import Redactor
from deploykit.model import Labels, Secret
from deploykit.targets.interface import OneOff
{make}
labels = Labels(app=app, environment="test", release="r1", version="1", digest="sha256:00")
word = Secret("wren-and-finch")
one_off = OneOff(labels=labels, argv=tuple(json.loads(sys.argv[1])), cwd=Path("/"), image=image,
                 variables={{"WORD": word}})
code = target.attach(one_off, Redactor([word]))
sys.exit(code if code >= 0 else 128 - code)
"""
"""`make` gives `app`, `image` and `target`."""


class Terminal:
    """A terminal whose other end the test holds: it types, and reads what is on the screen."""

    def __init__(self, argv: list[str]) -> None:
        self.master, slave = pty.openpty()
        self.screen = ""
        words = ["setsid", "--ctty", *argv]  # it is the terminal of the program's session: Ctrl-C comes from there
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def until(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.screen += os.read(self.master, 65_536).decode()
                except OSError:  # nobody is at the other end any more
                    assert text in self.screen, self.screen

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


class ForegroundContract:
    @pytest.fixture
    def run(self, attached):
        """Start the command on pipes; what is left of it is killed."""
        started = []

        def start(source, **options):
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
            started.append(subprocess.Popen(attached(source), **pipes))
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.communicate()

    def test_it_has_our_input_output_and_errors_and_its_exit_code_is_ours(self, run):
        source = "import sys; print(sys.stdin.read().upper()); print('bad', file=sys.stderr); sys.exit(4)"
        process = run(source)
        out, err = process.communicate(b"a\nb\n", timeout=SECONDS)
        assert (process.returncode, out, err) == (4, b"A\nB\n\n", b"bad\n")

    def test_output_comes_while_it_runs(self, run):
        process = run("print('what?', flush=True); print('you said', input())")
        assert process.stdout.readline() == b"what?\n"
        out, _ = process.communicate(b"yes\n", timeout=SECONDS)
        assert (process.returncode, out) == (0, b"you said yes\n")

    def test_secrets_are_taken_out_and_every_other_byte_stays(self, run):
        source = (
            "import os, sys; out = sys.stdout.buffer; word = os.environ['WORD'].encode();"
            " out.write(bytes(range(256))); out.write(b'\\nkey=' + word); out.flush(); out.write(b' end')"
        )
        out, err = run(source).communicate(timeout=SECONDS)
        assert (out, err) == (bytes(range(256)) + b"\nkey=" + MASK.encode() + b" end", b"")

    def test_ctrl_c_and_sigterm_end_it(self, run):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = run("import time; print('up', flush=True); time.sleep(600)")
            assert process.stdout.readline() == b"up\n"
            process.send_signal(number)
            process.communicate(timeout=SECONDS)
            assert process.returncode == 128 + number

    def test_it_hears_that_nobody_reads_any_more(self, run):
        process = run("while True: print('line', flush=True)")
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        process.wait(timeout=SECONDS)
        assert process.returncode not in {0, None}

    def test_it_has_our_terminal(self, attached):
        source = "import os; print(*map(os.isatty, (0, 1, 2)), os.environ['WORD']); print('got', input('name: '))"
        terminal = Terminal(attached(source))
        terminal.until("True True True wren-and-finch")
        terminal.until("name: ")
        terminal.type("robin\r")
        terminal.until("got robin")
        assert terminal.process.wait(SECONDS) == 0

    def test_ctrl_c_on_the_terminal_is_the_commands(self, attached):
        source = "import time\ntry:\n  print('up', flush=True); time.sleep(600)\nexcept KeyboardInterrupt:\n  raise SystemExit(9)"
        terminal = Terminal(attached(source))
        terminal.until("up")
        terminal.type("\x03")
        terminal.until("^C")
        assert terminal.process.wait(SECONDS) == 9
