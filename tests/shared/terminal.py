"""A command on a pseudo-terminal, and what stays on its screen."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
import unicodedata
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

DEPLOYKIT = str(Path(sys.executable).parent / "deploykit")


class Screen:
    """As much of a terminal as is needed to see what stays on it."""

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column, self.cursor = columns, [[]], 0, 0, True

    def feed(self, text: str) -> None:
        while text:
            if found := re.match(r"\x1b\[([?0-9;]*)([A-Za-z])", text):
                self.control(found[1], found[2])
                text = text[found.end() :]
                continue
            char, text = text[0], text[1:]
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self.down()
            elif unicodedata.category(char)[0] != "C":
                self.put(char)

    def put(self, char: str) -> None:
        if self.column >= self.columns:
            self.column = 0
            self.down()
        line = self.lines[self.row]
        line += [" "] * (self.column + 1 - len(line))
        line[self.column] = char
        self.column += 1

    def down(self) -> None:
        self.row += 1
        while len(self.lines) <= self.row:
            self.lines.append([])

    def control(self, words: str, letter: str) -> None:
        match letter:
            case "A":
                self.row = max(0, self.row - int(words or 1))
            case "K" if words == "2":
                self.lines[self.row] = []
            case "K":
                del self.lines[self.row][self.column :]
            case "h" | "l" if words == "?25":
                self.cursor = letter == "h"
            case "m":
                pass
            case _:
                pytest.fail(f"the screen knows no ESC [ {words} {letter}")

    @property
    def text(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


def on_a_terminal(repo: Path, state: Path, *argv: str, columns: int = 80, **env: str) -> tuple[int, Screen, str]:
    """Run a command on a pseudo-terminal of so many columns; its exit code, the screen, and all that was sent to it."""
    leader, follower = pty.openpty()
    ioctl(follower, TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables = kept | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "DEPLOYKIT_STATE_DIR": str(state)} | env
    process = subprocess.Popen(
        [DEPLOYKIT, *argv], cwd=repo, env=variables, stdin=follower, stdout=follower, stderr=follower, close_fds=True
    )
    os.close(follower)
    sent, until = b"", time.monotonic() + 90
    try:
        while time.monotonic() < until:
            if not select.select([leader], [], [], 1.0)[0]:
                continue
            try:
                data = os.read(leader, 65536)
            except OSError:
                break  # Linux's way of saying that nobody has the other end any more
            if not data:
                break
            sent += data
        code = process.wait(10)
    finally:
        process.kill()
        process.wait(10)
        os.close(leader)
    text = sent.decode()
    screen = Screen(columns)
    screen.feed(text)
    return code, screen, text
