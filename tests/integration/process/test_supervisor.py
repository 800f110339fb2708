from __future__ import annotations

import itertools
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploykit.model import DeploykitError
from deploykit.process.supervisor.client import Supervisor, SupervisorError
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.daemon.state import read_state

IGNORES_TERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)"
WITH_CHILD = "import subprocess, time; c = subprocess.Popen(['sleep', '60']); print(c.pid); time.sleep(60)"


def alive(pid):
    return bool(process_identity(pid))


def log_of(program):
    return program.log.read_text() if program.log.exists() else ""


def test_reading_starts_no_daemon(supervisor, home):
    assert list(supervisor.programs()) == []
    assert supervisor.status("web") is None
    assert supervisor.pid() is None
    supervisor.stop("web")
    supervisor.shutdown()
    assert not (home / "supervisor").exists()


def test_the_first_start_brings_the_daemon_up(supervisor, program):
    status = supervisor.start(program("web"))
    assert status.alive
    assert alive(status.pid)
    assert supervisor.pid() is not None


def test_a_program_that_is_alive_is_not_started_twice(supervisor, program):
    first = supervisor.start(program("web"))
    assert supervisor.start(program("web", "print('other')")) == first


def test_what_the_program_was_given_is_what_it_gets(supervisor, program, until, home):
    source = (
        "import os, sys; e = os.environ; print(os.getcwd(), e['A'], e['B'], len(e) - ('LC_CTYPE' in e),"
        " sys.stdin.read())"
    )
    one = program("web", source, env={"A": "ü", "B": "2"})
    supervisor.start(one)
    until(lambda: not supervisor.status("web").alive)
    assert log_of(one) == f"{home} ü 2 2 \n"


def test_a_program_inherits_no_open_file(supervisor, program, until):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    one = program("web", "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])")
    supervisor.start(one)
    until(lambda: log_of(one).endswith("\n"))
    os.close(read)
    os.close(write)
    assert log_of(one) == "[0, 1, 2]\n"


def test_an_exit_code_and_the_last_words_are_there_at_once(supervisor, program, until):
    one = program("web", "import sys; print('out'); sys.exit('no database')")
    supervisor.start(one)
    status = until(lambda: (found := supervisor.status("web")) and not found.alive and found)
    assert status.exit_code == 1
    assert log_of(one) == "out\nno database\n"


def test_a_signal_is_a_negative_exit_code(supervisor, program, until):
    pid = supervisor.start(program("web")).pid
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not (found := supervisor.status("web")).alive and found).exit_code == -signal.SIGKILL


def test_a_program_that_ended_stays_listed_until_it_is_stopped(supervisor, program, until):
    supervisor.start(program("web", "raise SystemExit(3)"))
    until(lambda: not supervisor.status("web").alive)
    assert [(found.name, found.exit_code) for found in supervisor.programs()] == [("web", 3)]
    supervisor.stop("web")
    assert list(supervisor.programs()) == []


def test_a_program_that_ended_is_started_afresh_with_the_new_values(supervisor, program, until):
    supervisor.start(program("web", "raise SystemExit(3)"))
    until(lambda: not supervisor.status("web").alive)
    status = supervisor.start(program("web", labels={"release": "r2"}))
    assert status.alive
    assert status.labels == {"release": "r2"}


def test_a_program_that_does_not_exist_is_said_to_be_so(supervisor, program):
    with pytest.raises(SupervisorError, match="web can't be executed: no-such-program") as caught:
        supervisor.start(program("web", argv=["no-such-program"]))
    assert caught.value.kind == "exec"
    assert list(supervisor.programs()) == []


def test_a_missing_folder_is_said_to_be_so(supervisor, program):
    with pytest.raises(DeploykitError, match="/nowhere: No such file"):
        supervisor.start(program("web", cwd=Path("/nowhere")))


def test_an_unknown_user_is_said_to_be_so(supervisor, program):
    with pytest.raises(DeploykitError, match="no-such-user"):
        supervisor.start(program("web", user="no-such-user"))


def test_what_ends_is_started_again_when_it_is_kept_alive(supervisor, program, until):
    first = supervisor.start(program("web", keep_alive=True))
    os.kill(first.pid, signal.SIGKILL)
    began = time.monotonic()
    second = until(lambda: (found := supervisor.status("web")).alive and found.pid != first.pid and found)
    assert time.monotonic() - began > 0.05
    assert second.restarts == 1


def test_restarts_come_ever_later(supervisor, program, until):
    one = program("web", "import time; print(time.monotonic())", keep_alive=True)
    supervisor.start(one)
    until(lambda: log_of(one).count("\n") >= 4)
    times = [float(line) for line in log_of(one).splitlines()]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[0] >= 0.1
    assert waits[1] >= 0.2
    assert waits[2] >= 0.4


