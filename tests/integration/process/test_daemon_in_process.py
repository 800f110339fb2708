"""The daemon's event loop run in this very process, where a debugger and coverage can see it.

The loop has the main thread, as it must for signals; the scenario asks it from a second one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading

import pytest

from deploykit.process.supervisor.client import SupervisorError
from deploykit.process.supervisor.daemon import requests
from deploykit.process.supervisor.daemon.folder import make_private, take_lock
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.daemon.recovery import recover
from deploykit.process.supervisor.daemon.requests import Daemon
from deploykit.process.supervisor.daemon.state import read_state

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)


@pytest.fixture
def loop(supervisor, monkeypatch):
    """`loop(scenario)` runs a daemon until the scenario has ended; with `leave` its programs go on."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def run(scenario, *, leave=False):
        folder = str(supervisor.folder)
        make_private(folder)
        monkeypatch.chdir(folder)  # as `main` does
        lock = take_lock(folder)
        assert lock >= 0
        one = Daemon(folder, lock)
        failures = []

        def act():
            try:
                scenario()
            except BaseException as error:
                failures.append(error)
            finally:
                if not leave:
                    supervisor.shutdown()
                else:
                    os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=act)
        one.open(None)
        thread.start()
        try:
            one.lease.recover()
            recover(one.programs, folder, {})
            one.run()
        finally:
            thread.join(20)
            signal.set_wakeup_fd(-1)
            one.loop.close()
            one.server.close()
            for entry in one.programs.entries.values():
                entry.close_listener()
            if leave:
                os.close(lock)
        for failure in failures:
            raise failure

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ask(folder, request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(folder / "socket"))
        connection.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile().read()


def test_a_programs_whole_life(loop, supervisor, program, until):
    def scenario():
        pid = supervisor.start(program("web")).pid
        assert supervisor.start(program("web")).pid == pid
        supervisor.keep_alive("web", enabled=True)
        os.kill(pid, signal.SIGKILL)
        until(lambda: supervisor.status("web").restarts == 1 and supervisor.status("web").alive)
        os.kill(supervisor.status("web").pid, signal.SIGKILL)
        until(lambda: not supervisor.status("web").alive)
        supervisor.keep_alive("web", enabled=False)
        assert supervisor.status("web").exit_code == -9
        supervisor.keep_alive("web", enabled=True)
        assert supervisor.status("web").alive
        supervisor.stop("web")
        assert supervisor.status("web") is None

    loop(scenario)


def test_what_can_not_be_done_is_refused(loop, supervisor, program):
    def scenario():
        for bad in (program("web", argv=["no-such-program"]), program("web", user="no-such-user")):
            with pytest.raises(SupervisorError, match="can't be executed"):
                supervisor.start(bad)
        with pytest.raises(SupervisorError, match="can't be started"):
            supervisor.start(program("web", log=supervisor.folder / "socket"))
        with pytest.raises(SupervisorError):
            supervisor.keep_alive("x", enabled=True)
        folder = supervisor.folder
        assert ask(folder, b"nonsense\n") == ""
        assert ask(folder, b"[]\n") == ""
        assert ask(folder, b"half") == ""
        assert "protocol" in ask(folder, {"op": "programs", "protocol": 0})
        assert "no request" in ask(folder, {"op": "dance", "protocol": 2, "name": "x"})
        assert "/nowhere/python" in ask(folder, {"op": "handover", "python": "/nowhere/python", "program": "/nowhere"})
        assert supervisor.pid() == os.getpid()

    loop(scenario)


def test_a_request_that_shows_a_defect_is_answered(loop, supervisor, capfd):
    def scenario():
        assert "the supervisor failed" in ask(
            supervisor.folder, {"op": "start", "protocol": 2, "program": {"name": "x"}}
        )

    loop(scenario)
    assert "KeyError" in capfd.readouterr().err


def test_a_program_that_can_not_be_started_again_says_so_in_its_log(loop, supervisor, program, until, home):
    def scenario():
        script = home / "script"
        script.write_text("#!/bin/sh\nsleep 60\n")
        script.chmod(0o755)
        one = program("web", argv=[str(script)], keep_alive=True)
        pid = supervisor.start(one).pid
        script.unlink()
        os.kill(pid, signal.SIGKILL)
        until(lambda: supervisor.status("web").restarts >= 2)
        assert supervisor.status("web").exit_code == 127
        assert "[supervisor] it can't be started again" in one.log.read_text()
        with pytest.raises(SupervisorError, match="can't be executed"):
            supervisor.start(one)
        assert supervisor.status("web").keep_alive
        supervisor.stop("web")

    loop(scenario)


