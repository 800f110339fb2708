"""HAProxy in containers in particular: upgrades, restarts, and every way to end its containers."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from deploykit.edge.docker import DockerEdge
from deploykit.edge.errors import ConfigRejected, EdgeError, PortTaken
from deploykit.edge.state import parse_state
from deploykit.model import UsageError
from deploykit.process.docker import Engine


def weights(edge) -> dict[str, int]:
    return {state.server.name: state.weight for state in edge.servers()}


def proxies(edge):
    return [proxy for proxy in edge._containers.proxies() if proxy.running]


@pytest.fixture
def two(make_edge, app):
    """r2 has all the traffic, r1 had it before."""
    edge = make_edge()
    edge.ensure()
    for name in ("r1-web-0", "r2-web-0"):
        edge.attach(app(name))
    edge.set_weights({"r2-web-0": 100})
    return edge


@pytest.fixture
def other_image(sdk, image):
    """The same HAProxy in another image, as an upgrade would bring."""
    made = sdk.create_container(image, ["true"])["Id"]
    found = sdk.commit(made, repository="deploykit-test-haproxy", tag="next", message="next")["Id"]
    sdk.remove_container(made)
    yield "deploykit-test-haproxy:next"
    for each in sdk.containers(all=True, filters={"ancestor": found}):
        sdk.remove_container(each["Id"], force=True)
    sdk.remove_image(found, force=True)


def test_an_upgrade_to_another_image_loses_nothing(two, make_edge, other_image, load, client, eventually):
    idle = [client(two.url()) for _ in range(10)]
    assert {each.get() for each in idle} == {(200, "r2")}
    (old,) = proxies(two)
    with load(two.url()) as clients:
        clients.more(200)
        upgraded = make_edge(image=other_image)
        upgraded.ensure()
        clients.more(500)
        assert {each.get() for each in idle} == {(200, "r2")}
        eventually(lambda: len(proxies(two)) == 1, 30)
        clients.more(200)
    assert clients.lost == []
    print(f"{clients.sent} requests, the slowest took {clients.slowest:.3f} s")
    (new,) = proxies(two)
    assert new.image != old.image
    assert weights(upgraded) == {"r1-web-0": 0, "r2-web-0": 100}


def test_an_ensure_that_finds_everything_as_it_should_be_changes_nothing(two, make_edge):
    before = proxies(two)
    make_edge().ensure()
    assert proxies(two) == before


def test_a_killed_proxy_comes_back_with_its_weights_and_nobody_is_refused(two, engine, load, client, eventually):
    (proxy,) = proxies(two)
    pid = engine.find_container(proxy.id)["State"]["Pid"]
    with load(two.url(), clients=8) as clients:
        clients.more(200)
        os.kill(pid, signal.SIGKILL)  # as a crash would: the engine is not asked
        clients.more(400)
    # What was in flight on the dead process is lost, one request of each client at most; who connects waits.
    assert len(clients.lost) <= 8
    assert not [cause for cause in clients.lost if "refused" in cause.lower()]
    assert engine.find_container(proxy.id)["RestartCount"] == 1
    assert weights(two) == {"r1-web-0": 0, "r2-web-0": 100}
    assert client(two.url()).get() == (200, "r2")


def test_a_holder_that_was_started_again_gets_its_proxies_back_by_itself(two, sdk, client, eventually):
    time.sleep(1.1)  # its age is counted in seconds
    sdk.restart(two._containers.holder, timeout=0)

    def answers():
        here = client(two.url())
        try:
            here._socket = socket.create_connection(here._address, timeout=1)
            return here.get() == (200, "r2")
        except OSError:
            return False

    eventually(answers, 30)
    assert weights(two) == {"r1-web-0": 0, "r2-web-0": 100}


def test_a_lease_outlives_a_restart_of_the_holder(two, sdk, client, eventually):
    stable = {"r1-web-0": 0, "r2-web-0": 100}
    two.grant_lease(stable, 2.0)
    granted = two.lease()
    two.set_weights({"r1-web-0": 25, "r2-web-0": 75})
    sdk.restart(two._containers.holder, timeout=0)
    assert two.lease() == granted
    eventually(lambda: two.lease().ended_at is not None, 5)
    eventually(lambda: two.running() and weights(two) == parse_state(two._read(), source="").weights == stable, 5)


def test_a_switch_that_a_killed_kit_left_with_two_proxies_is_settled_by_the_next_call(two, client, eventually):
    (old,) = proxies(two)
    two._containers.start_proxy(["r2-web-0"])
    two.set_weights({"r1-web-0": 100, "r2-web-0": 0})
    eventually(lambda: all(proxy.id != old.id for proxy in proxies(two)), 90)
    assert {client(two.url()).get() for _ in range(5)} == {(200, "r1")}


def test_a_configuration_that_haproxy_refuses_leaves_what_runs(two, client, monkeypatch):
    before = (proxies(two), two._agent.read("haproxy.cfg"))
    monkeypatch.setattr("deploykit.edge.docker.edge.BIND", "nonsense")
    with pytest.raises(ConfigRejected) as caught:
        two.ensure()
    assert any("nonsense" in line for line in caught.value.details)
    assert (proxies(two), two._agent.read("haproxy.cfg")) == before
    assert client(two.url()).get() == (200, "r2")


def test_an_image_that_is_no_haproxy_leaves_what_runs(two, make_edge, no_haproxy, client):
    before = two._agent.read("haproxy.cfg")
    with pytest.raises(Exception, match="haproxy"):
        make_edge(image=no_haproxy).ensure()
    assert two._agent.read("haproxy.cfg") == before
    assert client(two.url()).get() == (200, "r2")


def test_an_image_that_can_not_be_had_is_named(make_edge):
    with pytest.raises(UsageError, match="dk-no-such-image:1 is not on the engine") as caught:
        make_edge(image="dk-no-such-image:1").ensure()
    assert "docker pull dk-no-such-image:1" in caught.value.next_step


def test_a_taken_port_is_named_with_the_setting_and_nothing_is_left(make_edge, engine, environment):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        edge = make_edge(port=port)
        assert [f"port {port} is taken" in problem.message for problem in edge.preflight()] == [True]
        with pytest.raises(PortTaken, match=f"port {port} is taken") as caught:
            edge.ensure()
        assert f"environments.{environment}.port" in caught.value.next_step
        assert engine.containers({"deploykit.environment": environment}) == []


def test_a_port_that_we_chose_ourselves_gives_way_to_who_has_it(make_edge):
    chosen = int(make_edge().url().rpartition(":")[2])
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", chosen))
        mine.listen()
        assert make_edge().ensure() == f"http://127.0.0.1:{chosen + 1}"


def test_a_network_that_is_not_there_is_named(make_edge):
    with pytest.raises(EdgeError, match="no network shop.nowhere"):
        make_edge(network="shop.nowhere").ensure()


def test_an_edge_that_is_down_says_so(make_edge, app):
    edge = make_edge()
    assert not edge.running()
    with pytest.raises(EdgeError, match="does not run"):
        edge.attach(app("r1-web-0"))


def test_an_edge_whose_end_was_cut_short_holds_no_port(two, make_edge, monkeypatch):
    """The holder ends first: one that is left alone lets everyone connect, and answers nobody."""
    real, port = Engine.remove_container, int(two.url().rpartition(":")[2])

    def once(self, container: str) -> None:
        real(self, container)
        raise KeyboardInterrupt

    with monkeypatch.context() as cut_short:
        cut_short.setattr(Engine, "remove_container", once)
        with pytest.raises(KeyboardInterrupt):
            two.down()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    make_edge().down()
    assert two._containers.proxies() == []


def test_only_the_public_port_can_be_reached(two, engine):
    """The control socket is a Unix socket: nothing but the public port listens in any of the containers."""
    for each in (two._containers.holder, proxies(two)[0].id):
        pid = engine.find_container(each)["State"]["Pid"]
        listening = set()
        for table in ("tcp", "tcp6"):
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            fields = [row.split() for row in rows]
            listening |= {int(row[1].rpartition(":")[2], 16) for row in fields if row[3] == "0A"}
        dns = {port for port in listening if port > 30_000}  # Docker's resolver, on 127.0.0.11
        assert listening - dns <= {8080}


def test_the_proxy_is_nobody(two, sdk):
    (proxy,) = proxies(two)
    rows = sdk.top(proxy.id, "-o pid,uid,comm")["Processes"]
    assert [row[1:] for row in rows] == [["65534", "haproxy"]]


def test_it_is_an_edge_of_the_engine_and_not_of_this_folder(two, make_edge, tmp_path, engine, environment, image):
    elsewhere = DockerEdge("shop", environment, tmp_path, None, engine, network=f"shop.{environment}", image=image)
    assert weights(elsewhere) == {"r1-web-0": 0, "r2-web-0": 100}
    assert elsewhere.url() == two.url()
    elsewhere.close()
