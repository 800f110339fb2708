"""A copy of the advisories is replaced by a better one, or stays as it is."""

from __future__ import annotations

import gzip
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from deploykit.gates.audit.advisories.update import update_copy
from deploykit.model import DeploykitError, InconclusiveError, UsageError
from tests.shared.attackers import listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def records(count: int, day: str = "2026-11-01") -> str:
    return "".join(
        json.dumps(
            {
                "id": f"PYSEC-2026-{number}",
                "modified": f"{day}T10:00:00Z",
                "affected": [{"package": {"name": f"demo{number}", "ecosystem": "PyPI"}, "versions": ["1"]}],
            }
        )
        + "\n"
        for number in range(count)
    )


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "kept" / "advisories.jsonl"
    path.parent.mkdir()
    path.write_text(records(20))
    return path


@pytest.fixture
def serve() -> Iterator[object]:
    """Serve one answer at an address of this machine: its status, its body, and how long it says the body is."""
    servers = []

    def start(body: bytes, *, status: int = 200, length: int | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/osv?token=hidden-word"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def left_beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each != path)


def test_a_newer_file_takes_the_place_of_the_copy(here, tmp_path):
    source = tmp_path / "new.jsonl.gz"
    source.write_bytes(gzip.compress(records(21, "2026-11-20").encode()))
    done = update_copy(str(source), here)
    assert done.before is not None
    assert (len(done.before.by_id), len(done.after.by_id)) == (20, 21)
    assert here.read_bytes() == source.read_bytes()
    assert left_beside(here) == []


def test_the_first_copy_is_taken_from_an_address(serve, tmp_path):
    archive = tmp_path / "osv.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for number, line in enumerate(records(3).splitlines()):
            made.writestr(f"{number}.json", line)
    target = tmp_path / "new" / "osv.zip"
    done = update_copy(serve(archive.read_bytes()), target)
    assert done.before is None
    assert len(done.after.by_id) == 3
    assert target.read_bytes() == archive.read_bytes()


@pytest.mark.parametrize(
    ("body", "options", "kind", "says"),
    [
        (b"gone", {"status": 404}, DeploykitError, "answers 404"),
        (b"", {"status": 302}, DeploykitError, "answers 302"),
        (records(30).encode()[:-40], {"length": 99_999}, DeploykitError, "to its end"),
        (records(30).encode()[:-40], {}, InconclusiveError, "unusable"),
        (gzip.compress(records(30).encode())[:-20], {}, InconclusiveError, "unusable"),
        (b"<html>Please log in</html>", {}, InconclusiveError, "unusable"),
        (b"", {}, InconclusiveError, "unusable"),
        (records(20, "2026-10-01").encode(), {}, DeploykitError, "older"),
        (records(17, "2026-11-20").encode(), {}, DeploykitError, "17 advisories"),
    ],
)
def test_what_is_no_better_leaves_the_copy_as_it_is(serve, here, body, options, kind, says):
    before = here.read_bytes()
    with pytest.raises(kind, match=says) as failed:
        update_copy(serve(body, **options), here)
    assert failed.value.next_step
    assert "hidden-word" not in f"{failed.value} {failed.value.details}"
    assert here.read_bytes() == before
    assert left_beside(here) == []


def test_force_takes_an_older_one(serve, here):
    assert update_copy(serve(records(5, "2026-10-01").encode()), here, force=True).after.by_id.keys() >= {
        "PYSEC-2026-4"
    }


def test_a_copy_that_cannot_be_read_is_replaced(serve, here):
    here.write_text("{")
    assert update_copy(serve(records(5).encode()), here).before is None


@pytest.mark.parametrize(
    ("source", "says"),
    [("no/such/file.zip", "no file"), ("http://advisories.example.org/all.zip", "plain http"), (".", "no file")],
)
def test_a_source_that_will_not_do_is_a_usage_error(here, source, says):
    with pytest.raises(UsageError, match=says):
        update_copy(source, here)
    assert left_beside(here) == []


def test_an_address_where_nobody_listens_is_one_sentence(here):
    with pytest.raises(DeploykitError, match="could not be fetched"):
        update_copy("http://127.0.0.1:9/osv.zip", here)
    assert left_beside(here) == []


def test_a_place_that_can_not_be_written_is_one_sentence(here: Path) -> None:
    with pytest.raises(UsageError, match="can't be written") as refused:
        update_copy(str(here), here / "inside" / "copy.jsonl")
    assert refused.value.next_step == "name another place: --to PATH"


def test_an_address_that_is_none_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match=r"https://\[ is no address"):
        update_copy("https://[", here)


def test_user_and_password_of_a_source_follow_it_nowhere(here: Path) -> None:
    with listening() as source, listening("127.0.0.2") as attacker:
        source.redirects(attacker.url)
        with pytest.raises(DeploykitError, match="sends on to"):
            update_copy(source.url.replace("//", "//robin:wren-and-finch@"), here)
        assert "Authorization" in source.heard[0].headers
        assert attacker.heard == []
    assert left_beside(here) == []


def test_no_proxy_makes_up_what_this_machine_serves(serve, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert update_copy(serve(records(21, "2026-11-20").encode()), here).before is not None
        assert proxy.heard == []
