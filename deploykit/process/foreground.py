"""A program in the foreground: it has this process's input, output and signals.

On a terminal it has the terminal itself, and what it prints goes there untouched. Elsewhere its output passes through
line by line, so that secrets can be taken out of it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import DeploykitError
from deploykit.process.run import CommandNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Identity", "Output", "forwarding", "has_terminal", "run_in_foreground"]

_BLOCK = 65_536
_LONGEST_LINE = 1 << 20
"""Bytes without an end of line that are kept at most: more is no text, such as a dump of a database."""
_HELD_BACK = 1 << 16
"""Bytes of a longer line that are not passed on yet: a secret may have begun in them."""
_OPEN_PIPE_SECONDS = 1.0
_GRACE_SECONDS = 5.0


def has_terminal() -> bool:
    """Whether input, output and errors of this process are all a terminal."""
    return all(os.isatty(descriptor) for descriptor in (0, 1, 2))


class Output:
    """Passes output on to a descriptor of this process, whole lines at a time, through `redact`. Bytes stay as they
    are.
    """

    def __init__(self, descriptor: int, redact: Callable[[str], str]) -> None:
        self._descriptor = descriptor
        self._redact = redact
        self._rest = b""
        self.broken = False
        """Nobody reads it any more."""

    def feed(self, data: bytes) -> None:
        whole, end, self._rest = (self._rest + data).rpartition(b"\n")
        self._write(whole + end)
        if len(self._rest) > _LONGEST_LINE:
            self._write(self._rest[:-_HELD_BACK])
            self._rest = self._rest[-_HELD_BACK:]

    def end(self) -> None:
        self._write(self._rest)
        self._rest = b""

    def _write(self, data: bytes) -> None:
        left = self._redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        while left and not self.broken:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BrokenPipeError:
                self.broken = True


@contextlib.contextmanager
def forwarding(send: Callable[[int], object], numbers: Sequence[int]) -> Iterator[None]:
    """Within the block `send` gets these signals, instead of this process. What was ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: old for number in numbers if (old := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, lambda number, _frame: send(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """An OS user with its groups, by number."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def run_in_foreground(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    redact: Callable[[str], str],
    identity: Identity | None = None,
) -> int:
    """Run the program to its end; its exit code, negative for a signal. `identity`: who it is; None: this process's.

    Ctrl-C and SIGTERM end the program, not this process. Raises CommandNotFound, DeploykitError when it can't be
    started, and BrokenPipeError when the output was not read to its end.
    """
    if shutil.which(argv[0], path=env.get("PATH", os.defpath)) is None:
        raise CommandNotFound(argv[0])
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    terminal = has_terminal()
    pipe = None if terminal else subprocess.PIPE
    try:
        # On the terminal it is in the foreground with us, and gets Ctrl-C from there; elsewhere from us alone.
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdout=pipe,
            stderr=pipe,
            start_new_session=not terminal,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=identity.groups if identity else None,
        )
    except OSError as error:
        raise DeploykitError(f"{argv[0]} can't be started: {error.strerror}", details=(str(cwd),)) from None
    try:
        return _on_terminal(process) if terminal else _by_pipes(process, redact)
    finally:
        _end(process, group=not terminal)


def _on_terminal(process: subprocess.Popen[bytes]) -> int:
    with (
        forwarding(process.send_signal, (signal.SIGTERM, signal.SIGHUP)),
        forwarding(lambda _number: None, (signal.SIGINT, signal.SIGQUIT)),
    ):
        return process.wait()


def _by_pipes(process: subprocess.Popen[bytes], redact: Callable[[str], str]) -> int:
    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    outputs = (Output(1, redact), Output(2, redact))
    with forwarding(send, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), selectors.DefaultSelector() as selector:
        for pipe, output in zip((process.stdout, process.stderr), outputs, strict=True):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, (pipe, output))
        _pass_on(process, selector)
        for output in outputs:
            output.end()
        code = process.wait()
    if any(output.broken for output in outputs):
        raise BrokenPipeError
    return code


def _pass_on(process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
    """Until the program's output has ended. What it left in the background may hold the pipes open for longer."""
    silent_since = time.monotonic()
    while selector.get_map():
        ready = selector.select(0.1)
        for key, _ in ready:
            (pipe, output), data = key.data, os.read(key.fd, _BLOCK)
            output.feed(data)
            if not data or output.broken:
                selector.unregister(pipe)
                pipe.close()  # who goes on printing hears that nobody reads
        if ready or process.poll() is None:
            silent_since = time.monotonic()
        elif time.monotonic() - silent_since > _OPEN_PIPE_SECONDS:
            return


def _end(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """End the program where an error came before its end, and let go of its pipes."""
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM) if group else process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()