def test_listening_and_replacing(loop, supervisor, program, free_address, gone):
    def scenario():
        values = {"listen": free_address, "keep_alive": True}
        first = supervisor.start(program("edge", **values))
        second = supervisor.replace(program("edge", **values))
        third = supervisor.replace(program("edge", **values), ready=0.05)
        assert len({first.pid, second.pid, third.pid}) == 3
        os.kill(first.pid, signal.SIGKILL)
        gone(first.pid)
        with pytest.raises(SupervisorError, match="the one before goes on"):
            supervisor.replace(program("edge", "raise SystemExit(4)", **values), ready=10)
        with pytest.raises(SupervisorError, match="can't be executed"):
            supervisor.replace(program("edge", argv=["no-such-program"], **values))
        with pytest.raises(SupervisorError, match="is taken"):
            supervisor.start(program("other", **values))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            elsewhere = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(SupervisorError, match="the one before goes on"):
            supervisor.replace(program("edge", "raise SystemExit(4)", listen=elsewhere), ready=10)
        assert supervisor.replace(program("edge", listen=elsewhere)).alive
        assert supervisor.replace(program("edge")).alive
        supervisor.stop("edge", timeout=5)
        assert not any(process_identity(pid) for pid in (second.pid, third.pid))

    loop(scenario)


def test_stops_that_take_time(loop, supervisor, program, until, home):
    def scenario():
        one = program("web", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)")
        first = supervisor.start(one)
        until(lambda: "deaf" in one.log.read_text())
        slow = threading.Thread(target=lambda: supervisor.stop("web", timeout=20))
        slow.start()
        until(lambda: read_state(str(supervisor.folder))[0]["stopping"])
        started = []
        pending = threading.Thread(target=lambda: started.append(supervisor.start(program("web"))))
        pending.start()
        supervisor.stop("web", timeout=0.1)
        slow.join(5)
        pending.join(5)
        assert started[0].pid != first.pid

    loop(scenario)


def test_the_next_daemon_takes_over_what_runs(loop, supervisor, program, until, free_address):
    pids = []

    def first():
        pids.extend(
            supervisor.start(program(name, listen=free_address if name == "a" else "", keep_alive=name != "c")).pid
            for name in "abc"
        )

    def second():
        assert [status.pid for status in supervisor.programs()][0:1] == pids[0:1]
        assert until(lambda: supervisor.status("b").restarts == 1 and supervisor.status("b").alive)
        assert (supervisor.status("c").alive, supervisor.status("c").exit_code) == (False, -9)

    loop(first, leave=True)
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)
    loop(second)


def test_orphans_are_adopted(loop, supervisor, program, until, free_address, home, gone):
    """Programs of a supervisor that was killed with -9."""
    pids = [
        supervisor.start(
            program(name, listen=free_address if name == "a" else "", keep_alive=name == "a", stop_timeout=5)
        ).pid
        for name in "abc"
    ]
    supervisor.replace(program("b"))
    state = read_state(str(supervisor.folder))
    one = supervisor.pid()
    os.kill(one, signal.SIGKILL)
    gone(one)
    by_name = {record["spec"]["name"]: record for record in state}
    by_name["b"] |= {
        "candidate": by_name["b"]["process"],
        "candidate_spec": by_name["b"]["spec"],
        "process": by_name["b"]["retired"][0],
        "retired": [],
    }
    by_name["c"]["stopping"] = 5.0
    (home / "supervisor" / "state.json").write_text(json.dumps({"protocol": 2, "programs": list(by_name.values())}))

    def scenario():
        assert supervisor.status("b").pid not in pids
        until(lambda: supervisor.status("c") is None)
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: supervisor.status("a").restarts == 1 and supervisor.status("a").alive)
        supervisor.stop("b")
        assert process_identity(pids[1]) is None

    loop(scenario)


def test_where_there_is_no_pidfd_orphans_are_polled(loop, supervisor, program, until, monkeypatch, gone):
    pid = supervisor.start(program("a")).pid
    one = supervisor.pid()
    os.kill(one, signal.SIGKILL)
    gone(one)
    monkeypatch.delattr(os, "pidfd_open")

    def scenario():
        assert supervisor.status("a").pid == pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: read_state(str(supervisor.folder))[0]["process"] is None)
        assert supervisor.status("a").exit_code is None

    loop(scenario)


def test_a_damaged_state_is_put_aside(loop, supervisor, capfd):
    make_private(str(supervisor.folder))
    (supervisor.folder / "state.json").write_text("{")
    loop(lambda: None)
    assert (supervisor.folder / "state.json.broken").exists()
    assert "JSONDecodeError" in capfd.readouterr().err


def test_housekeeping(loop, supervisor, program, until, monkeypatch):
    monkeypatch.setattr(requests, "_HOUSEKEEPING_SECONDS", 0.05)

    def scenario():
        one = program("web", "print('x' * 1000); import time; time.sleep(60)", log_limit=100)
        supervisor.start(one)
        until(one.log.with_name("web.log.1").exists)
        until(lambda: one.log.stat().st_size == 0)
        (supervisor.folder / "socket").unlink()
        assert until(supervisor.pid) == os.getpid()

    loop(scenario)


def test_a_folder_that_is_removed_takes_its_programs_with_it(loop, supervisor, program, gone, monkeypatch):
    """Nobody could ever stop them: a supervisor is found by its folder."""
    monkeypatch.setattr(requests, "_HOUSEKEEPING_SECONDS", 0.05)

    def scenario():
        pid = supervisor.start(program("web", keep_alive=True)).pid
        (supervisor.folder / "lock").unlink()
        shutil.rmtree(supervisor.folder)
        gone(pid)
        assert supervisor.start(program("other")).alive
        assert supervisor.pid() != os.getpid()

    loop(scenario)
