"""Ten releases to containers, three of them broken, and four rollbacks, while keep-alive clients that never retry
send at least 300,000 requests.

Needs what the benchmark `docker` needs. It takes as long as the requests do: some minutes.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from benchmarks.docker import forget, free_port, registry, settings
from benchmarks.measure import Figure, Section, environment, timed
from benchmarks.switch import Commands, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hammer", "measure"]

WANTED = 300_000
_CLIENTS = 8
_LIMIT = 900.0
_ROOT = Path(__file__).resolve().parent.parent
_FIXTURES = _ROOT / "tests" / "fixtures"
_GOOD: dict[str, object] = {}
_BACK = "rollback"
CHANGES: tuple[tuple[str, dict[str, object]], ...] = (
    ("one", _GOOD),
    ("two", _GOOD),
    ("crashes", {"CRASH": True}),
    (_BACK, _GOOD),
    ("three", _GOOD),
    ("starts late", {"SLOW_START": 1.5}),
    ("answers 500", {"HEALTH_STATUS": 500}),
    (_BACK, _GOOD),
    ("four", _GOOD),
    ("five", _GOOD),
    (_BACK, _GOOD),
    ("crashes too", {"CRASH": True}),
    ("six", _GOOD),
    (_BACK, _GOOD),
)
_BROKEN = frozenset(text for text, how in CHANGES if how.keys() & {"CRASH", "HEALTH_STATUS"})


def measure() -> Section:
    sys.path.insert(0, str(_FIXTURES))
    foreign_repo = importlib.import_module("foreign_repo")
    with state_folder() as state, tempfile.TemporaryDirectory(prefix="dk-load-") as folder, registry() as address:
        app = f"load{os.getpid()}"
        repo = foreign_repo.make_tiny(Path(folder) / "tiny")
        (repo / "tasks.py").write_text("from deploykit.tasks import collection\n\nnamespace = collection()\n")
        (repo / "pyproject.toml").write_text(settings(app, address, free_port()))
        kit = Commands(repo, state)

        def write(text: str, how: dict[str, object]) -> None:
            foreign_repo.behave(repo, VERSION_TEXT=text, **how)
            foreign_repo.commit(repo, text)

        try:
            write("zero", {})
            _, first = kit.told("release")
            return _measure(kit, first["url"], write)
        finally:
            kit("down")
            forget(app)


def _measure(kit: Commands, url: str, write: Callable[[str, dict[str, object]], None]) -> Section:
    took: dict[str, list[float]] = {"release": [], "broken release": [], "rollback": []}
    began = time.monotonic()
    with Hammer(url) as hammer:
        for number, (text, how) in enumerate(CHANGES, 1):
            hammer.reach(WANTED * (number - 0.5) / len(CHANGES), until=began + _LIMIT)
            if text == _BACK:
                took["rollback"].append(kit("rollback").wall)
            elif text in _BROKEN:
                write(text, how)
                took["broken release"].append(kit.fails("release").wall)
            else:
                write(text, how)
                took["release"].append(kit("release").wall)
        hammer.reach(WANTED, until=began + _LIMIT)
    seconds = time.monotonic() - began
    seen = hammer.seen
    lost = sum(seen["lost"].values())
    return Section(
        title=f"Docker under load: {len(took['release'])} releases, {len(took['broken release'])} broken ones and "
        f"{len(took['rollback'])} rollbacks, {_CLIENTS} keep-alive clients that never retry and never pause",
        figures=[
            Figure(name="lost requests", unit="", samples=[lost], bound=0),
            Figure(name="requests", unit="", samples=[hammer.sent]),
            Figure(name=f"requests short of {WANTED:,}", unit="", samples=[max(0, WANTED - hammer.sent)], bound=0),
            Figure(
                name="answers of a version that is broken",
                unit="",
                samples=[sum(count for text, count in seen["answers"].items() if text in _BROKEN)],
                bound=0,
            ),
            Figure(name="versions that answered", unit="", samples=[len(seen["answers"])]),
            Figure(name="longest answer", unit="ms", samples=[seen["longest"] * 1000]),
            *(timed(f"invoke {name}, as typed, under this load", each) for name, each in took.items()),
            Figure(name="all of it", unit="s", samples=[seconds]),
        ],
        notes=[f"lost: {problem}, {count} times" for problem, count in list(seen["lost"].items())[:3]],
    )


class Hammer:
    """The clients' process; `seen` is what they saw so far."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        words = [parts.hostname or "", str(parts.port), str(_CLIENTS)]
        self._argv = [sys.executable, "-m", "benchmarks.hammer", *words]
        self.seen: dict[str, Any] = {"answers": {}, "lost": {}, "pages": 0, "longest": 0.0, "ended": False}

    @property
    def sent(self) -> int:
        """Requests that were answered or lost, without those that got the maintenance page."""
        return int(sum(self.seen["answers"].values()) + sum(self.seen["lost"].values()))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv,
            cwd=_ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.seen = json.loads(line)

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)
        self._reader.join(10)
        if not self.seen["ended"]:
            raise RuntimeError("the clients ended before they were told to")

    def reach(self, count: float, *, until: float) -> None:
        """Wait until so many requests were answered or lost; at most until that moment."""
        while self.sent < count and time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError("the clients ended")
            time.sleep(0.05)
