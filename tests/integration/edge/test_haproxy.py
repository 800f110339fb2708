"""HAProxy in particular: its file, its processes, and every way to end them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from contracts.edge_contract import replaced

from deploykit.edge.errors import ConfigRejected, EdgeError, PortTaken, RuntimeUnreachable
from deploykit.edge.haproxy import HAProxyEdge
from deploykit.edge.interface import EdgeOptions
from deploykit.edge.process import PROGRAM
from deploykit.edge.state import parse_state
from deploykit.model import DeploykitError, UsageError
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.daemon.logs import rotate


def weights(edge) -> dict[str, int]:
    return {state.server.name: state.weight for state in edge.servers()}


def file_weights(home: Path) -> dict[str, int]:
    return parse_state((home / "edge" / "haproxy.cfg").read_text(), source="").weights


def pid_of(supervisor) -> int:
    status = supervisor.status(PROGRAM)
    assert status is not None
    assert status.pid is not None
    return status.pid


@pytest.fixture
def kill(supervisor, two, eventually):
    """`kill -9` HAProxy and wait until its successor answers."""

    def kill() -> None:
        before = pid_of(supervisor)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: two._runtime.pid() not in {None, before})

    return kill


# -- kill -9 of the proxy


def test_a_killed_proxy_comes_back_with_the_weights_of_the_last_switch(two, kill, client):
    for live, other in (("r2", "r1"), ("r1", "r2"), ("r2", "r1")):
        two.set_weights({f"{live}-web-0": 100, f"{other}-web-0": 0})
        kill()
        answers = {client(two.url()).get() for _ in range(20)}
        assert answers == {(200, live)}
        assert weights(two) == {f"{live}-web-0": 100, f"{other}-web-0": 0}


def test_a_killed_proxy_loses_at_most_what_was_in_flight(two, kill, load):
    with load(two.url(), clients=8) as clients:
        for _ in range(3):
            clients.more(200)
            kill()
            clients.more(200)
    # Each client has one connection with at most one request on it; whoever connects meanwhile waits in the queue
    # of the socket that the supervisor holds, so nobody is refused.
    assert len(clients.lost) <= 3 * 8
    assert all("reset" in cause.lower() or "closed" in cause or "Broken" in cause for cause in clients.lost)
    assert clients.answers.total() >= 1200


def test_a_switch_right_after_a_kill_waits_for_the_new_process(two, supervisor, client):
    os.kill(pid_of(supervisor), signal.SIGKILL)
    two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    assert client(two.url()).get() == (200, "r2")


def test_the_proxy_outlives_its_supervisor(two, supervisor, load, client, eventually):
    url = two.url()
    daemon = supervisor.pid()
    with load(url) as clients:
        os.kill(daemon, signal.SIGKILL)
        clients.more(200)
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        replaced(two)
        clients.more(200)
    assert clients.lost == []
    assert two.ensure() == url
    assert client(url).get() == (200, "r2")


# -- a kit that is killed in the middle


def test_a_switch_that_never_reached_the_file_stays_through_a_reload(two, client, home):
    two._runtime.set_weights({"r2-web-0": 100})
    two._runtime.set_weights({"r1-web-0": 0})
    assert file_weights(home) == {"r1-web-0": 100, "r2-web-0": 0}
    replaced(two)
    assert file_weights(home) == {"r1-web-0": 0, "r2-web-0": 100}
    assert {client(two.url()).get() for _ in range(10)} == {(200, "r2")}


def test_a_switch_that_never_reached_the_file_goes_back_to_a_version_that_is_alive(two, kill, client, home):
    two._runtime.set_weights({"r2-web-0": 100})
    two._runtime.set_weights({"r1-web-0": 0})
    kill()
    assert client(two.url()).get() == (200, "r1")
    two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    assert client(two.url()).get() == (200, "r2")


def test_an_attach_that_reached_only_the_file_is_finished_by_the_next_call(two, app, client):
    server = app("r3-web-0")
    two._write(two._state().with_server(server))
    assert "r3-web-0" not in weights(two)
    two.set_weights({"r3-web-0": 100, "r1-web-0": 0})
    assert client(two.url()).get() == (200, "r3")


def test_a_detach_that_reached_only_the_file_is_finished_by_the_next_call(two):
    two._write(two._state().without(["r2-web-0"]))
    assert "r2-web-0" in two._runtime.servers()
    two.detach("r2-web-0")
    assert "r2-web-0" not in two._runtime.servers()


@pytest.mark.parametrize("finish", ["ensure", "replace", "switch"])
def test_a_reload_that_was_cut_short_leaves_one_process_that_takes_connections(two, supervisor, finish, eventually):
    old = pid_of(supervisor)
    two._process.draining.add(old, ["r1-web-0"])
    binary = Path(supervisor.status(PROGRAM).argv[0])
    supervisor.replace(two._process.program(two._listen(two._state()), binary), ready=0.2)
    assert process_identity(old)
    if finish == "switch":
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    elif finish == "replace":
        replaced(two)
    else:
        two.ensure()
    eventually(lambda: process_identity(old) is None)
    assert two.running()


def test_a_reload_that_was_cut_short_before_the_new_process_ends_nothing(two, supervisor, client):
    pid = pid_of(supervisor)
    two._process.draining.add(pid, ["r1-web-0"])
    assert [state.in_flight for state in two.servers()] == [0, 0]
    two.ensure()
    two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    assert pid_of(supervisor) == pid
    assert client(two.url()).get() == (200, "r2")


# -- replacing


def test_a_reload_is_a_new_process_and_the_old_one_ends(two, supervisor, eventually):
    before = pid_of(supervisor)
    replaced(two)
    assert pid_of(supervisor) != before
    eventually(lambda: process_identity(before) is None)


def test_a_replaced_process_counts_as_in_flight_until_it_is_gone(two, client, eventually):
    idle = client(two.url())
    idle.get()
    replaced(two)
    two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    busy = {state.server.name: state.in_flight for state in two.servers()}
    assert busy == {"r1-web-0": 1, "r2-web-0": 0}, "it may still wait for an answer of r1"
    assert idle.get() == (200, "r2"), "what comes on an idle connection is handed over"
    eventually(lambda: all(state.in_flight == 0 for state in two.servers()))


def test_ensure_changes_nothing_that_is_as_it_should_be(two, make_edge, supervisor):
    before = pid_of(supervisor)
    make_edge().ensure()
    make_edge().ensure()
    assert pid_of(supervisor) == before


def test_a_new_health_path_is_taken_over_without_loss_and_keeps_the_old_version_up(two, make_edge, load, supervisor):
    two.set_weights({"r1-web-0": 60, "r2-web-0": 40})
    before = pid_of(supervisor)
    with load(two.url()) as clients:
        make_edge(options=EdgeOptions(health_path="/status/404")).ensure()
        clients.more(300)
        time.sleep(2.0)  # four checks
        assert all(state.up for state in two.servers())
    assert pid_of(supervisor) != before
    assert clients.lost == []
    assert weights(two) == {"r1-web-0": 60, "r2-web-0": 40}


# -- checks


def test_while_no_server_passes_its_check_the_one_with_the_traffic_goes_on_answering(
    two, app, make_edge, eventually, client
):
    make_edge(options=EdgeOptions(health_path="/status/503")).ensure()
    eventually(lambda: not any(state.up for state in two.servers()), 5)
    mark = two.mark()
    here = client(two.url())
    assert [here.get() for _ in range(4)] == [(200, "r1")] * 4
    eventually(lambda: two.traffic("r1", mark).requests == 4)
    app.kill("r1-web-0")
    status, body = client(two.url()).get()
    assert status == 503
    assert "shop (local)" in body
    make_edge(options=EdgeOptions(health_path="/health")).ensure()
    eventually(lambda: [state.server.name for state in two.servers() if state.up] == ["r2-web-0"], 5)


def test_a_busy_worker_is_not_a_dead_one(two, client):
    answers = []
    slow = client(two.url())
    thread = threading.Thread(target=lambda: answers.append(slow.get("/block/3")))
    thread.start()
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert all(state.up for state in two.servers())
        time.sleep(0.1)
    thread.join(10)
    assert answers == [(200, "r1")]


def test_a_post_is_never_sent_twice(two, client, eventually):
    two.set_weights({"r2-web-0": 100})
    here = client(two.url())
    assert here.get("/die", method="POST")[0] == 502
    eventually(lambda: sum(state.up for state in two.servers()) == 1)
    assert here.get()[0] == 200, "the other one lives: it did not get the request"


# -- starting


def test_a_taken_port_is_named_with_who_holds_it_and_the_setting(make_edge):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        edge = make_edge(port=port)
        with pytest.raises(PortTaken, match=f"port {port} is taken by .+ \\(pid {os.getpid()}\\)") as caught:
            edge.ensure()
        assert "environments.local.port" in caught.value.next_step
        assert [problem.message for problem in edge.preflight()] == [caught.value.message]
        assert not edge.running()
    assert edge.ensure() == f"http://127.0.0.1:{port}"


def test_another_port_in_the_settings_is_taken_over(two, make_edge, client, home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = make_edge(port=port).ensure()
    assert url == f"http://127.0.0.1:{port}"
    assert client(url).get() == (200, "r1")
    assert make_edge().url() == url


def script(path: Path, binary: str, refusal: str) -> str:
    path.write_text(f'#!/bin/sh\n{refusal}\nexec {binary} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_a_refused_configuration_shows_haproxys_own_words_and_leaves_what_runs(
    two, make_edge, home, binary, supervisor
):
    fake = script(
        home / "haproxy", binary, 'case "$*" in *-c*) echo "[ALERT] line 7: no such thing" >&2; exit 1;; esac'
    )
    pid, text = pid_of(supervisor), (home / "edge" / "haproxy.cfg").read_text()
    with pytest.raises(ConfigRejected) as caught:
        make_edge(binary=fake, hard_stop_after=901).ensure()
    assert "[ALERT] line 7: no such thing" in caught.value.details
    assert (pid_of(supervisor), (home / "edge" / "haproxy.cfg").read_text()) == (pid, text)


def test_a_proxy_that_does_not_start_is_given_up_with_its_words(make_edge, home, binary, supervisor):
    fake = script(home / "haproxy", binary, 'case "$*" in *-db*) echo "cannot do it" >&2; exit 7;; esac')
    edge = make_edge(binary=fake)
    with pytest.raises(EdgeError, match="did not start") as caught:
        edge.ensure()
    assert "cannot do it" in caught.value.details
    assert supervisor.status(PROGRAM) is None


def test_a_successor_that_does_not_start_leaves_the_old_process(two, make_edge, home, binary, supervisor, client):
    fake = script(home / "haproxy", binary, 'case "$*" in *-db*) echo "cannot do it" >&2; exit 7;; esac')
    pid = pid_of(supervisor)
    with pytest.raises(DeploykitError):
        make_edge(binary=fake, hard_stop_after=901).ensure()
    assert pid_of(supervisor) == pid
    assert client(two.url()).get() == (200, "r1")
    assert [state.in_flight for state in two.servers()] == [0, 0]
    two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
    assert pid_of(supervisor) == pid


def test_a_proxy_that_is_not_there_says_so(make_edge, app):
    edge = make_edge()
    assert not edge.running()
    with pytest.raises(RuntimeUnreachable):
        edge.servers()
    with pytest.raises(EdgeError, match="does not run"):
        edge.attach(app("r1-web-0"))
    edge.detach("r1-web-0")


def test_a_name_that_could_break_the_file_is_refused(make_edge, app):
    edge = make_edge()
    edge.ensure()
    good = app("r1-web-0")
    for change in ({"name": "a b"}, {"name": "a\nb"}, {"release": "r1;x"}, {"host": "evil\nhost"}, {"port": 0}):
        with pytest.raises(ValueError, match=r"name and release|address|no such port"):
            edge.attach(dataclasses.replace(good, **change))
    with pytest.raises(UsageError, match="health path"):
        make_edge(options=EdgeOptions(health_path="/x' y")).ensure()


def test_a_file_that_is_not_the_kits_is_not_guessed_at(make_edge, home):
    (home / "edge").mkdir()
    (home / "edge" / "haproxy.cfg").write_text("global\n")
    with pytest.raises(EdgeError, match=r"haproxy\.cfg is not"):
        make_edge().ensure()


# -- the log


def test_the_log_is_appended_to_by_every_proxy_and_after_a_rotation(two, load, kill, eventually):
    """HAProxy takes O_APPEND from what it writes to: two overwrote each other's lines, and none noticed a rotation."""
    mark, read = two.mark(), []

    def look() -> int:
        nonlocal mark
        answers, mark = two.answers(mark)
        read.extend(answers)
        return len(read)

    def all_seen() -> bool:
        return look() >= sent

    lost = sent = 0  # one client: HAProxy drops a line where two threads have one to write
    for change in (lambda: None, lambda: rotate(str(two._process.log), 0), lambda: replaced(two), kill):
        with load(two.url(), clients=1) as clients:
            clients.more(50)
            look()
        sent, lost = sent + clients.sent, lost + len(clients.lost)
        eventually(all_seen)  # what is in no file yet would be cut off by the rotation
        change()
    with load(two.url(), clients=1) as clients:
        clients.more(50)
    sent += clients.sent
    eventually(all_seen)
    assert (lost, len(read)) == (0, sent)
    assert b"\0" not in two._process.log.read_bytes()


