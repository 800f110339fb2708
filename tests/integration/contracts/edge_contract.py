"""What every edge must do. A test module subclasses `EdgeContract` and gives the fixtures `edge` (not started),
`again` (the same edge as a new command would make it), `pid` (that of its proxy, by the edge), `app`, `client`,
`load` and `eventually` (see tests/integration/edge/conftest.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from deploykit.edge.interface import EdgeOptions
from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from _pytest.mark.structures import ParameterSet

FORGED = dict.fromkeys(
    [
        *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"),
        *(
            "X-FORWARDED-SSL",
            "X_Forwarded_User",
            "Forwarded",
            "X-Real-IP",
            "X_REAL_IP",
            "X-Client-IP",
            "True-Client-IP",
        ),
        *("CF-Connecting-IP", "X-Original-URL", "X-Rewrite-URL", "X-Script-Name", "Script_Name", "X-Scheme"),
        *("X-Deploykit-Probe", "X_Deploykit_Probe", "X-Deploykit-Anything"),
    ],
    "forged",
) | {"Connection": "keep-alive, X-Forwarded-For"}
"""What proxies say, and the kit's own labels, from somebody who is neither."""


ROUTED = EdgeOptions(tester_header="X-Tester", tester_cookie="tester", sticky=True)


def by_number(share: int) -> dict[str, str]:
    """Routes that send so many of a hundred users to r2, and the others to r1."""
    return {str(number): "r2-web-0" if number < share else "r1-web-0" for number in range(100)}


def weights(edge) -> dict[str, int]:
    return {state.server.name: state.weight for state in edge.servers()}


def in_flight(edge, name: str) -> int:
    return next(state.in_flight for state in edge.servers() if state.server.name == name)


def let_go(edge, name: str, held: str) -> None:
    """Have the server answer the request that it holds. It is asked at its own address, past the edge."""
    port = next(state.server.port for state in edge.servers() if state.server.name == name)
    with urlopen(f"http://127.0.0.1:{port}/let-go/{held}", timeout=10):
        pass


def replaced(edge) -> None:
    """Another setting, so `ensure` has a new proxy take over."""
    edge._hard_stop_after += 1
    edge.ensure()


def with_two(edge, app):
    """r1 has all the traffic, r2 is attached beside it."""
    edge.ensure()
    edge.attach(app("r1-web-0"))
    edge.set_weights({"r1-web-0": 100})
    edge.attach(app("r2-web-0"))
    return edge


def _sampled(what: str, asked: Sequence[int], *, always: Collection[int]) -> list[ParameterSet]:
    """A case for each question that a change asks of the proxy; only some without `--every-case`."""
    return [pytest.param(what, number, marks=() if number in always else pytest.mark.every_case) for number in asked]


