from __future__ import annotations

import http.server
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from deploykit.model.errors import Cancelled
from deploykit.process.cancellation import Cancellation
from deploykit.verify.http import Connection, NoAnswerError, get
from deploykit.verify.probe import ProbePath, probe
from deploykit.verify.smoke import SmokeFailedError
from deploykit.verify.smoke import smoke as run_smoke
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
    before = time.monotonic()
    sent = probe(
        server.url,
        [ProbePath("/health", 200), ProbePath("/page")],
        40,
        headers=lambda: {"X-Probe": "r2"},
        connections=3,
    )
    assert [answer.problem for answer in sent] == [""] * 40
    assert all(before <= answer.began <= time.monotonic() and answer.ms > 0 for answer in sent)
    paths = [path for path, *_ in server.seen]
    assert (paths.count("/health"), paths.count("/page")) == (20, 20)
    assert all(headers["X-Probe"] == "r2" for _, headers, _ in server.seen)
    assert len({address for *_, address in server.seen}) <= 3


def test_a_probe_that_fails_says_why(server):
    paths = [ProbePath("/broken"), ProbePath("/page", 201), ProbePath("/missing"), ProbePath("/cut")]
    sent = probe(server.url, paths, 40, headers=dict, redact=lambda text: text.replace("hunter2", "***"))
    problems = [answer.problem for answer in sent if answer.problem]
    assert len(problems) == 30
    assert min(problems).startswith("GET /broken: status 500; body: Traceback: ***")
    assert any("status 200, wanted 201" in problem for problem in problems)
    assert not any("/missing" in problem for problem in problems)


def test_probes_stop_when_the_time_is_over(server):
    ticks = iter([0.0, *[0.5] * 6])
    sent = probe(
        server.url, [ProbePath("/health")], 100, headers=dict, timeout=1, connections=1, clock=lambda: next(ticks, 2.0)
    )
    assert len(sent) == 3


def test_a_label_that_cannot_be_had_is_not_hidden(server):
    def headers():
        raise LookupError("no such release")

    with pytest.raises(LookupError):
        probe(server.url, [ProbePath("/health")], 10, headers=headers)


def test_what_is_called_meanwhile_ends_the_probes_by_its_error():
    """A lease that has ended: the version before has the traffic, and nobody asks this one any more."""

    def ended():
        raise LookupError("the lease has ended")

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LookupError, match="lease"):
            probe(url, [ProbePath("/")], 100, headers=dict, request_timeout=1.2, connections=1, meanwhile=ended)
