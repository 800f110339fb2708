"""A real process that is waited for: how soon its failure is seen, and what is told of it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from deploykit.verify.health import ExitInfo, UnhealthyError, wait_healthy

_SERVER = """
import http.server, json, sys, time
delay, status, body = float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body)
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_):
        pass
time.sleep(delay)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Running:
    """A process whose output is its log."""

    def __init__(self, folder, argv) -> None:
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def ended(self) -> ExitInfo | None:
        code = self.process.poll()
        return None if code is None else ExitInfo(code=code)

    def logs(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture
def run(tmp_path):
    running = []

    def start(*argv: str) -> Running:
        running.append(Running(tmp_path, [sys.executable, "-c", *argv]))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()


def wait(port, process, **options):
    url = f"http://127.0.0.1:{port}/health"
    return wait_healthy(url, **{"timeout": 30, "ended": process.ended, "logs": process.logs, **options})


def test_a_version_that_starts_late_is_healthy_a_moment_after_it_listens(run, free_port):
    process = run(_SERVER, str(free_port), "0.5", "200", '{"version": "2"}')
    healthy = wait(free_port, process, version="2")
    assert healthy.version == "2"
    assert healthy.questions > 4


def test_a_crash_at_the_start_is_seen_with_its_cause(run, free_port):
    process = run("raise SystemExit('no such module: shop')")
    with pytest.raises(UnhealthyError, match="exit code 1") as caught:
        wait(free_port, process)
    assert caught.value.details[-1] == "  no such module: shop"


def test_a_process_that_is_killed_is_seen_at_once(run, free_port):
    process = run("import time; time.sleep(60)")
    process.process.send_signal(signal.SIGKILL)
    with pytest.raises(UnhealthyError, match="killed by signal 9"):
        wait(free_port, process)


def test_500_on_the_health_path_is_given_up_with_its_body(run, free_port):
    process = run(_SERVER, str(free_port), "0", "500", "relation users does not exist")
    with pytest.raises(UnhealthyError, match="it answers 500") as caught:
        wait(free_port, process)
    assert "body: relation users does not exist" in caught.value.details


def test_a_redirect_names_where_it_points_to(run, free_port):
    process = run(_SERVER, str(free_port), "0", "302", "https://shop.example/login")
    with pytest.raises(UnhealthyError, match=r"a redirect to https://shop\.example/login"):
        wait(free_port, process, grace=0.2)