def test_keeping_alive_can_be_turned_on_and_off(supervisor, program, until):
    pid = supervisor.start(program("web")).pid
    supervisor.keep_alive("web", enabled=True)
    os.kill(pid, signal.SIGKILL)
    pid = until(lambda: (found := supervisor.status("web")).restarts == 1 and found.pid)
    supervisor.keep_alive("web", enabled=False)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not supervisor.status("web").alive)
    supervisor.keep_alive("web", enabled=True)
    assert supervisor.status("web").alive


def test_keeping_alive_what_is_not_known_is_an_error(supervisor, program):
    with pytest.raises(SupervisorError, match="there is no program web"):
        supervisor.keep_alive("web", enabled=True)


def test_a_stop_returns_when_the_program_is_gone(supervisor, program):
    pid = supervisor.start(program("web", keep_alive=True)).pid
    supervisor.stop("web")
    assert not alive(pid)
    assert supervisor.status("web") is None


def test_a_program_that_ignores_the_stop_signal_is_killed(supervisor, program, until):
    one = program("web", IGNORES_TERM, stop_timeout=60.0)
    pid = supervisor.start(one).pid
    until(lambda: "deaf" in log_of(one))
    began = time.monotonic()
    supervisor.stop("web", timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 60, "not after the time that the program itself asks for"
    assert not alive(pid)


def test_a_stop_ends_the_children_too(supervisor, program, until, gone):
    one = program("web", WITH_CHILD)
    supervisor.start(one)
    child = int(until(lambda: log_of(one).strip()))
    supervisor.stop("web")
    gone(child)


def test_children_of_a_killed_program_do_not_keep_its_port(supervisor, program, until, gone):
    one = program("web", WITH_CHILD)
    pid = supervisor.start(one).pid
    child = int(until(lambda: log_of(one).strip()))
    os.kill(pid, signal.SIGKILL)
    gone(child)


def test_a_stop_ends_the_wait_for_a_restart(supervisor, program, until):
    supervisor.start(program("web", "raise SystemExit(1)", keep_alive=True))
    until(lambda: supervisor.status("web").restarts >= 1)
    supervisor.stop("web")
    assert supervisor.status("web") is None


def test_a_start_during_a_stop_waits_for_it(supervisor, program, until, home):
    one = program(
        "web",
        "import signal, time\n"
        "def end(*_): time.sleep(0.3); raise SystemExit\n"
        "signal.signal(15, end); print('up'); time.sleep(60)",
    )
    first = supervisor.start(one)
    until(lambda: "up" in log_of(one))
    stopping = threading.Thread(target=Supervisor(home / "supervisor").stop, args=("web",))
    stopping.start()
    until(lambda: read_state(str(home / "supervisor"))[0]["stopping"] is not None)
    second = supervisor.start(one)
    stopping.join(5)
    assert second.alive
    assert second.pid != first.pid
    assert not alive(first.pid)


def test_a_shutdown_stops_the_newest_first_and_leaves_nothing(supervisor, program, until, home, gone):
    source = (
        "import signal, time\n"
        "def end(*_): print('end', time.monotonic()); raise SystemExit\n"
        "signal.signal(15, end); print('up'); time.sleep(60)"
    )
    programs = [program(name, source) for name in ("database", "edge", "web")]
    for one in programs:
        supervisor.start(one)
    for one in programs:
        until(lambda one=one: "up" in log_of(one))
    pid = supervisor.pid()
    supervisor.shutdown()
    ends = [float(log_of(one).split()[-1]) for one in programs]
    assert ends == sorted(ends, reverse=True)
    assert supervisor.pid() is None
    gone(pid)
    assert not (home / "supervisor" / "state.json").exists()
    assert not (home / "supervisor" / "socket").exists()
    assert supervisor.start(programs[0]).alive


def test_two_clients_that_come_first_share_one_daemon(supervisor, program, home):
    code = (
        "import sys; from pathlib import Path\nfrom deploykit.process.supervisor.client import Supervisor\nfrom"
        " deploykit.process.supervisor.interface import Program\nfolder = Path(sys.argv[1]); name ="
        " sys.argv[2]\nprogram = Program(name=name, argv=('sleep', '60'), cwd=folder, env={'PATH': '/bin:/usr/bin'},"
        " log=folder / name)\none = Supervisor(folder / 'supervisor')\nsys.stdin.readline()\none.start(program);"
        " print(one.pid())"
    )
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "a", "c")
    ]
    for client in clients:
        client.stdin.write("go\n")
        client.stdin.flush()
    pids = {client.communicate(timeout=20)[0].strip() for client in clients}
    assert pids == {str(supervisor.pid())}
    assert sorted(found.name for found in supervisor.programs()) == ["a", "b", "c"]


