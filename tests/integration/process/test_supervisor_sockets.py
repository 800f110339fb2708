"""Listening sockets that outlive the processes that serve them, and replacing a process by another."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest

from deploykit.process.supervisor.client import Supervisor, SupervisorError
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.daemon.state import read_state

# Answers each connection with a word and its own process id; ends between two of them.
SERVE = (
    "import os, signal, socket\n"
    "ends = []; signal.signal(15, lambda *_: ends.append(1))\n"
    "server = socket.socket(fileno=3); server.settimeout(0.02)\n"
    "print('up', flush=True)\n"
    "while not ends:\n"
    "    try: client, _ = server.accept()\n"
    "    except TimeoutError: continue\n"
    "    client.sendall(f'{os.environ[\"WORD\"]} {os.getpid()}'.encode()); client.close()"
)


def ask(address, timeout=10.0):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        return connection.makefile().read().split()


@pytest.fixture
def server(program, free_address):
    def make(word="one", **values):
        env = {"PATH": os.environ["PATH"], "WORD": word}
        return program("edge", SERVE, **{"listen": free_address, "env": env, "keep_alive": True, **values})

    return make


def test_the_program_serves_on_descriptor_3(supervisor, server, free_address):
    status = supervisor.start(server())
    assert ask(free_address) == ["one", str(status.pid)]


def test_a_connection_made_while_it_is_down_is_served_after_the_restart(supervisor, server, free_address, until):
    one = server()
    pid = supervisor.start(one).pid
    until(lambda: "up" in one.log.read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not supervisor.status("edge").alive)
    word, by = ask(free_address)
    assert word == "one"
    assert int(by) == supervisor.status("edge").pid != pid


def test_an_address_that_is_taken_is_said_to_be_so(supervisor, server, free_address):
    host, _, port = free_address.rpartition(":")
    with (
        socket.create_server((host, int(port))),
        pytest.raises(SupervisorError, match="is taken by somebody else") as caught,
    ):
        supervisor.start(server())
    assert caught.value.kind == "address"
    assert caught.value.next_step
    assert supervisor.status("edge") is None
    assert supervisor.start(server()).alive


def test_an_address_that_is_none_is_said_to_be_so(supervisor, server):
    with pytest.raises(SupervisorError, match="can't be listened on"):
        supervisor.start(server(listen="127.0.0.1:nonsense"))


def test_a_stop_closes_the_socket(supervisor, server, free_address):
    supervisor.start(server())
    supervisor.stop("edge")
    with pytest.raises(ConnectionRefusedError):
        ask(free_address)


def test_a_replacement_has_the_same_socket_and_the_old_process_goes_on(supervisor, server, free_address, gone):
    old = supervisor.start(server())
    new = supervisor.replace(server("two"), ready=0.1)
    assert new.pid != old.pid
    assert process_identity(old.pid)
    os.kill(old.pid, signal.SIGTERM)
    gone(old.pid)
    assert ask(free_address) == ["two", str(new.pid)]
    assert supervisor.status("edge").pid == new.pid
    assert supervisor.status("edge").restarts == 0


def test_no_connection_is_lost_during_replacements(supervisor, server, free_address):
    supervisor.start(server())
    served, failed, done = [], [], threading.Event()

    def client():
        while not done.is_set():
            try:
                served.append(ask(free_address)[0])
            except (OSError, IndexError) as error:
                failed.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    pid = supervisor.status("edge").pid
    for number in range(5):
        new = supervisor.replace(server(str(number)), ready=0.15)
        os.kill(pid, signal.SIGTERM)
        pid = new.pid
    done.set()
    thread.join(20)
    assert failed == []
    assert len(served) > 20
    assert not [error for error in failed if isinstance(error, ConnectionRefusedError)]


def test_a_replacement_that_ends_at_once_leaves_the_old_one(supervisor, server, program, free_address):
    old = supervisor.start(server())
    with pytest.raises(SupervisorError, match="ended with exit code 4; the one before goes on") as caught:
        supervisor.replace(program("edge", "raise SystemExit(4)", listen=free_address), ready=10.0)
    assert caught.value.kind == "ended"
    assert supervisor.status("edge") == old
    assert ask(free_address) == ["one", str(old.pid)]


def test_a_replacement_that_can_not_be_executed_leaves_the_old_one(supervisor, server, program, free_address):
    old = supervisor.start(server())
    with pytest.raises(SupervisorError, match="can't be executed"):
        supervisor.replace(program("edge", argv=["no-such-program"], listen=free_address))
    assert supervisor.status("edge") == old


@pytest.fixture
def once_replaced(supervisor, until):
    """Call `act` in a thread, once the second process of the program is known. The thread is the answer."""

    def start(act):
        def wait():
            until(lambda: (found := read_state(str(supervisor.folder))) and found[0]["candidate"])
            act()

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    return start


def test_an_old_process_that_leaves_early_is_no_crash(supervisor, server, once_replaced, gone):
    old = supervisor.start(server())
    leaves = once_replaced(lambda: os.kill(old.pid, signal.SIGTERM))
    new = supervisor.replace(server("two"), ready=0.4)
    leaves.join()
    gone(old.pid)
    assert supervisor.status("edge") == new
    assert new.restarts == 0


def test_when_both_end_the_program_starts_again_with_its_old_values(
    supervisor, server, program, free_address, home, once_replaced, gone
):
    old = supervisor.start(server())
    os.mkfifo(home / "go")
    bad = program("edge", "open('go').read(); raise SystemExit(4)", listen=free_address)

    def end_both():
        os.kill(old.pid, signal.SIGTERM)
        gone(old.pid)
        (home / "go").write_text("")

    both = once_replaced(end_both)
    with pytest.raises(SupervisorError, match="and so did the one before"):
        supervisor.replace(bad, ready=60.0)
    both.join()
    assert ask(free_address)[0] == "one"


def test_a_stop_kills_what_is_deaf_although_its_replacement_has_ended(supervisor, program, once_replaced, until, gone):
    one = program("edge", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)")
    old = supervisor.start(one)
    until(lambda: "deaf" in one.log.read_text())
    stops = once_replaced(lambda: Supervisor(supervisor.folder).stop("edge", timeout=0.3))
    with pytest.raises(SupervisorError, match="ended"):
        supervisor.replace(program("edge"), ready=60.0)
    gone(old.pid)
    stops.join()
    assert supervisor.status("edge") is None


def test_replacing_what_does_not_run_starts_it(supervisor, server, free_address):
    status = supervisor.replace(server(), ready=30.0)
    assert ask(free_address) == ["one", str(status.pid)]


def test_a_replacement_may_listen_elsewhere(supervisor, server, free_address):
    old = supervisor.start(server())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        elsewhere = f"127.0.0.1:{probe.getsockname()[1]}"
    supervisor.replace(server("two", listen=elsewhere))
    os.kill(old.pid, signal.SIGTERM)
    assert ask(elsewhere)[0] == "two"


def test_a_stop_ends_replaced_processes_too(supervisor, server):
    old = supervisor.start(server())
    new = supervisor.replace(server("two"))
    supervisor.stop("edge")
    assert process_identity(old.pid) is None
    assert process_identity(new.pid) is None


def test_a_stop_during_a_replacement_ends_both(supervisor, server, home, until):
    old = supervisor.start(server())
    said = []

    def replace():
        try:
            supervisor.replace(server("two"), ready=30.0)
        except SupervisorError as error:
            said.append(str(error))

    thread = threading.Thread(target=replace)
    thread.start()
    candidate = until(lambda: read_state(str(home / "supervisor"))[0]["candidate"])
    Supervisor(home / "supervisor").stop("edge")
    thread.join(5)
    assert said
    assert process_identity(old.pid) is None
    assert process_identity(candidate["pid"]) is None
    assert supervisor.status("edge") is None


def test_a_killed_daemon_loses_no_connection(supervisor, server, program, free_address, kill, until):
    pid = supervisor.start(server()).pid
    kill()
    assert ask(free_address) == ["one", str(pid)]
    supervisor.start(program("other"))
    os.kill(pid, signal.SIGKILL)
    new = until(lambda: (found := supervisor.status("edge")).alive and found.pid != pid and found)
    assert ask(free_address) == ["one", str(new.pid)]


def test_a_replacement_that_was_under_way_counts_if_it_lives(supervisor, server, kill, home, until, free_address):
    old = supervisor.start(server())
    found = []
    thread = threading.Thread(target=lambda: found.append(supervisor.replace(server("two"), ready=1.0)))
    thread.start()
    candidate = until(lambda: read_state(str(home / "supervisor"))[0]["candidate"])
    kill()
    thread.join(10)
    assert supervisor.start(server()).pid in {candidate["pid"], found[0].pid}
    supervisor.stop("edge")
    for pid in (old.pid, candidate["pid"], found[0].pid):
        assert process_identity(pid) is None
