"""The pieces of the supervisor's program that need no running supervisor."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit.process.supervisor import daemon
from deploykit.process.supervisor.daemon.folder import make_private, take_lock
from deploykit.process.supervisor.daemon.loop import Loop
from deploykit.process.supervisor.daemon.protocol import ANOTHER_RUNS, Refused
from deploykit.process.supervisor.daemon.sockets import open_listener
from deploykit.process.supervisor.daemon.state import read_state


def test_a_private_folder_is_closed_to_others(tmp_path):
    make_private(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    make_private(str(tmp_path / "open"))
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_private_folder_is_no_link_to_another(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "theirs")
    with pytest.raises(Refused, match="belongs to somebody else"):
        make_private(str(tmp_path / "mine"))


def test_a_folder_of_another_user_is_not_private(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(Refused, match="belongs to somebody else"):
        make_private(str(tmp_path / "theirs"))
    make_private(str(tmp_path / "theirs"), owners=((tmp_path / "theirs").stat().st_uid,))


def test_a_state_that_is_none_is_an_error(tmp_path):
    assert read_state(str(tmp_path)) == []
    for text in ("", "{", "[]", "null", '{"programs": 1}', '{"programs": [{}]}', '{"programs": [{"spec": []}]}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(ValueError):
            read_state(str(tmp_path))


def test_one_supervisor_holds_a_folder(tmp_path):
    first = take_lock(str(tmp_path))
    assert first >= 0
    assert take_lock(str(tmp_path)) == -1
    os.close(first)
    again = take_lock(str(tmp_path))
    assert again >= 0
    os.close(again)


def test_what_is_due_at_the_end_is_not_done_any_more():
    loop, done = Loop(), []
    loop.call_later(0, lambda: setattr(loop, "done", True))
    loop.call_later(0, lambda: done.append("housekeeping"))
    loop.run()
    loop.close()
    assert done == []


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_a_listening_socket_takes_connections(address):
    with open_listener(address) as listener, socket.socket(listener.family) as client:
        client.settimeout(5)
        client.connect(listener.getsockname())


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(Refused, match="can't be listened on"):
        open_listener("192.0.2.1:80")
    with pytest.raises(Refused, match="can't be listened on"):
        open_listener("127.0.0.1:99999")


def test_the_program_needs_nothing_but_its_folder_and_the_standard_library(tmp_path):
    program = shutil.copytree(Path(daemon.__file__).parent, tmp_path / "daemon-1")
    (tmp_path / "locked").mkdir()
    held = take_lock(str(tmp_path / "locked"))
    words = [sys._base_executable, "-I", "-S", program, tmp_path / "locked"]
    said = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    os.close(held)
    assert (said.returncode, said.stderr) == (ANOTHER_RUNS, "")
