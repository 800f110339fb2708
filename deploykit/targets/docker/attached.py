"""A one-off container in the foreground: it has this process's input and output, and its terminal if there is one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
import tty
from pathlib import PurePath
from typing import TYPE_CHECKING

from deploykit.process.docker import Engine, EngineError, Stream
from deploykit.process.foreground import Output, forwarding
from deploykit.targets.docker.oneoff import ended_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["run_attached"]

_BLOCK = 65_536
_END_SECONDS = 10.0


def run_attached(engine: Engine, container: str, program: str, redact: Callable[[str], str], *, terminal: bool) -> int:
    """Run a container that was made with an input to its end, and remove it; its exit code, negative for a signal.

    Without a terminal, SIGINT, SIGTERM and SIGHUP are the command's; with one, Ctrl-C is a key that its terminal reads.
    """
    for each in (sys.stdout, sys.stderr):
        each.flush()
    try:
        with contextlib.closing(engine.attach(container)) as stream:
            engine.start(container)
            if terminal:
                with _raw_terminal(), _same_size(engine, container):
                    _feed(stream)
                    while piece := stream.piece():
                        os.write(1, piece)
            else:
                with _signals(engine, container):
                    _feed(stream)
                    _pass_on(stream, redact)
        engine.wait(container, timeout=_END_SECONDS)  # its output ends a moment before it does
        return ended_with(engine, container, PurePath(program).name)
    finally:
        engine.remove_container(container)


def _pass_on(stream: Stream, redact: Callable[[str], str]) -> None:
    """Raises BrokenPipeError when nobody reads any more."""
    outputs = {1: Output(1, redact), 2: Output(2, redact)}
    while (frame := stream.frame()) is not None:
        where, data = frame
        outputs[where].feed(data)
        if outputs[where].broken:
            raise BrokenPipeError
    for output in outputs.values():
        output.end()


def _feed(stream: Stream) -> None:
    """Pass this process's input on, in a thread that ends with the process: nothing can interrupt its reading."""

    def pass_on() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(0, _BLOCK):
                stream.write(data)
            stream.end_input()

    threading.Thread(target=pass_on, daemon=True, name="input").start()


@contextlib.contextmanager
def _signals(engine: Engine, container: str) -> Iterator[None]:
    def send(number: int) -> None:
        with contextlib.suppress(EngineError):  # it has ended
            engine.kill(container, signal.Signals(number).name)

    with forwarding(send, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys go to the command as they are."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _same_size(engine: Engine, container: str) -> Iterator[None]:
    """Within the block the container's terminal has the size of ours."""

    def resize(_number: int) -> None:
        size = os.get_terminal_size(1)
        with contextlib.suppress(EngineError):  # it has ended
            engine.resize_terminal(container, rows=size.lines, columns=size.columns)

    resize(0)
    with forwarding(resize, (signal.SIGWINCH,)):
        yield
