"""What the client says when no supervisor can be had."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest

from deploykit.process.supervisor import client, daemon
from deploykit.process.supervisor.client import SupervisorError


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
    daemon.make_private(str(supervisor.folder))
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


def test_a_log_of_the_daemon_that_has_grown_is_begun_anew(supervisor, program, monkeypatch):
    daemon.make_private(str(supervisor.folder))
    (supervisor.folder / "daemon.log").write_text("x" * 100)
    monkeypatch.setattr(client, "_LOG_LIMIT", 50)
    supervisor.start(program("web"))
    assert (supervisor.folder / "daemon.log").read_text() == ""


def test_an_ended_supervisor_is_shut_down_once(supervisor, program, until):
    pid = supervisor.start(program("web")).pid
    one = supervisor.pid()
    os.kill(one, 9)
    until(lambda: not daemon.birth_of(one))
    supervisor.shutdown()
    assert not daemon.birth_of(pid)
    supervisor.shutdown()


def test_a_folder_that_is_removed_takes_its_programs_with_it(supervisor, program, until, home):
    """Nobody could ever stop them: a supervisor is found by its folder."""
    pid = supervisor.start(program("web", keep_alive=True)).pid
    one = supervisor.pid()
    supervisor.folder.rename(home / "removed")
    for file in (home / "removed").iterdir():
        if not file.is_dir():
            file.unlink()
    again = supervisor.start(program("other")).pid
    until(lambda: not daemon.birth_of(one), 20)
    assert not daemon.birth_of(pid)
    assert supervisor.status("other").pid == again
