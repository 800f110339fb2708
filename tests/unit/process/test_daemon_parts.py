"""The pieces of the supervisor's program that need no running supervisor."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys

import pytest

from deploykit.process.supervisor import daemon


def test_a_process_is_named_by_its_number_its_start_and_the_boot():
    mine = daemon.birth_of(os.getpid())
    assert mine
    assert mine == daemon.birth_of(os.getpid())
    assert mine.startswith(daemon.boot_id())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert daemon.birth_of(other.pid) not in ("", mine)


def test_a_process_that_waits_to_be_reaped_is_gone():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert daemon.birth_of(pid) == ""
    os.waitpid(pid, 0)
    assert daemon.birth_of(pid) == ""


def test_without_proc_the_start_is_asked_of_ps(tmp_path, monkeypatch):
    said = tmp_path / "ps"
    said.write_text("#!/bin/sh\ncase $4 in 7) echo 'S  Mon Nov 23 18:00:00 2026';; 8) echo 'Z  Mon Nov 23';; esac\n")
    said.chmod(0o755)
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda argv, **values: run([said, *argv[1:]], **values))
    assert daemon._birth_by_ps(7) == "Mon Nov 23 18:00:00 2026"
    assert daemon._birth_by_ps(8) == ""
    assert daemon._birth_by_ps(9) == ""


def test_a_short_path_is_used_as_it_is_and_a_long_one_replaced(tmp_path):
    assert daemon.socket_path("/srv/app") == "/srv/app/socket"
    long = "/srv/" + "x" * 90
    assert daemon.socket_path(long).startswith(f"/tmp/dk-{os.geteuid()}-")
    assert daemon.socket_path(long) == daemon.socket_path(long)
    assert daemon.socket_path(long) != daemon.socket_path(long + "y")


def test_a_private_folder_is_closed_to_others(tmp_path):
    daemon.make_private(str(tmp_path / "a" / "b"))
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    daemon.make_private(str(tmp_path / "open"))
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_private_folder_is_no_link_to_another(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "theirs")
    with pytest.raises(daemon.Refused, match="belongs to somebody else"):
        daemon.make_private(str(tmp_path / "mine"))


def test_a_folder_of_another_user_is_not_private(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(daemon.Refused, match="belongs to somebody else"):
        daemon.make_private(str(tmp_path / "theirs"))
    daemon.make_private(str(tmp_path / "theirs"), owners=((tmp_path / "theirs").stat().st_uid,))


def test_a_state_that_is_none_is_an_error(tmp_path):
    assert daemon.read_state(str(tmp_path)) == []
    for text in ("", "{", '{"programs": 1}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(ValueError):
            daemon.read_state(str(tmp_path))
    (tmp_path / "state.json").write_text(json.dumps({"programs": [{}]}))
    assert daemon.read_state(str(tmp_path)) == [{}]


def test_one_supervisor_holds_a_folder(tmp_path):
    first = daemon.take_lock(str(tmp_path))
    assert first >= 0
    assert daemon.take_lock(str(tmp_path)) == -1
    os.close(first)
    again = daemon.take_lock(str(tmp_path))
    assert again >= 0
    os.close(again)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_a_listening_socket_takes_connections(address):
    with daemon.open_listener(address) as listener, socket.socket(listener.family) as client:
        client.settimeout(5)
        client.connect(listener.getsockname())


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(daemon.Refused, match="can't be listened on"):
        daemon.open_listener("192.0.2.1:80")
    with pytest.raises(daemon.Refused, match="can't be listened on"):
        daemon.open_listener("127.0.0.1:99999")


def test_the_program_needs_nothing_but_the_standard_library():
    code = f"import runpy; runpy.run_path({daemon.__file__!r}, run_name='x'); import sys; print('deploykit' in sys.modules)"
    said = subprocess.run(
        [sys._base_executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert said.stdout == "False\n"
