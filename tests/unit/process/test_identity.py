"""What names a process: its start, and the boot that it is of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit.process.supervisor.daemon import identity
from deploykit.process.supervisor.daemon.identity import (
    is_gone,
    is_of_this_place,
    is_same_process,
    place,
    process_identity,
)


@pytest.fixture
def other():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def no_proc(monkeypatch):
    monkeypatch.setattr(identity, "_PROC", "/nowhere")


def test_a_process_is_named_by_its_start_and_the_boot(other):
    mine = process_identity(os.getpid())
    assert mine == process_identity(os.getpid())
    assert mine.split(":")[0] == place() != ""
    assert process_identity(other.pid) not in (None, mine)


def test_another_process_with_the_same_number_is_not_the_same(other):
    found = process_identity(other.pid)
    assert is_same_process(other.pid, found)
    assert not is_same_process(other.pid, found + "1")
    assert not is_same_process(os.getpid(), found)
    assert not is_same_process(os.getpid(), "")


def test_a_process_that_waits_to_be_reaped_is_gone(other):
    found = process_identity(other.pid)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert process_identity(other.pid) is None
    assert not is_same_process(other.pid, found)
    other.wait()
    assert process_identity(other.pid) is None


def test_an_identity_tells_its_place():
    mine = process_identity(os.getpid())
    assert is_of_this_place(mine)
    assert not is_of_this_place(f"an-earlier-{mine}")
    boot, namespace = place().split("/")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert Path("/proc/self/ns/pid").readlink() == Path(f"pid:[{namespace}]")


def test_only_what_would_be_seen_from_here_is_gone(other):
    found = process_identity(other.pid)
    here, _, start = found.partition(":")
    boot, namespace = here.split("/")
    assert not is_gone(other.pid, found)
    other.kill()
    other.wait()
    assert is_gone(other.pid, found)
    for elsewhere in (f"{boot}/1", f"another-boot/{namespace}", boot, "", "0"):
        assert not is_gone(other.pid, f"{elsewhere}:{start}"), elsewhere


def test_a_process_that_proc_hides_is_not_gone(other, monkeypatch):
    """/proc mounted with `hidepid` does not show the processes of other users."""

    def refuse(_pid, _number):
        raise PermissionError

    found = process_identity(other.pid)
    monkeypatch.setattr(identity, "process_identity", lambda _pid: None)
    monkeypatch.setattr(os, "kill", refuse)
    assert not is_gone(other.pid, found)


def test_where_proc_is_another_namespaces_nothing_is_known(monkeypatch, other):
    """`unshare --pid` without `--mount-proc`: the numbers there are other processes'."""
    found = process_identity(other.pid)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert place() == ""
    assert not is_gone(other.pid, found)
    assert not is_gone(other.pid, process_identity(other.pid))


@pytest.fixture
def mac(no_proc, tmp_path, monkeypatch):
    """The programs of a system without /proc."""
    said = {
        "ps": "case $4 in 7) echo 'S  Mon Nov 23 18:00:00 2026';; 8) echo 'Z  Mon Nov 23';; esac; env > $0.env",
        "sysctl": "[ \"$*\" = '-n kern.bootsessionuuid' ] && echo 5A1E-B007",
    }
    for name, script in said.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(os, "defpath", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_without_proc_ps_and_sysctl_are_asked(mac):
    assert process_identity(7) == "5A1E-B007:Mon-Nov-23-18:00:00-2026"
    assert process_identity(8) is None
    assert process_identity(9) is None
    assert is_gone(7, "5A1E-B007:Mon-Nov-23-17:00:00-2026")
    assert not is_gone(7, "5A1E-B006:Mon-Nov-23-17:00:00-2026")


def test_the_callers_locale_and_time_zone_change_no_identity(mac, monkeypatch):
    before = process_identity(7)
    for name, value in (("LC_ALL", "de_DE.UTF-8"), ("LANG", "de_DE.UTF-8"), ("TZ", "Asia/Tokyo")):
        monkeypatch.setenv(name, value)
    assert process_identity(7) == before
    had = dict(line.split("=", 1) for line in (mac / "ps.env").read_text().splitlines())
    assert (had["LC_ALL"], had["TZ"]) == ("C", "UTC")
    assert "LANG" not in had


def test_without_proc_and_sysctl_nobody_is_gone(no_proc, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    monkeypatch.setattr(identity, "_said_by", lambda *_argv: "")
    assert place() == ""
    assert not is_gone(7, ":1")
