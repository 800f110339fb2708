from __future__ import annotations

import http.server
import json
import socket
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from deploykit.model.errors import Cancelled
from deploykit.process.cancellation import Cancellation
from deploykit.verify.http import Connection, NoAnswerError, get
from deploykit.verify.judge import JudgementOutcome
from deploykit.verify.probe import ProbePath, probe
from deploykit.verify.smoke import SmokeFailedError
from deploykit.verify.smoke import smoke as run_smoke
from deploykit.verify.verify import probe_paths, verify
from deploykit.verify.warm import warm

smoke = partial(run_smoke, folder=Path(), variables={})


@dataclass(frozen=True)
class Check:
    path: str
    status: int = 200
    contains: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    command: tuple[str, ...] = ()
    timeout: float | None = None


@dataclass(frozen=True)
class Limits:
    error_rate: float = 0.01
    p95_ms: float = 500
    requests: int = 50


@dataclass(frozen=True)
class Seen:
    requests: int = 0
    errors: int = 0
    latencies_ms: tuple[float, ...] = ()
    database_errors: int = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers), self.client_address))
        status, body, extra = self.server.answers.get(self.path, (404, b"not here", {}))
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that closes early is what some tests are about."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.seen = []
        server.answers = {
            "/health": (200, b'{"version": "1"}', {}),
            "/page": (200, b"<h1>Shop</h1>", {}),
            "/moved": (302, b"", {"Location": "/login"}),
            "/broken": (500, b"Traceback: hunter2", {}),
            "/cut": (0, b"", {}),
            "/big": (200, b"x" * 2_000_000, {}),
        }
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class Edge:
    """An edge that has seen what the test says."""

    server: object
    seen: list[Seen]

    def url(self):
        return self.server.url

    def traffic(self, release, since):
        assert (release, since) == ("r2", "mark")
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]

    def probe_headers(self, release):
        return {"X-Probe": release}


# -- one request


def test_an_answer_has_its_status_headers_and_body(server):
    answer = get(f"{server.url}/moved?a=b", timeout=5)
    assert answer.status == 404
    answer = get(f"{server.url}/moved", timeout=5)
    assert (answer.status, answer.location) == (302, "/login")
    assert server.seen[0][0] == "/moved?a=b"
    assert get(f"{server.url}/health", timeout=5).location == ""


def test_no_answer_says_why(server):
    with pytest.raises(NoAnswerError, match="no answer"):
        get(f"{server.url}/cut", timeout=5)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as free:
        port = free.server_address[1]
    with pytest.raises(NoAnswerError) as caught:
        get(f"http://127.0.0.1:{port}/", timeout=5)
    assert caught.value.refused


def test_a_server_that_is_silent_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(NoAnswerError, match=r"within 0\.1 s"):
            get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda url, cancellation: get(url, timeout=60, cancellation=cancellation),
        lambda url, cancellation: smoke(url, [Check("/", timeout=60)], cancellation=cancellation),
        lambda url, cancellation: warm(url, ["/"], timeout=60, cancellation=cancellation),
        lambda url, cancellation: probe(
            url, [ProbePath("/")], 4, headers=dict, request_timeout=60, cancellation=cancellation
        ),
    ],
    ids=["get", "smoke", "warm", "probe"],
)
def test_a_cancellation_cuts_a_request_short_that_waits_for_its_answer(ask):
    cancellation = Cancellation()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        timer = threading.Timer(0.1, cancellation.cancel, ["cancelled by a test"])
        timer.start()
        with pytest.raises(Cancelled):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}", cancellation)
        timer.join()


def test_what_is_no_http_url_is_refused():
    with pytest.raises(ValueError, match="not the URL"):
        get("ftp://x/", timeout=1)


def test_a_connection_is_kept_and_survives_a_body_that_is_too_big(server):
    connection = Connection(server.url, timeout=5)
    assert [connection.get("/health").status for _ in range(3)] == [200] * 3
    assert len({address for _, _, address in server.seen}) == 1
    assert len(connection.get("/big").body) == 1_000_000
    assert connection.get("/health", timeout=3).status == 200
    connection.close()


# -- smoke and warm


def test_smoke_checks_that_pass_are_told_with_their_time(server):
    results = smoke(server.url, [Check("/page", contains="Shop"), Check("/moved", status=302)])
    assert [result.problem for result in results] == ["", ""]
    assert all(result.ms is not None for result in results)


def test_every_failed_smoke_check_is_named_with_its_cause(server):
    checks = [Check("/health"), Check("/page", contains="Cart"), Check("/moved"), Check("/broken"), Check("/cut")]
    with pytest.raises(SmokeFailedError, match="4 of 5 smoke checks failed") as caught:
        smoke(server.url, checks, redact=lambda text: text.replace("hunter2", "***"), next_step="invoke logs")
    page, moved, broken, cut = caught.value.details
    assert page == "GET /page: the body does not contain 'Cart'; body: <h1>Shop</h1>"
    assert moved == "GET /moved: status 302, a redirect to /login, wanted 200; body: (empty)"
    assert broken == "GET /broken: status 500, wanted 200; body: Traceback: ***"
    assert cut.startswith("GET /cut: no answer")
    assert caught.value.next_step == "invoke logs"


