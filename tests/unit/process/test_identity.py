"""What names a process: its start, and the boot that it is of."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deploykit.process.supervisor.daemon import identity
from deploykit.process.supervisor.daemon.identity import boot_id, is_of_this_boot, is_same_process, process_identity


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
    assert mine.split(":")[0] == boot_id() != ""
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


def test_an_identity_tells_its_boot():
    mine = process_identity(os.getpid())
    assert is_of_this_boot(mine)
    assert not is_of_this_boot(f"an-earlier-{mine}")


def test_without_proc_no_boot_is_known(no_proc):
    assert boot_id() == ""
    assert not is_of_this_boot(":1")


def test_without_proc_ps_is_asked(no_proc, tmp_path, monkeypatch):
    program = tmp_path / "ps"
    program.write_text("#!/bin/sh\ncase $4 in 7) echo 'S  Mon Nov 23 18:00:00 2026';; 8) echo 'Z  Mon Nov 23';; esac\n")
    program.chmod(0o755)
    monkeypatch.setattr(os, "defpath", str(tmp_path))
    assert process_identity(7) == "Mon-Nov-23-18:00:00-2026"
    assert process_identity(8) is None
    assert process_identity(9) is None