# -- routes and the maintenance page


def test_an_edge_whose_settings_name_no_route_says_so(two):
    two.set_routes({})
    assert two.routes() == {}
    with pytest.raises(UsageError, match="could follow a route") as caught:
        two.set_routes({"tester": "r2-web-0"})
    assert "tester_header" in caught.value.next_step


def test_they_survive_a_stop_and_are_forgotten_with_their_setting_and_with_the_servers(two, make_edge, home, client):
    make_edge(options=EdgeOptions(tester_header="X-Tester")).ensure()
    two.set_routes({"tester": "r2-web-0"})
    two.set_maintenance(enabled=True)
    since = two.maintenance_since()
    two.down()
    assert make_edge().maintenance_since() == since
    (home / "edge" / "routes.map").rename(home / "edge" / "kept")
    two.ensure()
    assert two.routes() == {}, "a file that is missing is no obstacle"
    two.down()
    (home / "edge" / "kept").rename(home / "edge" / "routes.map")
    two.ensure()
    assert (two.routes(), two.maintenance_since()) == ({"tester": "r2-web-0"}, since)
    two.set_maintenance(enabled=False)
    assert client(two.url()).get(headers={"X-Tester": "1"}) == (200, "r2")
    make_edge(options=EdgeOptions()).ensure()
    make_edge(options=EdgeOptions(tester_header="X-Tester")).ensure()
    assert two.routes() == {}
    two.set_routes({"tester": "r2-web-0"})
    two.down()
    two.detach("r2-web-0")
    two.ensure()
    assert two.routes() == {}
    two.set_maintenance(enabled=True)
    two.down()
    two.clear()
    assert two.maintenance_since() is None


