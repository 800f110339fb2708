"""Signals that come while something is drawn on a terminal: whatever they interrupt, the release goes on and ends."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time

import pytest

ROUNDS = """
import os, random, signal, sys, threading
from deploykit.process.cancellation import Cancellation
from deploykit.release.reporting.reporter import Stages
from deploykit.release.workflow.signals import listening
from deploykit.rollout import Cancelled
from deploykit.tasks.terminal import TerminalReporter

sys.setswitchinterval(0.00001)  # the spinner's thread is met in the middle of what it does
chance = random.Random(int(sys.argv[1]))

def draw(stages, cancellation, name, times):
    for _ in range(times):
        with stages.stage(name):
            stages.reporter.note("something " * 5)
            cancellation.wait(0.001)

def after(seconds, number):
    timer = threading.Timer(seconds, os.kill, [os.getpid(), number])
    timer.start()
    return timer

for _ in range(12):
    cancellation = Cancellation()
    stages = Stages(TerminalReporter(), check=cancellation.check)
    try:
        with listening(cancellation, stages.warn):
            # The first one cancels, the second one is answered while the traffic is made safe.
            timers = [after(0.2 * chance.random(), number) for number in (signal.SIGTERM, signal.SIGINT)]
            try:
                draw(stages, cancellation, "switch", 2000)
            finally:
                cancellation.mask()
                draw(stages, cancellation, "restore", 20)
                for timer in timers:
                    timer.join()
    except Cancelled:
        print("cancelled")
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_signals_while_something_is_drawn_hang_nothing(seed: int):
    environ = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-c", ROUNDS, str(seed)], {**environ, "TERM": "xterm"})
    said, until = b"", time.monotonic() + 80
    try:
        while time.monotonic() < until:
            if not select.select([master], [], [], 0.5)[0]:
                continue
            try:
                said += os.read(master, 65536)
            except OSError:  # it has ended
                break
        else:
            pytest.fail("it hangs")
    finally:
        os.close(master)
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            time.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
    assert b"Traceback" not in said, said[-2000:].decode()
    assert said.count(b"cancelled\r\n") == 12
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL
