"""Another user of this machine writes a team's ledger. Whatever is written there, the operator's commands run none of
it, send nothing to where it says, and give away no variable that it names.
"""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.ledger.interface import StepState
from deploykit.ledger.sql import open_ledger
from deploykit.model import ReleaseOutcome
from deploykit.release.version.spec import ReleaseSpec, SmokeSpec
from tests.shared.users import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOBODY = 65534
LOCAL = ("--env", "local")
SECRET = "wren-and-finch"  # pragma: allowlist secret


def as_another_user(act: Callable[[], None]) -> None:
    """Run it in a child that is `nobody`; what it raises is printed, and fails the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to act as a second user of the machine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads, none of which the child needs
        pid = in_a_child(NOBODY, act)
    assert os.waitpid(pid, 0)[1] == 0


@contextmanager
def listening() -> Iterator[SimpleNamespace]:
    """A server on the loopback that notes what it is sent."""
    made = SimpleNamespace(got=[])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Writer:
    """Mallory: may write the ledger, as everybody in the team may, and knows how it is written."""

    def __init__(self, ledger: str, marks: Path, url: str) -> None:
        self.ledger, self.marks, self.url = ledger, marks, url

    @contextmanager
    def opened(self) -> Iterator[Any]:
        ledger = open_ledger(self.ledger, app="tiny", environment="local")
        held = ledger.acquire("mallory", "", lease=60.0)
        self.token = held.token
        try:
            yield ledger
        finally:
            ledger.unlock("mallory", held.token)
            ledger.close()

    def evil(self, spec: ReleaseSpec, name: str) -> dict[str, Any]:
        """How a version is run, with a command in each place that may have one, and a variable of the operator's."""
        mark = ("/bin/sh", "-c", f"touch {self.marks}/{name}-$CLOUD_KEY")
        smoke = (SmokeSpec(command=mark), SmokeSpec(path="/", headers={"X-Key": "${CLOUD_KEY}"}))
        database = replace(spec.database, kind="env", source="CLOUD_KEY", variable="GREETING")
        made = replace(spec, argv=mark, smoke=smoke, database=database, variables={"LD_PRELOAD": f"{self.marks}/x.so"})
        return made.as_json()

    def step(self, ledger: Any, release: str, name: str, action: dict[str, Any], result: Any = None) -> None:
        ledger.result(ledger.intend(release, name, action, token=self.token), StepState.DONE, result or {})

    def add_event(self) -> None:
        """An event for a board of her own, with a token of the operator's."""
        with self.opened() as ledger:
            row = {"url": f"{self.url}/api/events", "token_variable": "CLOUD_KEY", "first": time.time()}
            ledger.add_timer("report", "r1", 0.0, {**row, "event": {"app": "bank", "release": "r1"}})

    def append(self) -> None:
        """In the right way, so that the chain holds: the versions are run otherwise now."""
        with self.opened() as ledger:
            for release in ("r1", "r2"):
                spec = ReleaseSpec.from_json([s for s in ledger.steps(release) if s.name == "plan"][-1].action)
                self.step(ledger, release, "plan", self.evil(spec, f"appended-{release}"))

    def append_unfinished(self) -> None:
        """A release that seems to have been killed once it was built."""
        with self.opened() as ledger:
            spec = ReleaseSpec.from_json(next(s for s in ledger.steps("r1") if s.name == "plan").action)
            live = ledger.live()
            fields = {"version": "6.6.6", "digest": live.digest, "commit": "", "tree": "", "actor": "ann"}
            made = ledger.begin(**fields, kind="release", previous="r2", token=self.token)
            self.step(ledger, made.id, "plan", self.evil(spec, "unfinished"))
            self.step(ledger, made.id, "build", {"tree": ""}, {"digest": live.digest})

    def write_anew(self) -> None:
        """Everything from the first entry on, and every hash fits."""
        import psycopg

        with self.opened() as ledger:
            spec = ReleaseSpec.from_json([s for s in ledger.steps("r1") if s.name == "plan"][-1].action)
            live = ledger.live()
        with psycopg.connect(self.ledger, autocommit=True) as connection:
            connection.execute("ALTER TABLE deploykit_entries DISABLE TRIGGER ALL")
            for table in ("steps", "releases", "timers", "evidence", "locks", "repositories", "entries", "chains"):
                connection.execute(f"DELETE FROM deploykit_{table}")
            connection.execute("ALTER TABLE deploykit_entries ENABLE TRIGGER ALL")
        with self.opened() as ledger:
            for version in ("1.0.0", "2.0.0"):
                fields = {"version": version, "digest": live.digest, "commit": "", "tree": "", "actor": "ann"}
                known = ledger.live()
                made = ledger.begin(**fields, kind="release", previous=known.id if known else "", token=self.token)
                self.step(ledger, made.id, "adopt", {"anchor": "ab" * 32})
                self.step(ledger, made.id, "plan", self.evil(spec, "anew"))
                ledger.finish(made.id, ReleaseOutcome.DONE)
                ledger.set_live(made.id)
            assert ledger.check() == []


def test_who_writes_the_ledger_runs_nothing_and_gets_nothing(
    here: Any, tiny: Path, foreign_repo: Any, server_15: Any, tmp_path_factory: Any, monkeypatch: Any
) -> None:
    marks = tmp_path_factory.mktemp("marks")
    marks.chmod(0o777)
    marks.parent.chmod(0o755)
    with listening() as ours, listening() as hers, server_15.database() as ledger:
        monkeypatch.setenv("TEAM_LEDGER", ledger)
        monkeypatch.setenv("CLOUD_KEY", SECRET)
        settings = tiny / "pyproject.toml"
        settings.write_text(
            f'{settings.read_text()}\n[tool.deploykit.board]\nurl = "{ours.url}"\n'
            '[tool.deploykit.environments.local]\ntarget = "process"\nledger = "env:TEAM_LEDGER"\n'
        )
        mallory = Writer(ledger, marks, hers.url)

        def release(text: str, number: int) -> Any:
            foreign_repo.behave(tiny, VERSION_TEXT=text)
            foreign_repo.commit(tiny, text, tag=f"v{number}.0.0")
            return here(tiny, "release", *LOCAL)

        def refused(*commands: str) -> None:
            """Each of them, with the same sentence and the same next command."""
            for command in commands:
                words = command.split()
                ran = here(tiny, words[0], *LOCAL, *words[1:])
                said = " ".join(ran.both.split())
                assert (ran.code, "Traceback" in said) == (1, False), ran.both
                assert "the ledger of local does not hold, so nothing that it says is acted on" in said
                assert "invoke history --env local --check" in said

        release("one", 2).ok()
        release("two", 3).ok()
        del ours.got[:]

        as_another_user(mallory.add_event)
        here(tiny, "reap", *LOCAL).ok()
        ((path, authorization, event),) = ours.got
        assert (path, SECRET in str(authorization), event["app"]) == ("/api/events", False, "tiny")

        as_another_user(mallory.append)
        refused("verify", "exec -- true", "rollback", "release", "reap")
        looked = here(tiny, "status", *LOCAL, "--json")
        assert (looked.code, looked.json["next_step"]) == (1, "invoke history --env local --check")
        as_another_user(mallory.append_unfinished)
        refused("release --resume", "rollback")
        checked = here(tiny, "history", *LOCAL, "--check")
        assert checked.code == 1
        assert "r1 (2.0.0) is not what this machine released by that name" in " ".join(checked.both.split())

        replaced = here(tiny, "ledger.adopt", *LOCAL, "--replace").ok()
        assert "not proven" in replaced.both
        assert here(tiny, "history", *LOCAL, "--check").code == 2
        release("three", 4).ok()
        here(tiny, "history", *LOCAL, "--check")
        here(tiny, "verify", *LOCAL).ok()

        as_another_user(mallory.write_anew)
        refused("rollback", "release --resume", "release", "reap", "verify")
        assert hers.got == []
        assert list(marks.iterdir()) == []
        here(tiny, "down", *LOCAL).ok()
