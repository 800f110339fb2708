from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys

import pytest

from deploykit.process.supervisor.daemon.identity import place, process_identity
from deploykit.release.environment import owner as module
from deploykit.release.environment.owner import Owner, actor


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    for variable in ("DEPLOYKIT_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"):
        monkeypatch.delenv(variable, raising=False)


def test_an_owner_is_read_back_from_its_text():
    me = Owner.me()
    assert Owner.parse(str(me)) == me
    assert (me.pid, me.host) == (os.getpid(), socket.gethostname())


@pytest.mark.parametrize("who", ["robin", "robin@example.org", "Robin Hood", "a pid 3 started 4"])
def test_names_with_odd_characters_come_back_as_an_owner_too(monkeypatch, who):
    monkeypatch.setenv("DEPLOYKIT_ACTOR", who)
    me = Owner.me()
    assert Owner.parse(str(me)) == me


@pytest.mark.parametrize("text", ["", "Robin (by hand)", "robin@host pid x started 3", "robin pid 3 started 4"])
def test_other_texts_name_no_owner(text):
    assert Owner.parse(text) is None


def test_somebody_who_lives_is_not_dead():
    assert not Owner.me().is_dead()


def test_a_process_that_has_ended_is_dead():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_identity(child.pid)
    assert started
    left = dataclasses.replace(Owner.me(), pid=child.pid, started=started)
    assert not left.is_dead()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
    assert left.is_dead(), "a zombie holds no lock"
    child.communicate()
    assert left.is_dead()


def test_another_process_with_the_same_number_is_not_the_owner():
    assert dataclasses.replace(Owner.me(), started=f"{place()}:1").is_dead()


@pytest.mark.parametrize("started", ["another-boot/4026531836:1", "1", "0", ":1"])
def test_of_another_place_nobody_can_say_that_it_is_dead_whatever_its_host_is_called(started):
    other = dataclasses.replace(Owner.me(), started=started)
    assert not other.can_be_seen()
    assert not other.is_dead()
    assert Owner.me().can_be_seen()


def test_the_actor_is_whom_the_ci_names_else_the_user(monkeypatch):
    monkeypatch.setattr(module.getpass, "getuser", lambda: "robin")
    assert actor() == "robin"
    monkeypatch.setenv("GITHUB_ACTOR", "wren")
    assert actor() == "wren"
    monkeypatch.setenv("DEPLOYKIT_ACTOR", "finch")
    assert actor() == "finch"


def test_a_user_without_a_name_is_told_by_number(monkeypatch):
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(module.getpass, "getuser", unknown)
    assert actor() == f"uid {os.getuid()}"