def test_what_never_reached_their_files_stays_through_a_reload(two, make_edge, home):
    make_edge(options=EdgeOptions(sticky=True)).ensure()
    two._runtime.set_map("routes.map", {"7": "r2-web-0", "numbered": "yes"})
    two._runtime.set_map("maintenance.map", {"on": "1.000"})
    assert (home / "edge" / "routes.map").read_text() == ""
    replaced(two)
    assert (two.routes(), two.maintenance_since()) == ({"7": "r2-web-0"}, 1.0)
    assert "7 r2-web-0\n" in (home / "edge" / "routes.map").read_text()


def test_an_own_maintenance_page_is_sent_as_it_was_written(two, make_edge, client):
    page = "<!DOCTYPE html>\n<p class=\"a\">${HOME} 'ä' \\n %[src] #</p>\n"
    make_edge(options=EdgeOptions(maintenance_page=page)).ensure()
    two.set_maintenance(enabled=True)
    assert client(two.url()).get() == (503, page)
    longest = "ä" * 4_000
    make_edge(options=EdgeOptions(maintenance_page=longest)).ensure()
    assert client(two.url()).get() == (503, longest)


# -- who may see and do what


def test_file_and_socket_are_closed_to_others_and_the_token_is_in_no_log(two, home, client):
    client(two.url()).get(headers=two.probe_headers("r2"))
    for name in ("haproxy.cfg", "admin.sock", "haproxy.log", "routes.map", "maintenance.map"):
        assert stat.S_IMODE((home / "edge" / name).stat().st_mode) & 0o077 == 0, name
    assert two._state().token not in (home / "edge" / "haproxy.log").read_text()


