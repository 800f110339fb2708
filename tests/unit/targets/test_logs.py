from __future__ import annotations

import os

import pytest

from deploykit.process.supervisor.daemon.logs import rotate
from deploykit.targets.logs import Follower, follow, prune, rotated_log, tail


@pytest.fixture
def log(tmp_path):
    return tmp_path / "web.log"


def append(log, text):
    with log.open("a") as file:
        file.write(text)


def test_no_log_has_no_lines(log):
    assert tail(log, 5) == ()
    assert Follower(log).lines() == []


@pytest.mark.parametrize(
    ("text", "lines", "wanted"),
    [
        ("", 3, ()),
        ("a\n", 3, ("a",)),
        ("a\nb\nc\n", 2, ("b", "c")),
        ("a\nb\nc", 2, ("b", "c")),
        ("a\n\n", 2, ("a", "")),
        ("a\r\nb\r\n", 2, ("a", "b")),
        ("a\nb\n", 0, ()),
    ],
)
def test_the_last_lines_are_given(log, text, lines, wanted):
    log.write_text(text)
    assert tail(log, lines) == wanted


def test_the_last_lines_of_a_large_log_are_given(log):
    log.write_text("".join(f"{number} {'x' * 200}\n" for number in range(2000)))
    assert [line.split()[0] for line in tail(log, 1000)] == [str(number) for number in range(1000, 2000)]


def test_what_is_not_utf_8_is_no_hindrance(log):
    log.write_bytes(b"caf\xe9\n")
    assert tail(log, 1) == ("caf�",)


def test_the_last_lines_reach_into_what_was_rotated_away(log):
    log.write_text("a\nb\nc\n")
    rotate(str(log), 3)
    append(log, "d\n")
    assert tail(log, 3) == ("b", "c", "d")


def test_a_small_log_is_not_rotated(log):
    log.write_text("a\n")
    rotate(str(log), 100)
    rotate(str(log.with_name("none.log")), 100)
    assert log.read_text() == "a\n"
    assert not rotated_log(log).exists()


def test_a_rotation_keeps_one_earlier_log(log):
    log.write_text("first\n")
    rotate(str(log), 3)
    log.write_text("second\n")
    rotate(str(log), 3)
    assert rotated_log(log).read_text() == "second\n"
    assert log.read_text() == ""


def test_only_whole_lines_are_handed_out(log):
    follower = Follower(log)
    append(log, "a\nb")
    assert follower.lines() == ["a"]
    append(log, "c\nd")
    assert follower.lines() == ["bc"]
    assert follower.lines(last=True) == ["d"]
    assert follower.lines(last=True) == []


def test_what_was_there_before_is_not_followed(log):
    append(log, "old\n")
    follower = Follower(log)
    append(log, "new\n")
    assert follower.lines() == ["new"]
    assert Follower(log, position=0).lines() == ["old", "new"]


def test_no_line_is_lost_or_doubled_by_a_rotation(log):
    follower = Follower(log)
    append(log, "a\nb")
    assert follower.lines() == ["a"]
    append(log, "c\nd\n")
    rotate(str(log), 1)
    append(log, "e\n")
    assert follower.lines() == ["bc", "d", "e"]
    rotate(str(log), 1)
    assert follower.lines() == []
    append(log, "f and more than there was before\n")
    assert follower.lines() == ["f and more than there was before"]


def test_a_log_that_was_emptied_is_read_from_its_start(log):
    append(log, "a long line\n")
    follower = Follower(log)
    log.write_text("b\n")
    assert follower.lines() == ["b"]


def test_following_waits_while_nothing_comes(tmp_path):
    logs = {name: tmp_path / f"{name}.log" for name in ("a", "b")}
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        append(logs["b"], f"{len(waits)}\n")

    lines = follow(logs, sleep=sleep)
    append(logs["a"], "x\ny\n")
    assert [next(lines) for _ in range(4)] == [("a", "x"), ("a", "y"), ("b", "1"), ("b", "2")]
    assert len(waits) == 2


def test_the_oldest_unused_logs_are_removed(tmp_path):
    for age, name in enumerate(("e", "d", "c", "b", "a")):
        log = tmp_path / f"{name}.log"
        log.touch()
        rotated_log(log).touch()
        os.utime(log, (1000 + age, 1000 + age))
    prune(tmp_path, used={"e.log"}, keep=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.log",
        "a.log.1",
        "b.log",
        "b.log.1",
        "e.log",
        "e.log.1",
    ]
    prune(tmp_path / "none", used=set(), keep=0)
