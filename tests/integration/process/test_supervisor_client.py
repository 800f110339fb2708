"""What the client says when no supervisor can be had."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from deploykit.process.supervisor import client
from deploykit.process.supervisor.client import SupervisorError
from deploykit.process.supervisor.daemon.folder import make_private
from deploykit.process.supervisor.daemon.identity import process_identity


@pytest.fixture
def interpreter(home, monkeypatch):
    """Have a script in the place of the base interpreter."""

    def put(script):
        path = home / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(client, "base_interpreter", lambda: str(path))

    return put


def test_a_base_interpreter_that_is_gone(supervisor, program, monkeypatch):
    monkeypatch.setattr(client, "base_interpreter", lambda: "/nowhere/python")
    with pytest.raises(SupervisorError, match="the base Python interpreter can't be run") as caught:
        supervisor.start(program("web"))
    assert caught.value.details == ("/nowhere/python",)
    assert caught.value.next_step


def test_a_daemon_that_fails_at_its_start(supervisor, program, interpreter):
    interpreter("echo 'Fatal Python error' >&2; exit 1")
    with pytest.raises(SupervisorError, match="ended with exit code 1") as caught:
        supervisor.start(program("web"))
    assert caught.value.details == ("Fatal Python error",)
    (supervisor.folder / "daemon.log").write_text("")


def test_another_daemon_that_never_listens(supervisor, program, interpreter, monkeypatch):
    monkeypatch.setattr(client, "_START_SECONDS", 0.1)
    interpreter("exit 3")
    with pytest.raises(SupervisorError, match="does not answer"):
        supervisor.start(program("web"))


def test_a_daemon_that_hangs_at_its_start(supervisor, program, interpreter, monkeypatch):
    monkeypatch.setattr(client, "_START_SECONDS", 0.2)
    interpreter("exec sleep 60")
    with pytest.raises(SupervisorError, match="does not answer"):
        supervisor.start(program("web"))


def test_a_supervisor_that_always_breaks_off(supervisor, program):
    make_private(str(supervisor.folder))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(supervisor.folder / "socket"))
        server.listen()

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        for act in (
            lambda: supervisor.start(program("web")),
            supervisor.programs,
            lambda: supervisor.replace(program("web")),
        ):
            with pytest.raises(SupervisorError, match="does not answer"):
                act()
        assert supervisor.pid() is None
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    (supervisor.folder / "socket").unlink()


def test_a_log_of_the_daemon_that_has_grown_is_restarted(supervisor, program, monkeypatch):
    make_private(str(supervisor.folder))
    (supervisor.folder / "daemon.log").write_text("x" * 100)
    monkeypatch.setattr(client, "_LOG_LIMIT", 50)
    supervisor.start(program("web"))
    assert (supervisor.folder / "daemon.log").read_text() == ""


def test_an_ended_supervisor_is_shut_down_once(supervisor, program, gone):
    pid = supervisor.start(program("web")).pid
    one = supervisor.pid()
    os.kill(one, 9)
    gone(one)
    supervisor.shutdown()
    assert process_identity(pid) is None
    supervisor.shutdown()


def copies(supervisor):
    return [path for path in supervisor.folder.iterdir() if path.name.startswith("daemon-")]


def test_half_a_copy_of_the_daemon_is_never_run(supervisor, program):
    """A command was killed while it copied, or a power cut took the content of a file."""
    make_private(str(supervisor.folder))
    half = supervisor._install()
    (half / "state.py").write_text("")
    assert supervisor.start(program("web")).alive
    arguments = Path(f"/proc/{supervisor.pid()}/cmdline").read_text().split("\0")
    assert Path(arguments[3]) != half
    assert supervisor._install() == Path(arguments[3])


def test_a_copy_that_can_not_be_written_is_not_left_behind(supervisor, program, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(SupervisorError, match="the supervisor's folder can't be used"):
            supervisor.start(program("web"))
    assert copies(supervisor) == []


def test_the_daemon_of_another_version_goes_on_until_one_is_started_again(supervisor, program, home, kill, monkeypatch):
    pid = supervisor.start(program("web")).pid
    (earlier,) = copies(supervisor)
    newer = shutil.copytree(client._DAEMON, home / "newer")
    (newer / "protocol.py").write_text((newer / "protocol.py").read_text() + "\n# another version\n")
    monkeypatch.setattr(client, "_DAEMON", newer)
    one = supervisor.pid()
    assert supervisor.start(program("other")).alive
    assert supervisor.pid() == one
    kill()
    assert supervisor.start(program("web")).pid == pid
    arguments = Path(f"/proc/{supervisor.pid()}/cmdline").read_text().split("\0")
    assert {Path(arguments[3]), earlier} == set(copies(supervisor))
    assert Path(arguments[3]) != earlier
