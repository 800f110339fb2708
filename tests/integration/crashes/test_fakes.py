"""The fakes of the crash tests keep the contracts of target and edge, as far as these can be kept without processes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest
from edge_contract import EdgeContract
from fake_edge import FakeEdge, Proxy
from fake_target import FakeTarget, Machine, Program
from lease_contract import LeaseContract
from target_contract import TargetContract

from deploykit.edge.interface import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAMS: dict[str, Callable[[Sequence[str], dict[str, str]], Program]] = {
    # By a word of the contract's own sources, the first that is in it.
    "os._exit(9)": lambda *_: Program(answers=True, ends_after_answer=9),
    "create_server": lambda *_: Program(answers=True),
    "no database": lambda *_: Program(lines=("no database",), exit_code=1),
    "SystemExit(3)": lambda *_: Program(exit_code=3),
    "deaf": lambda *_: Program(lines=("deaf",), deaf=True),
    "TOKEN": lambda argv, given: Program(lines=(f"{len(given['TOKEN'])} {given['TOKEN'] in ' '.join(argv)}",)),
    "range(50)": lambda *_: Program(lines=(*map(str, range(50)), "error"), exit_code=0),
    "range(1000)": lambda argv, _: Program(lines=tuple(f"{argv[-1]} {number}" for number in range(1000))),
    "WORD": lambda _, given: Program(lines=("a", given["WORD"]), exit_code=0),
    "sys.exit(4)": lambda *_: Program(lines=("bad",), exit_code=4),
    "print('x')": lambda *_: Program(lines=("x",), exit_code=0),
    "time.sleep(60)": lambda *_: Program(lines=("up",)),
}


def does(argv: Sequence[str], variables: dict[str, str]) -> Program:
    source = argv[2]
    return next(program for word, program in PROGRAMS.items() if word in source)(argv, variables)


@pytest.mark.parametrize("starts_at_once", [False, True])
class TestFakeTarget(TargetContract):
    @pytest.fixture
    def target(self, monkeypatch: pytest.MonkeyPatch, starts_at_once: bool) -> FakeTarget:
        machine = Machine()
        monkeypatch.setattr("target_contract.ask", machine.ask)
        return FakeTarget(machine, does, starts_at_once=starts_at_once)

    @pytest.fixture
    def python(self) -> tuple[str, ...]:
        return ("python",)


class Apps:
    """Applications that answer with their release, in memory."""

    def __init__(self) -> None:
        self.alive: dict[str, int] = {}
        self.port = 0

    def __call__(self, name: str, release: str = "") -> Server:
        self.port += 1
        self.alive[name] = self.port
        return Server(name=name, release=release or name.partition("-")[0], host="127.0.0.1", port=self.port)

    def kill(self, name: str) -> None:
        del self.alive[name]

    def up(self, server: Server) -> bool:
        return self.alive.get(server.name) == server.port


class Client:
    def __init__(self, edge: FakeEdge) -> None:
        self._edge = edge

    def get(self, path: str = "/", *, headers: dict[str, str] | None = None) -> tuple[int, str]:
        return self._edge.request(path, headers)


class Load:
    """Requests are calls, so they are made while the test waits for them."""

    def __init__(self, edge: FakeEdge) -> None:
        self._edge = edge
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def more(self, requests: int) -> None:
        for _ in range(requests):
            status, body = self._edge.request()
            self.sent += 1
            if status == 200:
                self.answers[body] += 1
            else:
                self.lost.append(f"{status}: {body}")


class Clock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self._now = 1_000_000.0

    def __call__(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        self._now += seconds


class TestFakeEdge(EdgeContract):
    @pytest.fixture
    def app(self) -> Apps:
        return Apps()

    @pytest.fixture
    def again(self, app: Apps) -> Callable[[], FakeEdge]:
        proxy = Proxy()
        return lambda: FakeEdge(proxy, app.up)

    @pytest.fixture
    def edge(self, again: Callable[[], FakeEdge]) -> FakeEdge:
        return again()

    @pytest.fixture
    def client(self, edge: FakeEdge) -> Callable[[str], Client]:
        return lambda _url: Client(edge)

    @pytest.fixture
    def load(self, edge: FakeEdge) -> Callable[..., Load]:
        return lambda _url, **_options: Load(edge)

    @pytest.fixture
    def eventually(self) -> Callable[[Callable[[], object]], None]:
        def now(what: Callable[[], object]) -> None:
            assert what()

        return now

    # A request that is a call is never in flight,
    test_a_server_is_not_detached_with_weight_or_a_request_in_flight = None
    test_past_the_drain_limit_a_server_is_detached_by_force = None
    test_a_request_in_flight_survives_a_reload = None
    test_a_client_that_leaves_is_no_error = None
    # it has no time, no connection and no headers,
    test_users_requests_are_counted_per_release = None
    test_traffic_can_be_counted_from_an_earlier_moment = None
    test_what_comes_on_an_idle_connection_after_a_reload_reaches_who_has_the_traffic_now = None
    test_a_server_that_breaks_its_answer_off_is_an_error = None
    test_probes_reach_every_replica = None
    test_the_application_does_not_see_the_probes_label = None
    test_a_guessed_label_is_an_ordinary_request_and_is_not_passed_on = None
    test_the_user_does_not_see_the_database_errors_label = None
    test_large_bodies_pass = None
    test_the_application_learns_who_asked = None
    test_what_clients_say_of_themselves_does_not_reach_the_application = None
    test_a_trusted_proxy_is_believed = None
    test_nor_by_an_idle_connection_to_a_proxy_that_was_replaced = None
    test_health_checks_have_the_host_of_the_settings = None
    test_an_upgraded_connection_is_a_tunnel = None
    test_each_answer_is_told_once_and_says_when_its_request_began = None
    test_in_maintenance_users_get_the_page_and_probes_the_servers = None
    # no settings that could name testers,
    test_routes_lose_nothing_when_they_change_nor_when_their_server_is_killed = None
    test_a_user_moves_to_the_candidate_at_most_once = None
    test_routes_and_maintenance_are_what_they_were_after_a_kill_and_a_replacement = None
    # and there is no proxy of its own that could be killed.
    test_a_proxy_that_is_killed_in_the_middle_of_a_change_is_waited_for = None

    def test_a_server_with_weight_is_not_detached(self, two: FakeEdge) -> None:
        with pytest.raises(Exception, match="still has weight 100"):
            two.detach("r1-web-0", force=True)

    def test_routes_go_before_weights_and_a_dead_server_is_passed_over(self, two: FakeEdge, app: Apps) -> None:
        two.set_routes({"tester": "r2-web-0"})
        assert two.request(route="tester") == (200, "r2")
        assert two.request(route="7") == two.request() == (200, "r1")
        app.kill("r2-web-0")
        assert two.request(route="tester") == (200, "r1")
        two.detach("r2-web-0")
        assert two.routes() == {}

    def test_routes_and_maintenance_survive_a_stop(self, two: FakeEdge, again: Callable[[], FakeEdge]) -> None:
        mark = two.mark()
        two.set_routes({"tester": "r2-web-0"})
        two.set_maintenance(enabled=True)
        since = two.maintenance_since()
        assert two.request()[0] == 503
        assert two.request(headers=dict(two.probe_headers("r1"))) == (200, "r1")
        two.down()
        assert again().maintenance_since() == since
        again().ensure()
        assert (two.routes(), two.maintenance_since()) == ({"tester": "r2-web-0"}, since)
        two.set_maintenance(enabled=False)
        assert two.request() == (200, "r1")
        assert (len(two.answers(mark)[0]), two.maintenance_answers(mark)) == (1, 1)


class TestFakeLease(LeaseContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def pass_time(self, clock: Clock) -> Callable[[float], None]:
        return clock.pass_time

    @pytest.fixture
    def app(self) -> Apps:
        return Apps()

    @pytest.fixture
    def again(self, app: Apps, clock: Clock) -> Callable[[], FakeEdge]:
        proxy = Proxy(clock=clock)
        return lambda: FakeEdge(proxy, app.up)

    @pytest.fixture
    def edge(self, again: Callable[[], FakeEdge]) -> FakeEdge:
        return again()

    @pytest.fixture
    def file_weights(self) -> Callable[[FakeEdge], dict[str, int]]:
        return lambda edge: {name: entry.weight for name, entry in edge._proxy.file.items()}

    @pytest.fixture
    def eventually(self) -> Callable[..., None]:
        def now(what: Callable[[], object], _seconds: float = 0.0) -> None:
            assert what()

        return now

    # There is no process that could be killed, and nothing that is written past the edge.
    test_a_killed_release_leaves_the_traffic_to_the_stable_version = None
    test_changes_during_a_lease_are_kept_and_its_end_is_right_for_them = None
    test_what_comes_late_does_not_bring_the_canary_back_and_the_next_release_takes_over = None