def test_the_log_has_no_paths_and_no_queries(two, home, client, eventually):
    client(two.url()).get("/secret-path?password=hunter2")
    log = home / "edge" / "haproxy.log"
    eventually(lambda: "app r1-web-0 200" in log.read_text())
    assert "hunter2" not in log.read_text()
    assert "secret-path" not in log.read_text()


def test_as_root_the_proxy_is_a_user_of_its_own(two, supervisor, home):
    status = Path(f"/proc/{pid_of(supervisor)}/status").read_text()
    ids = {name: set(line.split()) for name, _, line in (line.partition(":") for line in status.splitlines())}
    if os.geteuid() != 0:
        assert ids["Uid"] == {str(os.geteuid())}
        return
    own = str(json.loads((home / "users.json").read_text())["shop/local edge"])
    assert (ids["Uid"], ids["Gid"]) == ({own}, {own})
    assert ids["Groups"] <= {own}
    assert own != "65534", "nobody is many programs' user"


def test_a_long_folder_does_not_matter(make_edge, home, supervisor, binary, app, client):
    folder = home / ("deep" * 20) / ("deeper" * 10) / "edge"
    edge = HAProxyEdge("shop", "local", folder, None, supervisor, binary=binary, parts=home / "parts")
    edge.ensure()
    edge.attach(app("r1-web-0"))
    edge.set_weights({"r1-web-0": 1})
    assert client(edge.url()).get() == (200, "r1")
    replaced(edge)
    assert weights(edge) == {"r1-web-0": 1}


def test_it_can_listen_on_every_address(make_edge):
    edge = make_edge(bind="0.0.0.0")
    assert edge.ensure().startswith("http://127.0.0.1:")


def test_a_trusted_proxy_may_have_an_ipv6_address(make_edge, app, client):
    edge = make_edge(bind="::1", options=EdgeOptions(trusted_proxies=("2001:db8::/32", "::1")))
    edge.ensure()
    edge.attach(app("r1-web-0"))
    edge.set_weights({"r1-web-0": 100})
    _, body = client(edge.url()).get("/headers", headers={"X-Forwarded-For": "2001:db8::7"})
    assert json.loads(body)["x-forwarded-for"] == "2001:db8::7, ::1"
    make_edge(bind="::1", options=EdgeOptions(trusted_proxies=("2001:db8::/32",))).ensure()
    _, body = client(edge.url()).get("/headers", headers={"X-Forwarded-For": "2001:db8::7"})
    assert json.loads(body)["x-forwarded-for"] == "::1"
