"""`kill -9` of the supervisor itself: nothing that it was told is lost, and nothing that runs notices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from deploykit.process.supervisor.client import Supervisor, SupervisorError
from deploykit.process.supervisor.daemon import protocol
from deploykit.process.supervisor.daemon.identity import place, process_identity
from deploykit.process.supervisor.daemon.process import fork_suspended


def test_what_runs_goes_on_and_is_seen_without_a_daemon(supervisor, program, kill, until):
    pid = supervisor.start(program("web", labels={"release": "r1"})).pid
    supervisor.start(program("job", "raise SystemExit(3)"))
    until(lambda: not supervisor.status("job").alive)
    kill()
    assert supervisor.pid() is None
    web, job = supervisor.programs()
    assert (web.pid, web.labels) == (pid, {"release": "r1"})
    assert (job.alive, job.exit_code) == (False, 3)
    assert supervisor.pid() is None


def test_a_death_without_a_daemon_is_seen_too(supervisor, program, kill, until):
    pid = supervisor.start(program("web")).pid
    kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not supervisor.status("web").alive)
    assert supervisor.pid() is None


def test_the_next_daemon_adopts_what_runs(supervisor, program, kill):
    pid = supervisor.start(program("web")).pid
    kill()
    assert supervisor.start(program("other")).alive
    assert supervisor.start(program("web")).pid == pid
    supervisor.stop("web")
    assert process_identity(pid) is None


def test_an_adopted_program_is_restarted_when_it_ends(supervisor, program, kill, until):
    pid = supervisor.start(program("web", keep_alive=True)).pid
    kill()
    supervisor.start(program("other"))
    os.kill(pid, signal.SIGKILL)
    status = until(lambda: (found := supervisor.status("web")).alive and found.pid != pid and found)
    assert status.restarts == 1


def test_the_end_of_an_adopted_program_is_seen_with_its_code_where_the_kernel_tells_it(
    supervisor, program, kill, until
):
    source = (
        "import signal\ndef end(*_): raise SystemExit(7)\nsignal.signal(15, end); print('up')\nwhile True:"
        " signal.pause()"
    )
    one = program("web", source)
    pid = supervisor.start(one).pid
    until(lambda: "up" in one.log.read_text())
    kill()
    supervisor.start(program("other"))
    os.kill(pid, signal.SIGTERM)
    until(lambda: not supervisor.status("web").alive)
    kernel = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
    if kernel >= (6, 15) and hasattr(os, "pidfd_open"):
        until(lambda: supervisor.status("web").exit_code == 7)
    else:
        assert supervisor.status("web").exit_code in (7, None)


def test_what_died_meanwhile_is_started_again_if_it_is_kept_alive(supervisor, program, kill, until, gone):
    kept = supervisor.start(program("kept", keep_alive=True)).pid
    loose = supervisor.start(program("loose")).pid
    kill()
    for pid in (kept, loose):
        os.kill(pid, signal.SIGKILL)
        gone(pid)
    supervisor.start(program("other"))
    assert until(lambda: supervisor.status("kept").alive)
    assert not supervisor.status("loose").alive


def test_after_a_reboot_what_is_kept_alive_starts_again(supervisor, program, kill, home, until):
    pids = [supervisor.start(program(name, keep_alive=name == "kept")).pid for name in ("kept", "loose")]
    kill()
    state = home / "supervisor" / "state.json"
    # After a boot the same numbers may be other processes': they must be neither taken for ours nor signalled.
    boot, _, _ = place().partition("/")
    state.write_text(state.read_text().replace(boot, "an-earlier-boot"))
    supervisor.start(program("other"))
    kept = until(lambda: (found := supervisor.status("kept")).alive and found)
    loose = supervisor.status("loose")
    assert kept.pid not in pids
    assert not loose.alive
    for pid in pids:
        assert process_identity(pid)
        os.killpg(pid, signal.SIGKILL)


def test_a_stop_that_was_under_way_is_brought_to_its_end(supervisor, program, kill, until, home):
    one = program(
        "web", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)", stop_timeout=0.3
    )
    pid = supervisor.start(one).pid
    until(lambda: "deaf" in one.log.read_text())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(home / "supervisor" / "socket"))
        connection.sendall(json.dumps({"protocol": 2, "op": "stop", "name": "web", "timeout": None}).encode() + b"\n")
        assert b"wait" in connection.recv(100)
        kill()
    assert process_identity(pid)
    supervisor.start(program("other"))
    until(lambda: supervisor.status("web") is None)
    assert process_identity(pid) is None


def test_a_child_that_was_never_recorded_does_not_run(home, program, until):
    """Forked, but the daemon is killed before it has written down the process: the child ends by itself."""
    one = program("web", "print('it ran')")
    spec = {"name": "web", "argv": list(one.argv), "cwd": str(home), "env": {}, "log": str(one.log), "user": ""}
    process, go, said = fork_suspended(spec, None)
    assert process.alive()
    os.close(go)
    os.close(said)
    assert until(lambda: (found := process.ended())[0] and found) == (True, 1)
    assert one.log.read_text() == ""


def test_a_damaged_state_file_is_put_aside(program, kill, supervisor, home):
    supervisor.start(program("web"))
    pid = supervisor.status("web").pid
    kill()
    (home / "supervisor" / "state.json").write_text("{")
    assert supervisor.start(program("other")).alive
    assert (home / "supervisor" / "state.json.broken").read_text() == "{"
    assert "JSONDecodeError" in (home / "supervisor" / "daemon.log").read_text()
    (home / "supervisor" / "daemon.log").write_text("")
    os.killpg(pid, signal.SIGKILL)


def test_sigterm_ends_the_daemon_and_nothing_else(supervisor, program, gone):
    pid = supervisor.start(program("web", keep_alive=True)).pid
    one = supervisor.pid()
    os.kill(one, signal.SIGTERM)
    gone(one)
    assert supervisor.status("web").pid == pid
    assert supervisor.start(program("web")).pid == pid


def test_a_daemon_that_is_stuck_is_said_to_be_so(supervisor, program, monkeypatch):
    supervisor.start(program("web"))
    pid = supervisor.pid()
    monkeypatch.setattr("deploykit.process.supervisor.client._ANSWER_SECONDS", 0.2)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SupervisorError, match="does not answer"):
            supervisor.programs()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_folder_that_is_somebody_elses_is_refused(home, program):
    (home / "supervisor").write_text("not a folder")
    with pytest.raises(SupervisorError, match="the supervisor's folder can't be used"):
        Supervisor(home / "supervisor").start(program("web"))


def test_a_daemon_of_another_protocol_hands_over_to_ours(program, home, until):
    """The programs stay children of the same process, and their listening sockets stay open."""
    supervisor = Supervisor(home / "supervisor")
    folder = home / "supervisor"
    folder.mkdir(0o700)
    earlier = shutil.copytree(Path(protocol.__file__).parent, home / "earlier")
    text = (earlier / "protocol.py").read_text()
    assert text.count("\nPROTOCOL = 2\n") == 1
    (earlier / "protocol.py").write_text(text.replace("\nPROTOCOL = 2\n", "\nPROTOCOL = 77\n"))
    old = Supervisor(folder)
    old._install = lambda: earlier
    old._launch()
    before = old.pid()

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    spec = {"argv": ["sleep", "60"], "cwd": "/", "env": {"PATH": "/bin:/usr/bin"}, "keep_alive": False, "user": ""}
    spec |= {"name": "web", "log": str(home / "log"), "listen": address, "labels": {}}
    spec |= {"stop_signal": 15, "stop_timeout": 5.0, "log_limit": 1000}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(folder / "socket"))
        connection.sendall(json.dumps({"protocol": 77, "op": "start", "program": spec}).encode() + b"\n")
        pid = json.loads(connection.recv(10_000))["ok"]["pid"]

    try:
        assert supervisor.status("web").pid == pid
        assert supervisor.pid() == before
        arguments = Path(f"/proc/{before}/cmdline").read_text().split("\0")
        assert arguments[3] == str(supervisor._install())
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5):
            pass
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not (found := supervisor.status("web")).alive and found).exit_code == -9
    finally:
        supervisor.shutdown()
    assert (folder / "daemon.log").read_text() == ""
