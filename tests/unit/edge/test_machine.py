"""Ports, programs, replaced processes and files: what the edge finds on the machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploykit.edge import binary as binaries
from deploykit.edge.binary import find_haproxy, install_line
from deploykit.edge.draining import DrainingProcesses
from deploykit.edge.errors import EdgeError, PortTaken, RuntimeUnreachable
from deploykit.edge.ports import check_free, find_free, holder
from deploykit.edge.runtime import RuntimeAPI
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sleeper():
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", "import signal, sys; print('up', flush=True); signal.pause()"],
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


# -- ports


def test_a_free_port_is_the_same_one_each_time_and_another_for_another_app():
    first = find_free("127.0.0.1", "shop/local")
    assert first == find_free("127.0.0.1", "shop/local")
    assert 20_000 <= first <= 29_999
    assert first != find_free("127.0.0.1", "blog/local")
    check_free("127.0.0.1", first, setting="x")


def test_a_port_that_is_taken_is_passed_over():
    port = find_free("127.0.0.1", "taken/local")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert find_free("127.0.0.1", "taken/local") != port
        with pytest.raises(PortTaken, match=f"port {port} is taken by ") as caught:
            check_free("127.0.0.1", port, setting="environments.local.port")
        assert "environments.local.port" in caught.value.next_step
        assert f"(pid {os.getpid()})" in caught.value.message


def test_an_address_that_is_not_ours_is_said():
    with pytest.raises(EdgeError, match="cannot be used"):
        check_free("192.0.2.1", 20_000, setting="x")


def test_who_holds_a_port_is_read_from_the_kernels_tables(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0\n"
        "   1: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0 100 0\n"
    )
    for pid, inode, name in (("11", 778, "client"), ("12", 777, "gunicorn")):
        fds = tmp_path / pid / "fd"
        fds.mkdir(parents=True)
        (fds / "0").symlink_to("/dev/null")
        (fds / "3").symlink_to(f"socket:[{inode}]")
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    (tmp_path / "13").mkdir()
    assert holder(8000, tmp_path) == "gunicorn (pid 12)"
    assert holder(8001, tmp_path) == ""
    assert holder(8000, tmp_path / "macos") == ""


# -- programs


def fake(path: Path, version: str = "HAProxy version 2.8.1 2023/01/01", code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setattr(binaries, "_wheel", lambda: None)


def test_the_setting_goes_before_all(tmp_path):
    mine = fake(tmp_path / "mine" / "haproxy", "HAProxy version 3.0.2-abc 2024/06/14")
    fake(tmp_path / "path" / "haproxy")
    found = find_haproxy(str(mine), tmp_path / "parts", path=str(tmp_path / "path"))
    assert (found.path, found.version, found.source) == (mine, "3.0.2-abc", "setting")


@pytest.mark.parametrize(
    ("version", "code", "why"),
    [("HAProxy version 2.4.22", 0, "too old"), ("HAProxy version 2.8.1", 3, "exit code 3"), ("hello", 0, "hello")],
)
def test_a_setting_that_names_no_usable_haproxy_is_refused_with_why(tmp_path, version, code, why):
    bad = fake(tmp_path / "haproxy", version, code)
    with pytest.raises(UsageError, match="no usable HAProxy") as caught:
        find_haproxy(str(bad), tmp_path / "parts")
    assert why in "\n".join(caught.value.details)


def test_a_setting_that_names_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        find_haproxy(str(tmp_path / "nowhere"), tmp_path / "parts")
    assert "no such program" in caught.value.details[0]


def test_the_path_goes_before_the_wheel(tmp_path):
    there = fake(tmp_path / "path" / "haproxy")
    assert find_haproxy("", tmp_path / "parts", path=str(there.parent)).source == "PATH"


def test_the_wheels_haproxy_is_copied_to_where_no_virtual_environment_is_needed(tmp_path, monkeypatch):
    too_old = fake(tmp_path / "path" / "haproxy", "HA-Proxy version 1.8.27")
    found = find_haproxy("", tmp_path / "parts", path=str(too_old.parent))
    assert found.source == "wheel"
    assert tmp_path / "parts" in found.path.parents
    assert (found.path.parent / "lib" / "libcrypto.so.3").exists()
    before = found.path.stat().st_ino
    assert find_haproxy("", tmp_path / "parts", path="/nowhere").path.stat().st_ino == before
    assert [entry.name for entry in (tmp_path / "parts").iterdir()] == [found.path.parent.name]
    # The virtual environment is gone: the copy is still found, and still runs.
    monkeypatch.setattr(binaries, "_wheel", lambda: None)
    again = find_haproxy("", tmp_path / "parts", path="/nowhere")
    assert (again.path, again.source) == (found.path, "parts")


def test_a_wheel_on_another_file_system_is_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    found = find_haproxy("", tmp_path / "parts", path="/nowhere")
    assert found.path.stat().st_nlink == 1


def test_without_any_haproxy_the_one_install_line_is_named(tmp_path, no_wheel):
    with pytest.raises(UsageError, match="not installed") as caught:
        find_haproxy("", tmp_path / "parts", path="/nowhere")
    assert caught.value.next_step == install_line()


@pytest.mark.parametrize(
    ("system", "machine", "line"),
    [
        ("linux", "x86_64", "pip install 'deploykit[local]'"),
        ("darwin", "arm64", "brew install haproxy"),
        ("linux", "aarch64", "install haproxy"),
    ],
)
def test_the_install_line_is_the_systems_own(system, machine, line):
    assert line in install_line(system, machine)


# -- replaced processes


def test_a_replaced_process_is_asked_once_to_finish(tmp_path, sleeper):
    draining = DrainingProcesses(tmp_path / "draining.json")
    draining.add(sleeper.pid, ["r1-web-0"])
    (entry,) = draining.alive()
    assert (entry.pid, entry.servers, entry.signalled) == (sleeper.pid, ("r1-web-0",), False)
    draining.soft_stop(None)
    assert sleeper.wait(10) == -signal.SIGUSR1
    assert draining.alive() == ()
    draining.soft_stop(None)


def test_the_process_that_stays_is_not_asked(tmp_path, sleeper):
    draining = DrainingProcesses(tmp_path / "draining.json")
    draining.add(sleeper.pid, [])
    draining.soft_stop(sleeper.pid)
    assert sleeper.poll() is None
    assert draining.alive() == ()


def test_a_process_id_that_is_anothers_now_is_left_alone(tmp_path, sleeper):
    draining = DrainingProcesses(tmp_path / "draining.json")
    draining.add(sleeper.pid, [])
    (tmp_path / "draining.json").write_text(
        (tmp_path / "draining.json").read_text().replace('"identity": "', '"identity": "9')
    )
    draining.soft_stop(None)
    assert sleeper.poll() is None


def test_a_process_that_was_not_replaced_is_forgotten(tmp_path, sleeper):
    draining = DrainingProcesses(tmp_path / "draining.json")
    draining.add(sleeper.pid, [])
    draining.forget(sleeper.pid)
    assert draining.alive() == ()
    (tmp_path / "draining.json").write_text("half a fi")
    assert draining.alive() == ()


# -- sockets


def test_nobody_on_the_socket_is_said(tmp_path):
    api = RuntimeAPI(tmp_path / "admin.sock")
    assert api.pid() is None
    with pytest.raises(RuntimeUnreachable) as caught:
        api.servers()
    assert "admin.sock" in caught.value.details[0]
    assert json.dumps(caught.value.details)
