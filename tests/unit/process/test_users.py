"""Users without an account, one for each program that root starts."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from deploykit.model import DeploykitError
from deploykit.process import users
from deploykit.process.users import NUMBERS, can_become_another, give_away, number_of

ALL = "         0          0 4294967295\n"


@pytest.fixture
def process(tmp_path, monkeypatch):
    """What /proc says of a root that may do everything."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tmp_path / "status").write_text("Name: x\nCapEff:\t00000000000000c0\n")
    (tmp_path / "uid_map").write_text(ALL)
    return tmp_path


def test_root_may_become_another_user_and_nobody_else_may(process, monkeypatch):
    assert can_become_another(process)
    assert can_become_another(process / "no-proc")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert not can_become_another(process)


def test_root_without_the_right_to_change_identity_stays_root(process):
    (process / "status").write_text("Name: x\nCapEff:\t0000000000000000\n")
    assert not can_become_another(process)


def test_a_root_whose_namespace_knows_no_other_user_stays_root(process):
    (process / "uid_map").write_text("         0       1000          1\n")
    assert not can_become_another(process)
    (process / "uid_map").write_text("         0     100000      65536\n")
    assert can_become_another(process)


def test_each_program_is_a_user_of_its_own_and_stays_it(tmp_path):
    programs = [f"shop/{environment} {kind}" for environment in ("local", "staging") for kind in ("edge", "database")]
    numbers = [number_of(program, tmp_path) for program in programs]
    assert len(set(numbers)) == 4
    assert all(number in NUMBERS for number in numbers)
    assert [number_of(program, tmp_path) for program in programs] == numbers


def test_of_two_who_ask_at_once_none_gets_the_others(tmp_path):
    programs = [f"shop/local {number}" for number in range(20)]
    threads = [threading.Thread(target=number_of, args=(program, tmp_path)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({number_of(program, tmp_path) for program in programs}) == 20
    assert sorted(json.loads((tmp_path / "users.json").read_text())) == sorted(programs)


def test_a_number_with_an_account_is_not_taken(tmp_path, monkeypatch):
    first = number_of("shop/local edge", tmp_path)
    (tmp_path / "users.json").unlink()
    monkeypatch.setattr(users, "_has_account", lambda number: number == first)
    assert number_of("shop/local edge", tmp_path) != first


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has two users")
def test_a_number_that_a_process_has_is_not_taken(tmp_path):
    from tests.shared.users import in_a_child

    first = number_of("shop/local edge", tmp_path)
    (tmp_path / "users.json").unlink()
    wait, go = os.pipe()
    pid = in_a_child(first, lambda: (os.close(go), os.read(wait, 1)))
    try:
        for _ in range(1_000):
            if Path(f"/proc/{pid}").stat().st_uid == first:
                break
            time.sleep(0.005)
        assert number_of("shop/local edge", tmp_path) != first
    finally:
        os.close(go)
        os.waitpid(pid, 0)
        os.close(wait)


def test_when_all_are_taken_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(users, "_has_account", lambda _number: True)
    with pytest.raises(DeploykitError, match="is taken, and shop/local edge needs one") as caught:
        number_of("shop/local edge", tmp_path)
    assert "users.json" in caught.value.next_step


@pytest.mark.parametrize("text", ["", "[]", '{"shop/local edge": 0}', '{"shop/local edge": "root"}'])
def test_a_file_that_would_make_a_program_root_is_refused(tmp_path, text):
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(DeploykitError, match="which user each program is"):
        number_of("shop/local edge", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_is_given_away_with_all_that_is_in_it_and_links_are_not_followed(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").touch()
    (tmp_path / "outside").touch()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    assert give_away(tmp_path / "folder", NUMBERS[0], NUMBERS[0])
    assert {path.lstat().st_uid for path in (tmp_path / "folder", *(tmp_path / "folder").rglob("*"))} == {NUMBERS[0]}
    assert (tmp_path / "outside").stat().st_uid == 0
    assert not give_away(tmp_path / "folder", NUMBERS[0], NUMBERS[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_with_a_second_name_is_not_given_away(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "shadow").touch()
    os.link(tmp_path / "shadow", tmp_path / "folder" / "mine")
    with pytest.raises(DeploykitError, match="has another name elsewhere"):
        give_away(tmp_path / "folder", NUMBERS[0], NUMBERS[0])
    assert (tmp_path / "shadow").stat().st_uid == 0