class EdgeContract:
    @pytest.fixture
    def client_address(self):
        """The address that the edge sees of a client on this machine."""
        return "127.0.0.1"

    @pytest.fixture
    def two(self, edge, app):
        return with_two(edge, app)

    @pytest.fixture
    def routed(self, again, app):
        """The same, with testers and sticky users."""
        return with_two(again(options=ROUTED), app)

    # -- start and stop

    def test_it_answers_503_in_clear_words_before_there_is_a_version(self, edge, client):
        url = edge.ensure()
        assert url == edge.url()
        status, body = client(url).get()
        assert status == 503
        assert "no version" in body

    def test_its_address_is_kept_when_it_is_stopped_and_started(self, edge, again):
        url = edge.ensure()
        assert edge.running()
        edge.down()
        assert not edge.running()
        assert again().ensure() == url

    def test_everything_can_be_said_twice(self, two, app, client):
        two.ensure()
        for state in two.servers():
            two.attach(state.server)
        two.set_weights({"r1-web-0": 100})
        two.set_weights({"r1-web-0": 100, "r2-web-0": 0})
        replaced(two)
        replaced(two)
        two.detach("r2-web-0")
        two.detach("r2-web-0")
        assert weights(two) == {"r1-web-0": 100}
        assert client(two.url()).get() == (200, "r1")
        two.down()
        two.down()

    def test_servers_are_forgotten_only_when_it_is_down(self, two, again):
        url = two.url()
        with pytest.raises(DeploykitError, match="still runs"):
            two.clear()
        two.down()
        two.clear()
        assert again().ensure() == url
        assert again().servers() == ()

    def test_nothing_is_missing_where_it_runs(self, edge):
        assert list(edge.preflight()) == []
        edge.ensure()
        assert list(edge.preflight()) == []

    # -- weights

    def test_an_attached_server_gets_no_traffic(self, two, client):
        here = client(two.url())
        assert {here.get() for _ in range(20)} == {(200, "r1")}
        assert weights(two) == {"r1-web-0": 100, "r2-web-0": 0}
        assert all(state.up for state in two.servers())

    def test_a_weight_is_a_share_of_the_traffic(self, two, client):
        two.set_weights({"r1-web-0": 75, "r2-web-0": 25})
        here = client(two.url())
        answers = [here.get()[1] for _ in range(200)]
        assert 40 <= answers.count("r2") <= 60

    def test_the_next_request_of_an_open_connection_follows_the_weights(self, two, client):
        here = client(two.url())
        for _ in range(5):
            assert here.get() == (200, "r1")
            two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
            assert here.get() == (200, "r2")
            two.set_weights({"r1-web-0": 100, "r2-web-0": 0})

    def test_a_total_weight_of_0_is_refused_and_changes_nothing(self, two, client):
        with pytest.raises(ValueError, match="total weight"):
            two.set_weights({"r1-web-0": 0})
        with pytest.raises(ValueError, match="0 to 256"):
            two.set_weights({"r1-web-0": 257})
        with pytest.raises(ValueError, match="0 to 256"):
            two.set_weights({"r1-web-0": -1, "r2-web-0": 5})
        assert weights(two) == {"r1-web-0": 100, "r2-web-0": 0}
        assert client(two.url()).get() == (200, "r1")

    def test_an_unknown_server_is_refused_and_changes_nothing(self, two):
        with pytest.raises(DeploykitError, match="r9-web-0"):
            two.set_weights({"r1-web-0": 0, "r9-web-0": 100})
        assert weights(two) == {"r1-web-0": 100, "r2-web-0": 0}

    def test_traffic_is_not_given_to_a_version_that_does_not_answer(self, two, app, client, eventually):
        app.kill("r2-web-0")
        eventually(lambda: not all(state.up for state in two.servers()))
        with pytest.raises(DeploykitError, match="up"):
            two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        assert weights(two) == {"r1-web-0": 100, "r2-web-0": 0}
        assert client(two.url()).get() == (200, "r1")

    def test_a_server_that_moved_is_found_at_its_new_port(self, two, app, client):
        app.kill("r1-web-0")
        two.attach(app("r1-web-0"))
        assert weights(two)["r1-web-0"] == 100
        assert client(two.url()).get() == (200, "r1")

    # -- no request is lost

    def test_staged_weights_lose_nothing(self, two, load):
        with load(two.url()) as clients:
            for share in (5, 25, 50, 100):
                two.set_weights({"r2-web-0": share, "r1-web-0": 100 - share})
                clients.more(400)
            two.set_weights({"r1-web-0": 100, "r2-web-0": 0})
            clients.more(400)
        assert clients.lost == []
        assert clients.sent >= 2000
        assert clients.answers["r1"] > 500
        assert clients.answers["r2"] > 500

    def test_flips_lose_nothing(self, two, load):
        with load(two.url()) as clients:
            for _ in range(20):
                two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
                clients.more(50)
                two.set_weights({"r1-web-0": 100, "r2-web-0": 0})
                clients.more(50)
        assert clients.lost == []
        assert clients.sent >= 2000

    def test_posts_are_not_lost_by_flips_either(self, two, load):
        with load(two.url(), method="POST") as clients:
            for _ in range(10):
                two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
                clients.more(50)
                two.set_weights({"r1-web-0": 100, "r2-web-0": 0})
                clients.more(50)
        assert clients.lost == []
        assert clients.sent >= 1000

    def test_five_reloads_lose_nothing_not_even_on_idle_connections(self, two, load, client):
        idle = [client(two.url()) for _ in range(20)]
        assert {each.get() for each in idle} == {(200, "r1")}
        with load(two.url()) as clients:
            for _ in range(5):
                replaced(two)
                clients.more(200)
        assert {each.get() for each in idle} == {(200, "r1")}
        assert clients.lost == []
        assert clients.sent >= 1000

    def test_drain_and_detach_under_load_lose_nothing(self, two, load, eventually):
        with load(two.url()) as clients:
            two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
            eventually(lambda: in_flight(two, "r1-web-0") == 0)
            two.detach("r1-web-0")
            clients.more(300)
        assert clients.lost == []
        assert weights(two) == {"r2-web-0": 100}

    def test_attaching_under_load_loses_nothing(self, two, app, load):
        with load(two.url()) as clients:
            for number in range(1, 6):
                two.attach(app(f"r1-web-{number}"))
                two.set_weights({f"r1-web-{number}": 100})
                clients.more(100)
        assert clients.lost == []
        assert len(two.servers()) == 7

    def test_a_version_killed_at_half_of_the_traffic_loses_no_get(self, two, app, load, eventually):
        two.set_weights({"r2-web-0": 50, "r1-web-0": 50})
        with load(two.url()) as clients:
            clients.more(500)
            app.kill("r2-web-0")
            clients.more(500)
            eventually(lambda: not all(state.up for state in two.servers()))
            clients.more(300)
        assert clients.lost == []
        assert clients.answers["r2"] > 100

    # -- requests in flight

    def test_a_server_is_not_detached_with_weight_or_a_request_in_flight(self, two, client, eventually):
        with pytest.raises(DeploykitError, match="weight"):
            two.detach("r1-web-0")
        answers = []
        slow = client(two.url())
        thread = threading.Thread(target=lambda: answers.append(slow.get("/hold/one")))
        thread.start()
        eventually(lambda: in_flight(two, "r1-web-0") == 1)
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        with pytest.raises(DeploykitError, match="in flight"):
            two.detach("r1-web-0")
        let_go(two, "r1-web-0", "one")
        thread.join(10)
        assert answers == [(200, "r1")]
        eventually(lambda: in_flight(two, "r1-web-0") == 0)
        two.detach("r1-web-0")
        assert weights(two) == {"r2-web-0": 100}

    def test_past_the_drain_limit_a_server_is_detached_by_force(self, two, client, eventually):
        answers = []
        slow = client(two.url())

        def ask() -> None:
            with contextlib.suppress(OSError):
                answers.append(slow.get("/slow/30", method="POST")[0])

        thread = threading.Thread(target=ask)
        thread.start()
        eventually(lambda: in_flight(two, "r1-web-0") == 1)
        with pytest.raises(DeploykitError, match="weight"):
            two.detach("r1-web-0", force=True)
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        two.detach("r1-web-0", force=True)
        thread.join(10)
        assert not thread.is_alive()
        assert answers in ([], [502], [503])
        assert weights(two) == {"r2-web-0": 100}
        assert client(two.url()).get() == (200, "r2")

    def test_a_request_in_flight_survives_a_reload(self, two, client, eventually):
        answers = []
        slow = client(two.url())
        thread = threading.Thread(target=lambda: answers.append(slow.get("/hold/one")))
        thread.start()
        eventually(lambda: in_flight(two, "r1-web-0") == 1)
        replaced(two)
        assert in_flight(two, "r1-web-0") == 1, "a replaced process still has it"
        let_go(two, "r1-web-0", "one")
        thread.join(10)
        assert answers == [(200, "r1")]
        eventually(lambda: in_flight(two, "r1-web-0") == 0)

    def test_what_comes_on_an_idle_connection_after_a_reload_reaches_who_has_the_traffic_now(
        self, two, client, client_address, eventually
    ):
        idle = [client(two.url()) for _ in range(4)]
        for each in idle:
            assert each.get() == (200, "r1")
        replaced(two)
        mark = two.mark()
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        assert [each.get() for each in idle[:2]] == [(200, "r2")] * 2
        _, body = idle[2].get("/headers")
        assert {name.lower(): value for name, value in json.loads(body).items()}["x-forwarded-for"] == client_address
        assert idle[3].get("/status/500", method="POST")[0] == 500, "handed over with its method"
        eventually(lambda: two.traffic("r2", mark).requests == 4)
        assert two.traffic("r2", mark).errors == 1

    # -- what is done stays done

    def test_weights_survive_a_reload_and_a_stop(self, two, again, client):
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        replaced(two)
        here = client(two.url())
        assert {here.get() for _ in range(10)} == {(200, "r2")}
        two.down()
        other = again()
        other.ensure()
        assert weights(other) == {"r1-web-0": 0, "r2-web-0": 100}
        here = client(other.url())
        assert {here.get() for _ in range(10)} == {(200, "r2")}

    # -- what users get, and what probes get

    def test_traffic_can_be_counted_from_an_earlier_moment(self, two, client, eventually):
        client(two.url()).get()
        eventually(lambda: two.traffic("r1", two.mark(seconds_ago=60)).requests == 1)
        eventually(lambda: two.traffic("r1", two.mark(seconds_ago=0.3)).requests == 0)
        assert two.traffic("r1", two.mark(seconds_ago=60)).requests == 1

    def test_users_requests_are_counted_per_release(self, two, client, eventually):
        here = client(two.url())
        start = two.mark()
        here.get()
        # Its line may still be on the way: it has to stand before the mark.
        eventually(lambda: two.traffic("r1", start).requests == 1)
        mark = two.mark()
        for path in ("/", "/slow/0.1", "/status/404", "/status/500", "/database"):
            here.get(path)
        eventually(lambda: two.traffic("r1", mark).requests == 5)
        traffic = two.traffic("r1", mark)
        assert (traffic.errors, traffic.database_errors) == (2, 1)
        assert len(traffic.latencies_ms) == 5
        assert 100 <= max(traffic.latencies_ms) < 2000
        assert min(traffic.latencies_ms) < 100
        assert two.traffic("r2", mark).requests == 0
        assert two.traffic("r1", two.mark()).requests == 0

    def test_a_detached_servers_requests_still_count(self, two, client, eventually):
        mark = two.mark()
        client(two.url()).get()
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        eventually(lambda: in_flight(two, "r1-web-0") == 0)
        two.detach("r1-web-0")
        eventually(lambda: two.traffic("r1", mark).requests == 1)

    def test_a_client_that_leaves_is_no_error(self, two, client, eventually):
        mark = two.mark()
        leaver = client(two.url())

        def leave() -> None:
            with contextlib.suppress(OSError):
                leaver.get("/hold/leaver")

        thread = threading.Thread(target=leave)
        thread.start()
        eventually(lambda: in_flight(two, "r1-web-0") == 1)
        leaver._socket.shutdown(2)
        thread.join(10)
        let_go(two, "r1-web-0", "leaver")
        eventually(lambda: in_flight(two, "r1-web-0") == 0)
        client(two.url()).get()
        eventually(lambda: two.traffic("r1", mark).requests >= 1)
        assert two.traffic("r1", mark).errors == 0

    def test_a_server_that_breaks_its_answer_off_is_an_error(self, two, client, eventually):
        mark = two.mark()
        status, _ = client(two.url()).get("/die", method="POST")
        assert status >= 500
        eventually(lambda: two.traffic("r1", mark).errors == 1)

    def test_a_probe_reaches_its_release_at_weight_0_and_does_not_count(self, two, client):
        mark = two.mark()
        here = client(two.url())
        for _ in range(5):
            assert here.get(headers=two.probe_headers("r2")) == (200, "r2")
            assert here.get(headers=two.probe_headers("r1")) == (200, "r1")
            assert here.get() == (200, "r1")
        time.sleep(0.05)
        assert two.traffic("r2", mark).requests == 0
        assert two.traffic("r1", mark).requests == 5

    def test_probes_reach_every_replica(self, two, app, client):
        two.attach(app("r2-web-1", release="r2"))
        here = client(two.url())
        for _ in range(6):
            here.get(headers=two.probe_headers("r2"))
        for state in two.servers():
            if state.server.release == "r2":
                with urlopen(f"http://127.0.0.1:{state.server.port}/count") as answer:
                    assert json.load(answer) == {"GET": 3}

    def test_a_probe_of_a_dead_version_is_never_answered_by_another(self, two, app, client):
        headers = two.probe_headers("r2")
        app.kill("r2-web-0")
        status, body = client(two.url()).get(headers=headers)
        assert status == 503
        assert body != "r1"

    def test_the_application_does_not_see_the_probes_label(self, two, client):
        headers = two.probe_headers("r2")
        _, body = client(two.url()).get("/headers", headers=headers)
        seen = json.loads(body)
        assert not {name.lower() for name in headers} & set(seen)
        assert not any(value in body for value in headers.values())

    def test_a_guessed_label_is_an_ordinary_request_and_is_not_passed_on(self, two, client):
        (name, value), *_ = two.probe_headers("r2").items()
        token, _, server = value.rpartition(":")
        guessed = {name: f"{'0' * len(token)}:{server}"}
        status, body = client(two.url()).get("/headers", headers=guessed)
        assert status == 200
        assert name.lower() not in json.loads(body)
        assert client(two.url()).get(headers=guessed) == (200, "r1")

    def test_there_is_no_probe_of_a_release_that_is_not_there(self, two):
        with pytest.raises(DeploykitError, match="r9"):
            two.probe_headers("r9")

    def test_the_user_does_not_see_the_database_errors_label(self, two, client):
        here = client(two.url())
        assert here.get("/database")[0] == 500
        assert not [name for name in here.answered if "deploykit" in name]

    # -- each answer, and when it was asked for

    def test_each_answer_is_told_once_and_says_when_its_request_began(self, two, load, client, eventually):
        mark, read, asked = two.mark(), [], []

        def look() -> int:
            nonlocal mark
            answers, mark = two.answers(mark)
            read.extend(answers)
            return len(read)

        here = client(two.url())
        for _ in range(2):
            sent = time.time()
            here.get("/slow/0.3")
            asked.append((sent, time.time()))
            time.sleep(1)  # idle time of a connection that is kept alive is no part of the next request
        eventually(lambda: look() == 2)
        for answer, (sent, received) in zip(read, asked, strict=True):
            assert (answer.release, answer.error, answer.database_error) == ("r1", False, False)
            assert answer.ms >= 300
            assert sent - 0.01 <= answer.began <= received - 0.29
        # One client, since HAProxy drops a line where two threads have one to write.
        with load(two.url(), clients=1) as clients:
            for _ in range(8):
                clients.more(40)
                look()
            replaced(two)
            clients.more(100)
            two.set_weights({"r2-web-0": 50})
            clients.more(100)
        eventually(lambda: look() >= clients.sent + 2)
        assert Counter(answer.release for answer in read) == clients.answers + Counter(r1=2)
        assert look() == clients.sent + 2

    # -- routes

    def test_routes_lose_nothing_when_they_change_nor_when_their_server_is_killed(
        self, routed, app, load, client, eventually
    ):
        with (
            load(routed.url(), clients=4) as users,
            load(routed.url(), clients=4, headers={"X-Tester": "1"}) as testers,
        ):
            for number in range(12):
                server = f"r{1 + number % 2}-web-0"
                routed.set_routes({"tester": server, **(by_number(50) if number % 3 else {})})
                testers.more(20)
            routed.set_routes({"tester": "r2-web-0"})
            assert routed.routes() == {"tester": "r2-web-0"}
            here = client(routed.url())
            for headers in ({"X-Tester": ""}, {"x-tester": "any"}, {"Cookie": "a=b; tester=c; d=e"}):
                assert here.get(headers=headers) == (200, "r2")
                assert here.get(headers=headers, method="POST") == (200, "r2")
            for headers in ({}, {"Cookie": "a=tester"}, {"Tester": "1"}):
                assert here.get(headers=headers) == (200, "r1")
                assert "set-cookie" not in here.answered
            assert weights(routed) == {"r1-web-0": 100, "r2-web-0": 0}
            routed.set_routes({})
            assert here.get(headers={"X-Tester": "1"}) == (200, "r1")
            routed.set_routes({"tester": "r2-web-0", **by_number(100)})
            users.more(100)
            app.kill("r2-web-0")
            users.more(200)
            eventually(lambda: not all(state.up for state in routed.servers()))
            testers.more(100)
        assert users.lost == testers.lost == []
        assert testers.answers["r1"] > 80
        assert testers.answers["r2"] > 80
        with pytest.raises(ValueError, match="a route is for"):
            routed.set_routes({"100": "r1-web-0"})
        with pytest.raises(DeploykitError, match="no server r9-web-0"):
            routed.set_routes({"tester": "r9-web-0"})
        assert routed.routes() == {"tester": "r2-web-0", **by_number(100)}

    def test_a_user_moves_to_the_candidate_at_most_once(self, routed, client):
        users = [client(routed.url()) for _ in range(40)]
        cookies: dict[int, str] = {}
        seen: dict[int, list[str]] = {index: [] for index in range(len(users))}
        for share in (5, 25, 50):
            routed.set_weights({"r2-web-0": share, "r1-web-0": 100 - share})
            routed.set_routes(by_number(share))
            assert routed.routes() == by_number(share)
            for _ in range(2):
                for index, user in enumerate(users):
                    headers = {"Cookie": f"other=1; {cookies[index]}"} if index in cookies else {}
                    _, release = user.get(headers=headers)
                    seen[index].append(release)
                    if (given := user.answered.get("set-cookie")) is not None:
                        assert index not in cookies, "a user gets a number once"
                        cookies[index], *rest = given.split("; ")
                        assert rest == ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=86400"]
                    assert release == ("r2" if int(cookies[index].partition("=")[2]) < share else "r1")
        assert all("".join(releases) == "".join(sorted(releases)) for releases in seen.values()), "none moves back"
        assert len(set(cookies.values())) > 10
        for broken in ("100", "-1", "007", "x", ""):
            users[0].get(headers={"Cookie": f"deploykit-user={broken}"})
            assert users[0].answered["set-cookie"].startswith("deploykit-user=")
        users[0].get(headers=routed.probe_headers("r2"))
        assert "set-cookie" not in users[0].answered
        replaced(routed)  # a connection that was idle is answered by two proxies once: one of them gives the number
        users[1].get()
        assert len(users[1].answered_lines("set-cookie")) == 1

    def test_routes_and_maintenance_are_what_they_were_after_a_kill_and_a_replacement(
        self, routed, pid, client, eventually
    ):
        routes = {**by_number(30), "tester": "r2-web-0"}
        routed.set_routes(routes)
        assert routed.maintenance_since() is None
        before = time.time()
        routed.set_maintenance(enabled=True)
        since = routed.maintenance_since()
        assert before - 0.001 <= since <= time.time()
        killed = pid(routed)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: pid(routed) not in {None, killed})
        for change in (lambda: None, lambda: replaced(routed), lambda: routed.set_maintenance(enabled=True)):
            change()
            assert routed.routes() == routes
            assert routed.maintenance_since() == since
            assert client(routed.url()).get()[0] == 503
        routed.set_maintenance(enabled=False)
        assert client(routed.url()).get(headers={"X-Tester": "1"}) == (200, "r2")
        routed.detach("r2-web-0")
        left = {key: server for key, server in routes.items() if server != "r2-web-0"}
        assert routed.routes() == left
        assert client(routed.url()).get(headers={"X-Tester": "1"}) == (200, "r1")

    # -- maintenance

    def test_in_maintenance_users_get_the_page_and_probes_the_servers(self, two, load, client, eventually):
        mark = two.mark()
        with load(two.url(), pause=0.002) as clients:
            for _ in range(3):
                two.set_maintenance(enabled=True)
                here = client(two.url())
                status, page = here.get()
                assert status == 503
                assert "Back in a moment" in page
                assert here.answered["retry-after"] == "30"
                assert here.answered["content-type"] == "text/html; charset=utf-8"
                assert client(two.url()).get("/a", method="POST", body=b"x" * 100_000)[0] == 503
                for release in ("r1", "r2"):
                    assert here.get(headers=two.probe_headers(release)) == (200, release)
                clients.more(50)
                two.set_maintenance(enabled=False)
                assert here.get() == (200, "r1")
                clients.more(50)
        assert set(clients.lost) == {f"503: {page}"}
        assert clients.answers["r1"] > 100
        assert two.maintenance_since() is None
        pages = len(clients.lost) + 6
        info = two._runtime.ask("show info").splitlines()
        dropped = next(int(line.partition(": ")[2]) for line in info if line.startswith("DroppedLogs"))
        eventually(lambda: pages - dropped <= two.maintenance_answers(mark) <= pages)
        assert two.traffic("r1", mark).errors == 0
        assert not [answer for answer in two.answers(mark)[0] if answer.error]

    # -- a proxy that dies while it is talked to

    @pytest.mark.parametrize(
        ("what", "ask"),
        [
            *_sampled("weights", range(8), always=(0, 4, 7)),
            *_sampled("attach", (0, 3, 5), always=(3,)),
            *_sampled("detach", (0, 3, 5), always=(0,)),
            *_sampled("ensure", (0, 1), always=(1,)),
            *_sampled("maintenance", range(7), always=(3,)),
            ("look", 0),
        ],
    )
    def test_a_proxy_that_is_killed_in_the_middle_of_a_change_is_waited_for(
        self, two, app, client, pid, eventually, monkeypatch, what, ask
    ):
        """At each question that the change asks of it: it comes back with the file's weights, and the change is
        made.
        """
        third = app("r3-web-0")
        changes = {
            "weights": lambda: two.set_weights({"r2-web-0": 100, "r1-web-0": 0}),
            "attach": lambda: two.attach(third),
            "detach": lambda: two.detach("r2-web-0", force=True),
            "look": two.servers,
            "maintenance": lambda: two.set_maintenance(enabled=True),
            "ensure": two.ensure,
        }
        real, asked = two._runtime.ask, []

        def dying(*commands):
            asked.append(commands)
            if len(asked) == ask + 1:
                before = pid(two)
                os.kill(before, signal.SIGKILL)
                eventually(lambda: pid(two) != before)
            return real(*commands)

        monkeypatch.setattr(two._runtime, "ask", dying)
        changes[what]()
        monkeypatch.setattr(two._runtime, "ask", real)
        assert len(asked) > ask, "it was not killed"
        expected = {"r1-web-0": 100, "r2-web-0": 0}
        expected |= {"r1-web-0": 0, "r2-web-0": 100} if what == "weights" else {}
        expected |= {"r3-web-0": 0} if what == "attach" else {}
        if what == "detach":
            del expected["r2-web-0"]
        assert weights(two) == expected
        if what == "maintenance":
            assert two.maintenance_since()
            replaced(two)
            assert client(two.url()).get()[0] == 503
            two.set_maintenance(enabled=False)
        assert client(two.url()).get() == (200, "r2" if what == "weights" else "r1")

    # -- what passes through

    def test_large_bodies_pass(self, two, client):
        body = b"x" * 3_000_000
        assert client(two.url()).get("/echo", method="POST", body=body) == (200, body.decode())

    def test_the_application_learns_who_asked(self, two, client, client_address):
        _, body = client(two.url()).get("/headers")
        seen = json.loads(body)
        assert seen["x-forwarded-for"] == client_address
        assert seen["x-forwarded-proto"] == "http"
        assert seen["host"] == "localhost"

    def test_what_clients_say_of_themselves_does_not_reach_the_application(self, two, client, client_address):
        _, body = client(two.url()).get("/headers", headers=FORGED)
        seen = json.loads(body)
        assert seen["x-forwarded-for"] == client_address
        assert seen["x-forwarded-proto"] == "http"
        assert "forged" not in body
        assert set(seen) <= {"host", "x-forwarded-for", "x-forwarded-proto", "connection"}
        assert "x-forwarded-for" not in seen.get("connection", "")

    def test_a_trusted_proxy_is_believed(self, two, again, client, client_address):
        trusted = ("192.0.2.0/24", "2001:db8::/32", client_address)
        again(options=EdgeOptions(trusted_proxies=trusted)).ensure()
        _, body = client(two.url()).get("/headers", headers=FORGED)
        seen = json.loads(body)
        assert seen["x-forwarded-for"] == f"forged, {client_address}"
        assert seen["x-forwarded-proto"] == "forged"
        assert {name.lower() for name in FORGED if "deploykit" not in name.lower()} <= {*seen, "connection"}
        assert not [name for name in seen if "deploykit" in name]
        again(options=EdgeOptions(trusted_proxies=trusted[:2])).ensure()
        assert "forged" not in client(two.url()).get("/headers", headers=FORGED)[1], "others are trusted now"

    def test_nor_by_an_idle_connection_to_a_proxy_that_was_replaced(self, two, client, client_address):
        """It hands the request to its successor, which must believe what it says, and not what its client says."""
        here = client(two.url())
        assert here.get() == (200, "r1")
        replaced(two)
        _, body = here.get("/headers", headers=FORGED)
        assert "forged" not in body
        assert json.loads(body)["x-forwarded-for"] == client_address

    def test_health_checks_have_the_host_of_the_settings(self, two, again, client, eventually):
        for name, well in (("other.example.org", False), ("shop.example.org", True)):
            again(options=EdgeOptions(health_path="/host/shop.example.org", health_host=name)).ensure()
            eventually(lambda wanted=well: all(state.up is wanted for state in two.servers()))
        assert client(two.url()).get() == (200, "r1")

    def test_an_upgraded_connection_is_a_tunnel(self, two, client):
        here = client(two.url())
        status, _ = here.get("/upgrade", headers={"Connection": "Upgrade", "Upgrade": "echo"})
        assert status == 101
        here._socket.sendall(b"ping")
        assert here._more() == b"ping"
