"""The kit's agent inside the edge's container: files of its volume, and HAProxy's socket, which no network reaches.

One `docker exec` costs a tenth of a second, and a release asks some dozen times. So one small program is started there
and answers over its standard input and output for as long as the kit's command lives; it ends with its input, also
when the kit is killed. It is Perl, since that is what every Debian image has (the official HAProxy image is one; it
has neither socat nor Python).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.edge.config import SOCKET
from deploykit.edge.errors import EdgeError, RuntimeUnreachable
from deploykit.edge.runtime import RuntimeAPI

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.model import DeploykitError
    from deploykit.process.docker import Engine, Stream

__all__ = ["FOLDER", "Agent", "AgentRuntime"]

FOLDER = "/var/lib/deploykit-edge"
"""Where the edge's volume is mounted."""

_SECONDS = 15.0
_STANDARD_ERROR = 2
_PROGRAM = r"""
use strict; use IO::Handle; use IO::Socket::UNIX; use Time::HiRes;
binmode STDIN; binmode STDOUT; umask 077;
sub answer { my ($code, $text) = @_; print STDOUT $code, " ", length($text), "\n", $text; STDOUT->flush }
while (defined(my $head = <STDIN>)) {
  my ($what, $path, $size) = split / /, $head; my $data = "";
  while (length($data) < $size) { read(STDIN, $data, $size - length($data), length $data) or exit }
  alarm 10;
  if ($what eq "ask") {
    my $to = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $path);
    if (!$to) { answer("failed", "$!"); next }
    print $to $data; $to->flush; local $/; my $said = <$to>; answer("ok", defined $said ? $said : "");
  } elsif ($what eq "read") {
    if (open(my $file, "<", $path)) { binmode $file; local $/; my $text = <$file>; answer("ok", $text) }
    else { answer($!{ENOENT} ? "missing" : "failed", "$!") }
  } elsif ($what eq "write") {
    my ($file, $folder);
    if (open($file, ">", "$path.new") && binmode($file) && print($file $data) && $file->flush && $file->sync
        && close($file) && rename("$path.new", $path) && open($folder, "<", ".") && $folder->sync) { answer("ok", "") }
    else { answer("failed", "$!") }
  } elsif ($what eq "now") { answer("ok", int(Time::HiRes::time() * 1000)) }
  alarm 0;
}
"""


class Agent:
    """Sends requests to the container that `container` names, and starts if needed, on each call."""

    def __init__(self, engine: Engine, container: Callable[[], str]) -> None:
        self._engine = engine
        self._container = container
        self._stream: Stream | None = None
        self._buffer = b""
        self._lock = threading.RLock()

    def read(self, name: str) -> str | None:
        """The file's text, None if there is none."""
        code, text = self._exchange("read", name)
        return None if code == "missing" else text.decode("utf-8", "replace")

    def write(self, name: str, text: str) -> None:
        """Replace the file; it is on the disk when this returns, and never half."""
        self._exchange("write", name, text.encode())

    def ask(self, command: str, socket: str = SOCKET) -> str:
        """What HAProxy answers. Raises RuntimeUnreachable when it does not run."""
        return self._exchange("ask", socket, command.encode())[1].decode("utf-8", "replace")

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the clock of HAProxy's machine."""
        return int(self._exchange("now", "-")[1])

    def is_connected(self) -> bool:
        """Whether it is connected already, and what it is connected to still runs."""
        with self._lock:
            try:
                return self._stream is not None and self._exchange_once("now", "-", b"")[0] == "ok"
            except (OSError, ValueError):
                return False

    def close(self) -> None:
        """Close the connection to the container. A thread that waits for an answer stops waiting."""
        if (stream := self._stream) is not None:
            stream.end()
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._buffer = b""

    def _exchange(self, what: str, path: str, data: bytes = b"") -> tuple[str, bytes]:
        """Every request can be repeated, so a broken connection is reopened once."""
        with self._lock:
            try:
                code, text = self._exchange_once(what, path, data)
            except (OSError, ValueError):
                try:
                    code, text = self._exchange_once(what, path, data)
                except (OSError, ValueError) as error:
                    raise EdgeError(
                        "the edge's container does not answer",
                        details=(str(error) or "it ended", "its image needs perl, as every Debian image has it"),
                        next_step="invoke status",
                    ) from None
        if code == "failed":
            kind: type[DeploykitError] = RuntimeUnreachable if what == "ask" else EdgeError
            said = text.decode("utf-8", "replace")
            raise kind(
                "HAProxy's runtime socket does not answer" if what == "ask" else f"{path}: {said}", details=(said,)
            )
        return code, text

    def _exchange_once(self, what: str, path: str, data: bytes) -> tuple[str, bytes]:
        try:
            if self._stream is None:
                self._stream = self._engine.open_exec(
                    self._container(), ["perl", "-e", _PROGRAM], user="0:0", workdir=FOLDER, timeout=_SECONDS
                )
            self._stream.write(f"{what} {path} {len(data)}\n".encode() + data)
            while b"\n" not in self._buffer:
                self._buffer += self._read_piece(self._stream)
            line, _, self._buffer = self._buffer.partition(b"\n")
            code, _, size = line.decode().partition(" ")
            while len(self._buffer) < int(size):
                self._buffer += self._read_piece(self._stream)
        except BaseException:
            # For example a cancellation: the rest of the answer on this connection belongs to a request that has ended.
            self._disconnect()
            raise
        text, self._buffer = self._buffer[: int(size)], self._buffer[int(size) :]
        return code, text

    @staticmethod
    def _read_piece(stream: Stream) -> bytes:
        frame = stream.frame()
        if frame is None:
            raise ValueError("it ended")
        printed_on, piece = frame
        if printed_on == _STANDARD_ERROR:
            raise ValueError(piece.decode("utf-8", "replace").strip())
        return piece


class AgentRuntime(RuntimeAPI):
    """The runtime API by way of the agent."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(Path(FOLDER) / SOCKET)
        self._agent = agent

    def ask(self, *commands: str) -> str:
        return self._agent.ask(";".join(commands) + "\n")

    def node(self) -> str:
        """The host name of the process that answers, which is its container's short id; empty when none does."""
        try:
            answer = self.ask("show info")
        except RuntimeUnreachable:
            return ""
        return next((line[6:].strip() for line in answer.splitlines() if line.startswith("node: ")), "")