def test_the_daemon_survives_its_callers_session(supervisor, program, home):
    code = (
        "import os, sys; from pathlib import Path\nfrom deploykit.process.supervisor.client import Supervisor\nfrom"
        " deploykit.process.supervisor.interface import Program\nfolder = Path(sys.argv[1])\nprogram ="
        " Program(name='a', argv=('sleep', '60'), cwd=folder, env={'PATH': '/bin:/usr/bin'}, log=folder /"
        " 'a')\nprint(Supervisor(folder / 'supervisor').start(program).pid, flush=True)\nsys.stdin.read()"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pid = int(caller.stdout.readline())
    os.killpg(caller.pid, signal.SIGINT)
    os.killpg(caller.pid, signal.SIGKILL)
    caller.communicate(timeout=10)
    assert alive(pid)
    assert supervisor.status("a").pid == pid


def test_only_its_owner_reaches_what_the_daemon_keeps(supervisor, program, home):
    supervisor.start(program("web", env={"PATH": "/bin:/usr/bin", "TOKEN": "hunter2"}))
    folder = home / "supervisor"
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("state.json", "socket", "lock", "daemon.log"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    assert program("web").log.stat().st_mode & 0o077 == 0
    arguments = Path(f"/proc/{supervisor.pid()}/cmdline").read_text()
    assert "hunter2" not in arguments
    assert "hunter2" not in Path(f"/proc/{supervisor.pid()}/environ").read_text()


def test_the_daemon_needs_no_virtual_environment(supervisor, program):
    supervisor.start(program("web"))
    pid = supervisor.pid()
    assert Path(f"/proc/{pid}/exe").readlink() == Path(sys._base_executable).resolve()
    assert Path(f"/proc/{pid}/cwd").readlink() == supervisor.folder
    for told in ("cmdline", "maps", "environ"):
        assert "deploykit/process" not in Path(f"/proc/{pid}/{told}").read_text()


def test_the_daemon_rests_while_nothing_happens(supervisor, program):
    supervisor.start(program("web", keep_alive=True))
    stat = Path(f"/proc/{supervisor.pid()}/stat")
    before = stat.read_text().split()[13:15]
    time.sleep(1.0)
    after = stat.read_text().split()[13:15]
    assert sum(map(int, after)) - sum(map(int, before)) <= 1  # hundredths of a second


def test_a_long_path_is_no_hindrance(program, home):
    one = Supervisor(home / ("deep-" * 20) / "supervisor")
    try:
        assert one.start(program("web")).alive
        assert one.status("web").alive
        assert (one.folder / "socket").is_socket(), "it is nowhere else"
        assert one.folder.stat().st_mode & 0o777 == 0o700
    finally:
        one.shutdown()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense\n",
        b"[]\n",
        b'{"op": "programs", "protocol": 2',
        b'{"protocol": 2, "op": "dance", "name": "web"}\n',
    ],
)
def test_nonsense_does_not_harm_the_daemon(supervisor, program, home, content):
    supervisor.start(program("web"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(home / "supervisor" / "socket"))
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert answer == b"" or b"error" in answer
    assert supervisor.status("web").alive


def test_only_root_can_have_a_program_run_as_another_user(supervisor, program, until):
    if os.geteuid() == 0:
        one = program("web", argv=["id", "-u"], user="nobody", cwd=Path("/"))
        supervisor.start(one)
        assert until(lambda: log_of(one)) == f"{pwd.getpwnam('nobody').pw_uid}\n"
    else:
        with pytest.raises(SupervisorError, match="not permitted"):
            supervisor.start(program("web", argv=["id", "-u"], user="root", cwd=Path("/")))


CLEARS_APPEND = "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK); os.write(1, b'{} line\\n')"


def test_a_piped_program_appends_whatever_it_does_to_its_output_and_its_last_line_is_kept(supervisor, program, until):
    """HAProxy sets its output to non-blocking and takes O_APPEND from it, so a second one would overwrite the first's
    lines.
    """
    for name in ("first", "second"):
        one = program("edge", CLEARS_APPEND.format(name), piped=True)
        supervisor.start(one)
        until(lambda one=one, name=name: f"{name} line" in log_of(one))
        until(lambda: not supervisor.status("edge").alive)
    assert log_of(one) == "first line\nsecond line\n"
