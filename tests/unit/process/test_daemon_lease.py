"""The supervisor's lease, without a supervisor: its file, its clock, and a proxy's socket that is played."""

from __future__ import annotations

import json
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from deploykit.process.supervisor.daemon import lease as module
from deploykit.process.supervisor.daemon.clock import clock, seconds_left
from deploykit.process.supervisor.daemon.lease import Lease, read_lease

if TYPE_CHECKING:
    from pathlib import Path


class Loop:
    """Calls nothing by itself: `look` is the second that has passed."""

    def __init__(self) -> None:
        self.due = []

    def call_later(self, _seconds, callback):
        self.due.append(callback)

    def look(self):
        due, self.due = self.due, []
        for callback in due:
            callback()


class Now:
    """A clock of the test's own."""

    def __init__(self, monkeypatch) -> None:
        self.boot, self.seconds = "this boot", 100.0
        monkeypatch.setattr(module, "clock", lambda: (self.boot, self.seconds))
        monkeypatch.setattr(
            module, "seconds_left", lambda boot, until: until - self.seconds if boot == self.boot else 0.0
        )


class Proxy:
    """Answers on `admin.sock`: `answers` by command. `weights` is what it was told."""

    def __init__(self, folder: Path, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "admin.sock"))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                commands = client.recv(65_536).decode().strip().split(";")
                self.asked += commands
                client.sendall("".join(f"{self.answers.get(each, '')}\n\n" for each in commands).encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def now(monkeypatch):
    return Now(monkeypatch)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # as the daemon does
    return tmp_path


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def make(folder, loop):
    return lambda: Lease(str(folder), loop, SimpleNamespace(entries={}))


def record(folder: Path, **changes):
    return {
        "id": "one",
        "seconds": 60.0,
        "socket": "admin.sock",
        "program": "edge",
        "finish_signal": 10,
        "weights": {"old": 100, "new": 0},
        "batches": [
            {"commands": ["raise old"], "checks": [["get old", ["100 "]]]},
            {"commands": ["lower new"], "checks": [["get new", ["0 ", "No such"]]]},
        ],
        "files": [[str(folder / "haproxy.cfg"), "stable"]],
        **changes,
    }


def test_it_ends_once_and_no_renewal_comes_after_that(make, folder, loop, now):
    lease = make()
    lease.grant(record(folder))
    now.seconds += 59.9
    assert lease.renew("one")["ended_at"] is None
    now.seconds += 59.9
    loop.look()
    assert lease.show()["ended_at"] is None
    assert not (folder / "haproxy.cfg").exists()
    now.seconds += 0.1
    assert lease.renew("one")["ended_at"] is not None, "by its time, before anybody looked"
    now.seconds -= 50
    after = lease.show()
    assert lease.renew("one") == after, "an end is an end"
    loop.look()
    assert (folder / "haproxy.cfg").read_text() == "stable"


def test_somebody_elses_lease_is_not_renewed(make, folder, now):
    lease = make()
    before = lease.grant(record(folder, id="two"))
    now.seconds += 10
    assert lease.renew("one")["ends_at"] == before["ends_at"]
    assert lease.renew("")["ends_at"] > before["ends_at"]


def test_after_a_reboot_it_has_ended_and_its_files_are_there_before_anything_starts(make, folder, now):
    make().grant(record(folder))
    now.boot = "the next boot"
    assert read_lease(str(folder))["ended_at"] is not None
    lease = make()
    lease.recover()
    assert (folder / "haproxy.cfg").read_text() == "stable"
    assert lease.show()["holds"]


def test_the_next_daemon_goes_on_with_it(make, folder, loop, now):
    granted = make().grant(record(folder))
    lease = make()
    lease.recover()
    assert lease.show() == granted
    now.seconds += 61
    loop.look()
    assert (folder / "haproxy.cfg").read_text() == "stable"


def test_nothing_is_lowered_while_the_stable_version_was_not_raised(make, folder, loop, now):
    proxy = Proxy(folder, {"get old": "75 (initial 75)", "get new": "0 (initial 25)"})
    lease = make()
    lease.grant(record(folder, seconds=0.0))
    loop.look()
    assert "lower new" not in proxy.asked
    proxy.answers["get old"] = "100 (initial 75)"
    loop.look()
    assert proxy.asked[-4:] == ["raise old", "get old", "lower new", "get new"]
    proxy.close()


def test_until_the_kit_takes_over_it_is_done_again_each_second(make, folder, loop, now):
    lease = make()
    lease.grant(record(folder, seconds=0.0))
    for _ in range(2):
        (folder / "haproxy.cfg").write_text("the canary's")
        loop.look()
        assert (folder / "haproxy.cfg").read_text() == "stable"
    lease.prepare({"weights": {"old": 100}, "batches": [], "files": [[str(folder / "haproxy.cfg"), "as prepared"]]})
    loop.look()
    assert (folder / "haproxy.cfg").read_text() == "as prepared"
    lease.take_over()
    (folder / "haproxy.cfg").write_text("the kit's")
    loop.look()
    assert (folder / "haproxy.cfg").read_text() == "the kit's"
    assert lease.show()["ended_at"] is not None
    assert loop.due == []


def test_a_proxy_that_never_answers_does_not_keep_the_supervisor(make, folder, loop, now):
    """Connections to it are accepted by the kernel, and nobody reads them."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "admin.sock"))
        deaf.listen()
        make().grant(record(folder, seconds=0.0))
        thread = threading.Thread(target=loop.look)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert (folder / "haproxy.cfg").read_text() == "stable", "for its next start"


def test_a_file_that_can_not_be_written_is_said_once_and_tried_again(make, folder, loop, now, capsys):
    lease = make()
    lease.grant(record(folder, seconds=0.0, files=[[str(folder / "missing" / "haproxy.cfg"), "stable"]]))
    loop.look()
    loop.look()
    assert capsys.readouterr().err.count("FileNotFoundError: ") == 1
    (folder / "missing").mkdir()
    loop.look()
    assert (folder / "missing" / "haproxy.cfg").read_text() == "stable"


def test_one_that_is_ended_in_time_is_gone_and_one_that_has_ended_stays_until_it_is_forgotten(make, folder, loop, now):
    lease = make()
    lease.grant(record(folder))
    assert lease.end()["ended_at"] is None
    assert lease.show() is None
    assert read_lease(str(folder)) is None
    lease.grant(record(folder, seconds=0.0))
    assert lease.end()["ended_at"] is not None
    assert lease.show() is not None
    lease.forget()
    loop.look()
    assert lease.show() is None
    assert not (folder / "haproxy.cfg").exists()


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"id": "one"})])
def test_a_damaged_lease_is_put_aside(make, folder, capsys, text):
    (folder / "lease.json").write_text(text)
    assert read_lease(str(folder)) is None
    lease = make()
    lease.recover()
    assert lease.show() is None
    assert (folder / "lease.json.broken").read_text() == text
    assert "Error" in capsys.readouterr().err


def test_the_clock_goes_forward_and_another_boot_is_over():
    boot, seconds = clock()
    assert seconds_left(boot, seconds + 60) > 0
    assert seconds_left(boot, seconds) <= 0
    assert seconds_left("another boot", seconds + 60) <= 0


def test_where_there_is_no_such_clock_the_wall_clock_counts(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    boot, seconds = clock()
    assert boot == ""
    assert abs(seconds - time.time()) < 60
