"""Run a program to its end: argv only, never a shell; streamed, timed, redacted, killed with its children."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from deploykit.model.errors import DeploykitError, UsageError
from deploykit.process.cancellation import NEVER, Cancellation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


__all__ = ["CommandFailed", "CommandNotFound", "CommandTimedOut", "Completed", "ending_programs", "run"]

_TAIL = 20
_GRACE_SECONDS = 5.0
_OPEN_PIPE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A program that ended. `seconds` is wall time; output is text, with undecodable bytes replaced."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class CommandFailed(DeploykitError):
    """The program answered something else than 0; `completed` has what it printed."""

    def __init__(self, completed: Completed, *, next_step: str = "") -> None:
        said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-_TAIL:]
        super().__init__(
            f"{PurePath(completed.argv[0]).name} failed with exit code {completed.returncode}",
            details=said,
            next_step=next_step,
        )
        self.completed = completed


class CommandTimedOut(DeploykitError):
    """The program was killed with its children after `timeout` seconds."""

    def __init__(self, completed: Completed, timeout: float) -> None:
        said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-_TAIL:]
        super().__init__(
            f"{PurePath(completed.argv[0]).name} did not end within {timeout:g} s and was killed", details=said
        )
        self.completed = completed


class CommandNotFound(UsageError):
    """There is no such program."""

    def __init__(self, program: str, *, next_step: str = "") -> None:
        super().__init__(f"there is no program {program!r} on PATH", next_step=next_step)
        self.program = program


class _Current:
    """What ends the programs of this process."""

    cancellation = NEVER


@contextlib.contextmanager
def ending_programs(cancellation: Cancellation) -> Iterator[None]:
    """Within the block a cancellation ends every program that `run` runs, in any thread; `run` raises Cancelled then.

    Not an argument of `run`: a signal comes to the process as a whole, and so does this. Each of some 30 callers, down
    to the git command that reads a tag, would do no more than hand it on.
    """
    before, _Current.cancellation = _Current.cancellation, cancellation
    try:
        yield
    finally:
        _Current.cancellation = before


def run(  # noqa: PLR0913 - the knobs of a child process, all by keyword
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float | None = None,
    check: bool = True,
    redact: Callable[[str], str] = str,
    on_line: Callable[[str, str], None] | None = None,
    umask: int = -1,
) -> Completed:
    """Run `argv` to its end and return what it printed.

    `env` replaces the environment (None: inherited). `timeout` is in seconds; past it, and on any exception (Ctrl-C, a
    cancellation), the whole process group gets SIGTERM and, 5 s later, SIGKILL. `on_line(stream, line)` is called as
    lines arrive, `stream` being "stdout" or "stderr". `redact` is applied to everything that is kept or handed on.
    `umask` is the program's (-1: inherited).

    Raises CommandNotFound, CommandTimedOut, CommandFailed when `check` and the exit code is not 0, and within
    `ending_programs` Cancelled.
    """
    words = tuple(os.fspath(word) for word in argv)
    path = (env if env is not None else os.environ).get("PATH", os.defpath)
    if shutil.which(words[0], path=path) is None:
        raise CommandNotFound(words[0])
    started = time.monotonic()
    process: subprocess.Popen[bytes] | None = None
    try:
        with _signals_deferred():
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env=dict(env) if env is not None else None,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                umask=umask,
            )
        pump = _Pump(process, redact, on_line)
        timed_out = pump.run(stdin.encode(), timeout)
    finally:
        if process is not None:
            _end_group(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
    completed = Completed(
        argv=tuple(redact(word) for word in words),
        returncode=process.returncode,
        stdout="".join(pump.streams["stdout"]),
        stderr="".join(pump.streams["stderr"]),
        seconds=time.monotonic() - started,
    )
    if timed_out:
        raise CommandTimedOut(completed, timeout or 0.0)
    if check and completed.returncode != 0:
        raise CommandFailed(completed)
    return completed


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Keep signals back whose handlers may raise: between a child's fork and knowing it, that would lose the child.

    Where a cancellation is listened to, no handler raises, and a signal that is sent again would count twice.
    """
    if threading.current_thread() is not threading.main_thread() or _Current.cancellation is not NEVER:
        yield
        return
    came: list[int] = []
    asking = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in asking.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


class _Pump:
    """Feeds and reads a program's pipes until it has ended."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        redact: Callable[[str], str],
        on_line: Callable[[str, str], None] | None,
    ) -> None:
        self.streams: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._process = process
        self._redact = redact
        self._on_line = on_line
        self._rest = {"stdout": b"", "stderr": b""}
        self._stdin = b""

    def run(self, stdin: bytes, timeout: float | None) -> bool:
        """True when the time ran out before the program ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._stdin = stdin
        with selectors.DefaultSelector() as selector:
            self._register(selector)
            if self._read(selector, deadline):
                return True
        for name in ("stdout", "stderr"):
            self._emit_lines(name, b"", last=True)
        while self._process.poll() is None:
            if self._is_over(deadline):
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        return False

    def _is_over(self, deadline: float | None) -> bool:
        """Whether the time ran out. Raises Cancelled."""
        _Current.cancellation.check()
        return deadline is not None and time.monotonic() >= deadline

    def _register(self, selector: selectors.BaseSelector) -> None:
        pipe = self._process.stdin
        if pipe is not None and self._stdin:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_WRITE, "stdin")
        elif pipe is not None:
            pipe.close()
        for name in ("stdout", "stderr"):
            selector.register(getattr(self._process, name), selectors.EVENT_READ, name)

    def _read(self, selector: selectors.BaseSelector, deadline: float | None) -> bool:
        ended_at: float | None = None
        while any(key.data != "stdin" for key in selector.get_map().values()):
            if self._is_over(deadline):
                return True
            # A grandchild may hold the pipes open after the program ended: its output is not waited for.
            if self._process.poll() is not None:
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > _OPEN_PIPE_SECONDS:
                    return False
            for key, _ in selector.select(0.1):
                if key.data == "stdin":
                    self._feed(selector)
                else:
                    data = os.read(key.fd, 65536)
                    self._emit_lines(key.data, data, last=not data)
                    if not data:
                        selector.unregister(key.fileobj)
        return False

    def _feed(self, selector: selectors.BaseSelector) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            self._stdin = self._stdin[os.write(pipe.fileno(), self._stdin[:65536]) :]
        except BrokenPipeError:
            self._stdin = b""
        if not self._stdin:
            selector.unregister(pipe)
            pipe.close()

    def _emit_lines(self, name: str, data: bytes, *, last: bool) -> None:
        *lines, tail = (self._rest[name] + data).split(b"\n")
        self._rest[name] = b"" if last else tail
        for raw in [*(line + b"\n" for line in lines), *([tail] if last and tail else [])]:
            line = self._redact(raw.decode("utf-8", "replace"))
            self.streams[name].append(line)
            if self._on_line is not None:
                self._on_line(name, line.rstrip("\n"))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's group; a finished program with no children left costs nothing."""
    if process.poll() is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
