"""A supervisor in a short folder of its own, and small programs for it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deploykit.process.supervisor.client import Supervisor
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.interface import Program


@pytest.fixture
def home():
    """A short path: Unix sockets have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def until():
    """Wait for an event that this process can't be told of: `until(question, seconds)` answers the first true
    answer.
    """

    def wait(question, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.002)
        return answer

    return wait


@pytest.fixture
def gone():
    """Wait until a process has ended: `gone(pid)`."""

    def wait(pid, seconds=20.0):
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                assert select.select([descriptor], [], [], seconds)[0], f"not within {seconds} s"
            finally:
                os.close(descriptor)
        assert process_identity(pid) is None

    return wait


@pytest.fixture
def kill(supervisor, gone):
    """Kill the daemon with -9, and wait until it is gone."""

    def act():
        pid = supervisor.pid()
        os.kill(pid, signal.SIGKILL)
        gone(pid)

    return act


@pytest.fixture
def supervisor(home):
    """Ended afterwards with all that it runs. It must have had nothing to complain about."""
    one = Supervisor(home / "supervisor")
    yield one
    one.shutdown()
    log = home / "supervisor" / "daemon.log"
    assert not log.exists() or log.read_text() == ""


@pytest.fixture
def program(home):
    """Make a Program: `program("name", "python source")`, or `program("name", argv=[...])`."""

    def make(name, source="import time; time.sleep(60)", *, argv=(), **values):
        return Program(
            **{
                "name": name,
                "argv": tuple(argv) or (sys.executable, "-I", "-S", "-u", "-c", source),
                "cwd": home,
                "env": {"PATH": os.environ["PATH"]},
                "log": home / "logs" / f"{name}.log",
                **values,
            }
        )

    return make


@pytest.fixture
def free_address():
    """An address of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
