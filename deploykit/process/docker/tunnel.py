"""A tunnel to an engine behind ssh: its socket, and ports of its machine, on this one.

One ssh process and one handshake for a whole command. It runs `cat` over there, which ends with its standard input:
so nothing is left behind when the kit is killed. It runs in its own session: Ctrl-C ends the release, and the
release still needs the engine to put things right.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploykit.model import DeploykitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Tunnel"]

_SOCKET = "/var/run/docker.sock"
_OPEN_SECONDS = 30.0
_ATTEMPTS = 5
_OPTIONS = {
    "BatchMode": "yes",  # nobody is there to type a password
    "ConnectTimeout": "10",
    "ControlMaster": "yes",
    "ControlPersist": "no",
    "ExitOnForwardFailure": "yes",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}


class Tunnel:
    """`url` is `ssh://[user@]host[:port][/path/of/docker.sock]`; `ssh` the argv that starts ssh."""

    def __init__(self, url: str, *, ssh: Sequence[str] = ("ssh",)) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
            raise UsageError(f"{url} names no host", next_step="set DOCKER_HOST=ssh://user@host")
        self._url = url
        self._host = parts.hostname
        self._login = (
            *(("-l", parts.username) if parts.username else ()),
            *(("-p", str(parts.port)) if parts.port else ()),
        )
        self._remote = parts.path if len(parts.path) > 1 else _SOCKET
        self._ssh = tuple(ssh)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._forwards: dict[int, int] = {}

    def open(self) -> Path:
        """The path of a Unix socket on which the engine answers. Raises DeploykitError with ssh's own words."""
        # Short, whatever TMPDIR says: a Unix socket's path has at most 107 bytes (103 on macOS).
        self._folder = Path(tempfile.mkdtemp(prefix="dk-ssh-", dir="/tmp"))  # nosec B108 - mkdtemp: 0700
        atexit.register(self.close)
        here = self._folder / "docker.sock"
        argv = [
            *self._ssh,
            *(word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")),
            *("-T", "-S", str(self._control), "-L", f"{here}:{self._remote}", *self._login, "--", self._host, "cat"),
        ]
        try:
            with (self._folder / "said").open("wb") as said_file:
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said_file, start_new_session=True
                )
        except FileNotFoundError:
            self.close()
            raise UsageError(f"{self._ssh[0]} is not installed", next_step="apt-get install openssh-client") from None
        deadline = time.monotonic() + _OPEN_SECONDS
        while not (here.exists() and self._control.exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "said").read_text(errors="replace").splitlines()[-5:]
                self.close()
                raise DeploykitError(
                    f"no ssh connection to {self._host}",
                    details=said,
                    next_step=" ".join(("ssh", *self._login, self._host, "docker version")),
                )
            time.sleep(0.01)
        return here

    def forward(self, port: int) -> int:
        """The port of this machine's loopback that leads to that port of the other's."""
        if port in self._forwards:
            return self._forwards[port]
        said = ""
        for _ in range(_ATTEMPTS):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                here = int(probe.getsockname()[1])
            done = subprocess.run(
                [
                    *self._ssh,
                    *("-S", str(self._control), "-O", "forward", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"),
                    *(*self._login, "--", self._host),
                ],
                capture_output=True,
                text=True,
                timeout=_OPEN_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                self._forwards[port] = here
                return here
            said = done.stderr.strip()
        raise DeploykitError(f"port {port} of {self._host} can't be forwarded", details=said.splitlines())

    @property
    def _control(self) -> Path:
        assert self._folder is not None  # noqa: S101  # nosec B101 - opened before
        return self._folder / "control"

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._process is not None:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._process.terminate()
            self._process.wait(10)
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._forwards.clear()
