"""Whose a folder is: the state folder, what lies above it, and the folder of a socket."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from deploykit.model import UsageError
from deploykit.process import ownership
from deploykit.process.ownership import require_own_folder, socket_address


@pytest.fixture
def place():
    """A short path, which a socket's fits into."""
    with tempfile.TemporaryDirectory(prefix="dk-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_folder_of_ones_own_is_good_and_so_is_one_that_is_not_there(place):
    require_own_folder(place)
    require_own_folder(place / "not" / "there")


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o1777])
def test_a_folder_that_all_can_write_to_is_refused(place, mode):
    place.chmod(mode)
    with pytest.raises(UsageError, match="other users of this machine can write") as caught:
        require_own_folder(place)
    assert str(place) in caught.value.message
    assert caught.value.next_step


def test_the_next_step_is_a_command_that_mends_it(place):
    place.chmod(0o777)
    with pytest.raises(UsageError) as caught:
        require_own_folder(place)
    assert caught.value.next_step == f"chmod go-w {place}"
    place.chmod(0o755)
    require_own_folder(place)


def test_a_folder_below_one_that_all_can_write_to_is_refused_unless_that_is_sticky(place):
    (place / "common" / "state").mkdir(parents=True)
    (place / "common").chmod(0o777)
    with pytest.raises(UsageError, match="other users of this machine can write"):
        require_own_folder(place / "common" / "state")
    (place / "common").chmod(0o1777)
    require_own_folder(place / "common" / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused_and_so_is_one_below(place):
    (place / "theirs" / "state").mkdir(parents=True)
    os.chown(place / "theirs", 61_002, 61_002)
    for folder in (place / "theirs", place / "theirs" / "state", place / "theirs" / "not" / "there"):
        with pytest.raises(UsageError, match=f"{place}/theirs belongs to uid 61002"):
            require_own_folder(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_of_somebody_else_is_refused_wherever_it_leads(place):
    (place / "mine").mkdir()
    (place / "link").symlink_to("mine")
    require_own_folder(place / "link")
    os.chown(place / "link", 61_002, 61_002, follow_symlinks=False)
    for folder in (place / "link", place / "link" / "state"):
        with pytest.raises(UsageError, match=f"{place}/link belongs to uid 61002"):
            require_own_folder(folder)


def test_a_link_into_a_folder_of_all_is_refused(place):
    (place / "common").mkdir()
    (place / "common").chmod(0o777)
    (place / "link").symlink_to("common")
    with pytest.raises(UsageError, match="other users of this machine can write"):
        require_own_folder(place / "link")


def test_a_group_of_the_users_own_counts_as_the_user(place, monkeypatch):
    """Many systems give each user a group of the same name, and a umask that lets it write."""

    class Group:
        gr_name, gr_mem = "robin", ["robin"]

    class User:
        pw_name = "robin"

    monkeypatch.setattr(ownership.grp, "getgrgid", lambda _number: Group)
    monkeypatch.setattr(ownership.pwd, "getpwuid", lambda _number: User)
    place.chmod(0o770)
    require_own_folder(place)
    for name, members in (("staff", []), ("robin", ["wren"])):
        Group.gr_name, Group.gr_mem = name, members
        with pytest.raises(UsageError, match="other users of this machine can write"):
            require_own_folder(place)


# ---- sockets


def test_a_socket_is_reached_however_long_its_path_is(place):
    folder = place / ("deep-" * 40)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        server.listen()
        with socket_address(folder / "socket") as address:
            client.connect(address)


def test_where_a_long_path_has_no_short_spelling_it_is_refused(place, monkeypatch):
    folder = place / ("deep-" * 40)
    folder.mkdir()
    monkeypatch.setattr(ownership, "_PROC", Path("/nowhere"))
    with pytest.raises(UsageError, match="too long for this system") as caught, socket_address(folder / "socket"):
        pass
    assert "DEPLOYKIT_STATE_DIR" in caught.value.next_step


def test_a_socket_in_a_folder_that_others_write_to_is_not_used(place):
    place.chmod(0o777)
    with pytest.raises(UsageError, match="so its socket may be theirs"), socket_address(place / "socket"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_socket_in_a_folder_of_somebody_else_is_not_used(place):
    (place / "theirs").mkdir()
    os.chown(place / "theirs", 61_002, 61_002)
    with pytest.raises(UsageError, match="belongs to uid 61002"), socket_address(place / "theirs" / "socket"):
        pass
