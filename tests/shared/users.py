"""Another user of this machine, who attacks: a real one, so only root can play both."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ATTACKER", "OPERATOR", "Attacker", "attacker", "in_a_child", "kit_for_all", "operator_words"]

ROOT = Path(__file__).resolve().parents[2]
OPERATOR, ATTACKER = 61_001, 61_002
"""User ids that no account has."""
_STATUS = {"pid": 1, "exit_code": None, "restarts": 0, "started_at": 0.0, "keep_alive": False, "labels": {}}


def kit_for_all() -> tuple[tuple[str, ...], dict[str, str]] | None:
    """The words and the variables by which any user can run the kit of these tests; None where no Python of this version
    is open to all, since this one may be in root's home.
    """
    test = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    site = next(path for path in sys.path if path.endswith("site-packages"))
    for python in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [python, "-I", "-c", test], user=OPERATOR, group=OPERATOR, extra_groups=[], cwd="/", check=False
            )
            if done.returncode == 0:
                variables = {
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{site}",
                    "LANG": "C.UTF-8",
                }
                return (python, "-c", "from deploykit.tasks.program import main; main()"), variables
    return None


def operator_words() -> tuple[str, ...]:
    """The words before a command that run it as OPERATOR. It may read everything, since these tests' own sources may be
    closed to it otherwise; what it makes, owns and writes is an ordinary user's.
    """
    capability = "+dac_read_search"
    return (
        *("setpriv", f"--reuid={OPERATOR}", f"--regid={OPERATOR}", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}", "--"),
    )


@dataclass(frozen=True)
class Attacker:
    """What it got to see, in a file of its own."""

    seen: Path

    @property
    def received(self) -> str:
        return self.seen.read_text() if self.seen.exists() else ""


@contextlib.contextmanager
def attacker(folder: Path, *sockets: Path) -> Iterator[Attacker]:
    """A process of ATTACKER that listens on these paths, made with all that is missing above them, and answers like a
    supervisor whatever it is asked. `folder`: a place that it may write to.
    """
    ready_read, ready_write = os.pipe()
    seen = folder / "received"

    def attack() -> None:
        waiting = selectors.DefaultSelector()
        for path in sockets:
            made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
            path.parent.mkdir(parents=True)
            for each in made:
                each.chmod(0o777)
            os.chdir(path.parent)
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.bind(path.name)
            path.chmod(0o777)
            server.listen()
            waiting.register(server, selectors.EVENT_READ)
        os.write(ready_write, b"r")
        while True:
            for key, _ in waiting.select():
                client, _ = key.fileobj.accept()  # type: ignore[union-attr]
                with client, client.makefile("rwb") as lines, contextlib.suppress(OSError):
                    asked = lines.readline()
                    with seen.open("ab") as file:
                        file.write(asked)
                    lines.write(json.dumps({"ok": _answer(json.loads(asked or b"{}"))}).encode() + b"\n")

    pid = in_a_child(ATTACKER, attack)
    os.close(ready_write)
    try:
        assert os.read(ready_read, 1), "the attacker could not prepare itself"
        yield Attacker(seen)
    finally:
        os.close(ready_read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(request: dict[str, object]) -> object:
    program = request.get("program")
    if isinstance(program, dict):
        return {**_STATUS, "name": program["name"], "argv": program["argv"], "log": program["log"]}
    return [] if request.get("op") == "programs" else {"protocol": 2, "pid": 1}


def in_a_child(uid: int, work: Callable[[], None]) -> int:
    """Do it in a fork of this process that is the user `uid` and nobody else; its process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0)
            work()
            code = 0
        except BaseException:  # it is this process's last word
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid
