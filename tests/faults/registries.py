"""A registry that can't, while a release pushes to it: that is said, nothing is half done, and users notice nothing."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from harness import KEPT_WARM, Load, docker_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import ReleasedService


class _Server(ThreadingHTTPServer):
    """A registry in the state that `how` says: "500", "cut" (no answer comes), or "cut at the push"."""

    daemon_threads = True
    how = "500"
    asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        self.server.asked += 1
        # A tag that is not there yet: so far all is well, and docker begins to push.
        new = self.server.how == "cut at the push" and "/manifests/" in self.path
        if self.server.how.startswith("cut") and not new:
            self.close_connection = True
            return
        code, body = (404, b"{}") if new else (500, b'{"errors": [{"code": "UNKNOWN", "message": "disk is full"}]}')
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def registry() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        pytest.param("500", "(HTTP 500), 5 times in a row", marks=pytest.mark.every_case),
        ("cut at the push", "failed, 5 times in a row"),
        pytest.param("cut", "can't be reached, 5 times in a row", marks=pytest.mark.every_case),
    ],
)
def test_a_registry_that_can_not_fails_the_release_before_anything_is_started(
    tiny: ReleasedService, registry: _Server, how: str, says: str
) -> None:
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("one")
    before = tiny.instances()
    registry.how = how
    tiny.settings(warm_for=KEPT_WARM, repository=f"127.0.0.1:{registry.server_port}/team/app")
    tiny.behave("two")
    with Load(tiny.url) as load:
        ran = tiny("release", "--json")
        load.next_answers()
    load.assert_nothing_lost()
    assert set(load.answers) == {"one"}
    assert ran.returncode == 1
    assert registry.asked >= 5, "it was tried again"
    report = ran.json
    assert says in report["reason"]
    assert f"127.0.0.1:{registry.server_port}" in report["reason"], "it names the registry"
    assert report["details"], "and has its words"
    assert report["next_step"]
    assert "(r1)" in report["live"]
    assert [stage["name"] for stage in report["stages"]] == ["plan", "preflight", "build"]
    assert "Traceback" not in ran.output
    assert tiny.instances() == before, "nothing was started"
    ours = docker_engine().containers({"deploykit.app": tiny.app, "deploykit.kind": "instance"})
    assert len(ours) == 1
    assert tiny.problems() == []
    # It goes on where it is able to: the image is there already.
    tiny.settings(warm_for=KEPT_WARM)
    tiny.release("two")
    assert tiny.serves(tiny.url) == "two"
    assert tiny.problems() == []