def test_warming_asks_each_path_a_few_times(server):
    assert len(warm(server.url, ["/health", "/page", "/health"], rounds=2)) == 4
    assert [path for path, *_ in server.seen] == ["/health", "/page"] * 2
    assert len(warm(server.url, ["/health", "/cut"], rounds=3)) == 1


# -- probes


def test_probes_are_labelled_bounded_and_take_the_paths_in_turn(server):
    sample = probe(
        server.url,
        [ProbePath("/health", 200), ProbePath("/page")],
        40,
        headers=lambda: {"X-Probe": "r2"},
        connections=3,
    )
    assert (sample.requests, sample.errors, len(sample.latencies_ms)) == (40, 0, 40)
    paths = [path for path, *_ in server.seen]
    assert (paths.count("/health"), paths.count("/page")) == (20, 20)
    assert all(headers["X-Probe"] == "r2" for _, headers, _ in server.seen)
    assert len({address for *_, address in server.seen}) <= 3


def test_a_probe_that_fails_says_why_once(server):
    paths = [ProbePath("/broken"), ProbePath("/page", 201), ProbePath("/missing"), ProbePath("/cut")]
    sample = probe(server.url, paths, 40, headers=dict, redact=lambda text: text.replace("hunter2", "***"))
    assert sample.errors == 30
    assert min(sample.causes).startswith("GET /broken: status 500; body: Traceback: ***")
    assert any("status 200, wanted 201" in cause for cause in sample.causes)
    assert not any("/missing" in cause for cause in sample.causes)


def test_probes_stop_when_the_time_is_over(server):
    ticks = iter([0.0, *[0.5] * 3])
    sample = probe(
        server.url, [ProbePath("/health")], 100, headers=dict, timeout=1, connections=1, clock=lambda: next(ticks, 2.0)
    )
    assert sample.requests == 3


def test_a_label_that_cannot_be_had_is_not_hidden(server):
    def headers():
        raise LookupError("no such release")

    with pytest.raises(LookupError):
        probe(server.url, [ProbePath("/health")], 10, headers=headers)


# -- verification


def test_enough_users_need_no_probes(server):
    verdict = verify(
        Edge(server, [Seen(60, 0, (5.0,) * 60)]), "r2", Limits(), since="mark", paths=probe_paths("/health")
    )
    assert verdict.passed
    assert server.seen == []


def test_probes_make_up_what_is_missing_and_it_is_said(server):
    said = []
    verdict = verify(
        Edge(server, [Seen(12, 0, (5.0,) * 12)]),
        "r2",
        Limits(),
        since="mark",
        paths=probe_paths("/health", [Check("/page"), Check("/health")]),
        on_progress=said.append,
    )
    assert verdict.passed
    assert "12 user requests + 38 probe requests" in str(verdict)
    assert len(server.seen) == 38
    assert said == ["12 user requests. Judged on 38 probe requests as well."]


def test_probes_that_fail_fail_the_release_with_their_cause(server):
    verdict = verify(Edge(server, [Seen()]), "r2", Limits(), since="mark", paths=probe_paths("/broken"))
    assert verdict.outcome is JudgementOutcome.FAILED
    assert "GET /broken: status 500" in json.dumps(verdict.as_json())


def test_a_release_that_nobody_can_ask_is_never_passed(server):
    url = server.url
    server.url = url.rpartition(":")[0] + ":1"
    verdict = verify(Edge(server, [Seen()]), "r2", Limits(), since="mark", paths=probe_paths("/health"))
    assert verdict.outcome is JudgementOutcome.FAILED


def test_users_are_watched_for_the_whole_watch(server):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    growing = [Seen(n * 20, 0, (5.0,) * n * 20) for n in range(6)]
    verdict = verify(
        Edge(server, growing),
        "r2",
        Limits(),
        since="mark",
        paths=(),
        watch=5,
        clock=lambda: now[0],
        sleep=sleep,
    )
    assert now[0] == 5
    assert verdict.figures["requests"] == 100


def test_a_bad_release_is_not_watched_to_the_end(server):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    verdict = verify(
        Edge(server, [Seen(), Seen(100, 6, (5.0,) * 100)]),
        "r2",
        Limits(),
        since="mark",
        paths=(),
        watch=600,
        clock=lambda: now[0],
        sleep=sleep,
    )
    assert now[0] == 1
    assert verdict.outcome is JudgementOutcome.FAILED


def test_the_watch_tells_of_seconds_in_which_users_came_and_of_no_others(server):
    now, told = [0.0], []
    seen = [Seen(n, 0, (5.0,) * n) for n in (0, 0, 7, 7, 9, 9)]
    verify(
        Edge(server, seen),
        "r2",
        Limits(requests=5),
        since="mark",
        paths=(),
        watch=5,
        on_progress=told.append,
        clock=lambda: now[0],
        sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    assert told == [
        "Watching user requests for 5 s",
        "7 user requests, 0 errors, 3 s left",
        "9 user requests, 0 errors, 1 s left",
    ]
