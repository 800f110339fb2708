"""Smoke checks that are more than one request: steps with cookies, variables, and commands."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from functools import partial

import pytest

from deploykit.credentials import Redactor
from deploykit.release.version.spec import SmokeSpec
from deploykit.verify.probe import probe_paths
from deploykit.verify.smoke import SmokeFailedError, smoke, variables_in


class Shop(http.server.BaseHTTPRequestHandler):
    """Sign up, log in, order: each step wants what the one before has given."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.seen.append((self.path, sent, dict(self.headers)))
        users = self.server.users
        if self.path == "/users":
            user = json.loads(sent)
            taken = user["name"] in users
            users[user["name"]] = user["password"]
            self.answer(409 if taken else 201)
        elif self.path == "/login":
            user = json.loads(sent)
            good = users.get(user["name"]) == user["password"]
            self.answer(200 if good else 403, cookies=("session=s1; Path=/; Secure; HttpOnly", "theme=dark"))
        else:
            self.answer(200 if "session=s1" in self.headers.get("Cookie", "") else 401, body=f"seen {sent}".encode())

    def do_GET(self):
        self.do_POST()

    def answer(self, status, body=b"", cookies=()):
        self.send_response(status)
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def shop():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        server.daemon_threads = True
        server.seen, server.users = [], {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()
        thread.join(10)


USER = '{"name": "smoke-{random}", "password": "${SMOKE_PASSWORD}"}'
STEPS = (
    SmokeSpec(path="/users", method="POST", body=USER, status=201),
    SmokeSpec(path="/login", method="POST", body=USER, headers={"X-Client": "${CLIENT}"}),
    SmokeSpec(path="/orders/{random}", method="POST", body="an order", contains="an order"),
)
VARIABLES = {"SMOKE_PASSWORD": "hunter2-hunter2", "CLIENT": "deploykit"}  # pragma: allowlist secret


@pytest.fixture
def try_it(shop, tmp_path):
    return partial(
        smoke, shop.url, folder=tmp_path, variables=VARIABLES, redact=Redactor([VARIABLES["SMOKE_PASSWORD"]])
    )


def test_steps_sign_up_log_in_and_do_what_the_app_is_for(shop, try_it):
    results = try_it(STEPS)
    assert [result.check for result in results] == ["POST /users", "POST /login", "POST /orders/{random}"]
    (_, first, _), (_, second, headers), (path, order, with_cookies) = shop.seen
    assert json.loads(first) == json.loads(second)
    assert json.loads(first)["password"] == "hunter2-hunter2"  # pragma: allowlist secret
    assert (headers["X-Client"], order) == ("deploykit", "an order")
    assert path.removeprefix("/orders/") in json.loads(first)["name"]
    assert with_cookies["Cookie"] == "session=s1; theme=dark"  # a Secure one, too: no TLS at the version's own address


def test_each_run_has_a_new_random_word_and_no_cookies_of_another(shop, try_it):
    try_it(STEPS)
    try_it(STEPS)
    assert len(shop.users) == 2
    with pytest.raises(SmokeFailedError, match="1 of 1 smoke checks failed"):
        try_it(STEPS[2:])


def test_a_step_that_fails_is_named_without_its_secret(shop, try_it):
    shop.users["x"] = "y"
    echo = SmokeSpec(path="/echo", method="POST", body="${SMOKE_PASSWORD}", status=200)
    with pytest.raises(SmokeFailedError) as caught:
        try_it([echo])
    assert caught.value.details == ("POST /echo: status 401, wanted 200; body: seen ********",)


def test_the_variables_of_checks_are_known_before_they_are_run():
    assert variables_in(STEPS) == {"SMOKE_PASSWORD", "CLIENT"}
    assert variables_in([SmokeSpec(path="/a")]) == frozenset()


def test_a_command_gets_the_versions_address_and_the_folder(shop, try_it, tmp_path):
    script = tmp_path / "smoke.py"
    script.write_text(
        "import sys, urllib.request, pathlib\n"
        "assert urllib.request.urlopen(urllib.request.Request(sys.argv[1] + '/users', method='POST',"
        ' data=b\'{"name": "a", "password": "b"}\')).status == 201\n'
        "assert pathlib.Path('smoke.py').is_file()\n"
    )
    (result,) = try_it([SmokeSpec(command=(sys.executable, "smoke.py", "{url}"))])
    assert (result.problem, shop.users) == ("", {"a": "b"})


def test_a_command_that_fails_is_told_with_what_it_printed_less_the_secrets(try_it):
    code = "import sys; print('got hunter2-hunter2'); print('why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SmokeFailedError) as caught:
        try_it([SmokeSpec(command=(sys.executable, "-c", code))])
    (detail,) = caught.value.details
    assert detail.endswith("exit code 3\n  got ********\n  why")
    assert "hunter2" not in detail


def test_a_command_that_does_not_end_or_does_not_exist_is_a_failed_check(try_it):
    forever = SmokeSpec(command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.3)
    with pytest.raises(SmokeFailedError, match="2 of 2") as caught:
        try_it([forever, SmokeSpec(command=("no-such-program-at-all",))])
    assert "did not end within 0.3 s" in caught.value.details[0]
    assert "there is no program 'no-such-program-at-all'" in caught.value.details[1]


def test_probes_ask_what_can_be_asked_again_and_again():
    checks = [SmokeSpec(path="/"), SmokeSpec(path="/page", status=302), *STEPS, SmokeSpec(path="/orders")]
    assert [path.path for path in probe_paths("/health", checks)] == ["/health", "/", "/page"]
    with_headers = SmokeSpec(path="/", headers={"Accept": "text/html"})
    assert [path.path for path in probe_paths("/health", [with_headers])] == ["/health"]
