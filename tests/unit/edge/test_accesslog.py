from __future__ import annotations

import shutil

import pytest

from deploykit.edge.accesslog import answers_of, earlier_mark, mark_of, parse_line, read_lines, traffic_of


def line(time_ms=1000, backend="app", server="r1-web-0", status=200, times="0 1 20 25", ended="--", database="-"):
    return f"dk1 {time_ms} {backend} {server} {status} {times} {ended} GET {database}\n"


RELEASES = {"r1-web-0": "r1", "r1-web-1": "r1", "r2-web-0": "r2"}


def answers(log, mark):
    lines, until = read_lines(log, mark)
    return answers_of(lines, {"app"}, RELEASES), until


def traffic(log, mark):
    return traffic_of(answers(log, mark)[0], "r1")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (line(), False),
        (line(status=404), False),
        (line(status=500), True),
        (line(status=502, times="0 1 -1 30", ended="SH"), True),
        (line(status=504, times="0 1 -1 300000", ended="sH"), True),
        (line(status=503, times="0 -1 -1 3000", ended="SC"), True),
        (line(status=200, ended="SD"), True),
        (line(status=-1, times="0 1 -1 30", ended="SH"), True),
        (line(status=200, ended="LR"), False),
        (line(status=200, ended="RD"), True),
    ],
)
def test_an_error_is_a_5xx_or_a_server_that_broke_off(text, error):
    assert parse_line(text.strip()).error is error


@pytest.mark.parametrize("ended", ["CD", "CH", "cD", "CQ"])
def test_a_client_that_leaves_is_no_error_and_no_evidence(ended, tmp_path):
    parsed = parse_line(line(status=-1, ended=ended).strip())
    assert parsed.client_left
    assert not parsed.error
    log = tmp_path / "log"
    log.write_text(line(status=200, ended=ended))
    assert answers(log, earlier_mark(0))[0] == []


def test_an_answer_that_failed_counts_although_its_client_left():
    assert parse_line(line(status=500, ended="CD").strip()).error


def test_latency_is_what_the_application_took_and_the_total_where_there_was_no_answer():
    assert parse_line(line(times="3 1 20 900").strip()).ms == 24
    assert parse_line(line(times="0 -1 -1 3000", status=503).strip()).ms == 3000
    assert parse_line(line(times="0 0 5 +7").strip()).ms == 5


@pytest.mark.parametrize(
    "text",
    ["", "[NOTICE] (1) : New worker", "dk1 x app s 200 0 0 0 0 -- GET -", "dk1 1 app s 200 0 0", "dk2" + line()[3:]],
)
def test_what_is_no_request_is_passed_over(text):
    assert parse_line(text) is None


def test_only_the_releases_servers_in_the_users_backend_count(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        line()
        + line(server="r1-web-1", database="1", status=500)
        + line(backend="probe")
        + line(server="r2-web-0")
        + line(server="<NOSRV>", status=503)
    )
    seen = traffic(log, mark_of(tmp_path / "none", 0))
    assert (seen.requests, seen.errors, seen.database_errors, list(seen.latencies_ms)) == (2, 1, 1, [21.0, 21.0])


def test_counting_starts_at_the_mark(tmp_path):
    log = tmp_path / "log"
    log.write_text(line(1000) * 3)
    mark = mark_of(log, 2000)
    assert traffic(log, mark).requests == 0
    with log.open("a") as file:
        file.write(line(2500) * 2)
    assert traffic(log, mark).requests == 2


@pytest.mark.parametrize("before", [0, 5])
def test_a_rotation_by_copy_and_truncate_loses_nothing(tmp_path, before):
    log = tmp_path / "log"
    log.write_text("".join(line(1000 + n) for n in range(before)))
    mark = mark_of(log, 2000)
    with log.open("a") as file:
        file.write("".join(line(2500 + n) for n in range(3)))
    shutil.copyfile(log, tmp_path / "log.1")
    log.write_text("")
    assert traffic(log, mark).requests == 3
    # Grown past the mark's offset again: the size alone would not show that the file was rotated.
    log.write_text("".join(line(4000 + n) for n in range(20)))
    assert traffic(log, mark).requests == 23


def test_a_rotated_copy_from_before_the_mark_does_not_count(tmp_path):
    log = tmp_path / "log"
    (tmp_path / "log.1").write_text(line(1000) * 4)
    log.write_text("")
    mark = mark_of(log, 2000)
    log.write_text(line(2500))
    assert traffic(log, mark).requests == 1


def test_there_is_no_traffic_without_a_log(tmp_path):
    mark = mark_of(tmp_path / "log", 1000)
    assert traffic(tmp_path / "log", mark).requests == 0
    assert dict(mark.value) == {"head": 0, "offset": 0, "time_ms": 1000}


def test_the_proxys_own_messages_between_requests_do_no_harm(tmp_path):
    log = tmp_path / "log"
    log.write_text("[NOTICE] hello\n" + line(1000))
    mark = mark_of(log, 1500)
    with log.open("a") as file:
        file.write("[WARNING] server is DOWN\n" + line(2000) + "dk1 2100 app r1-w")
    assert traffic(log, mark).requests == 1


def test_a_moment_in_the_past_counts_what_came_since_in_rotated_copies_too(tmp_path):
    log = tmp_path / "log"
    (tmp_path / "log.2").write_text(line(1000) * 8)
    (tmp_path / "log.1").write_text(line(1500) * 4 + line(2500) * 2)
    log.write_text(line(3000))
    assert traffic(log, earlier_mark(2000)).requests == 3
    assert traffic(log, earlier_mark(1200)).requests == 7
    log.write_text("")
    assert traffic(log, earlier_mark(2000)).requests == 2


# -- answers, each once


def test_a_request_began_before_its_line_was_written(tmp_path):
    log = tmp_path / "log"
    log.write_text(line(5000, times="0 1 290 300") + line(6000, server="<NOSRV>", status=503, times="0 -1 -1 -1"))
    first, second = answers(log, earlier_mark(0))[0]
    assert (first.release, first.began, first.ms) == ("r1", 4.7, 291.0)
    assert (second.release, second.began, second.error) == ("", 6.0, True)


def test_each_answer_is_read_once_through_rotations_and_half_written_lines(tmp_path):
    log = tmp_path / "log"
    written, read = 0, []
    mark = mark_of(log, 0)
    for turn in range(30):
        if turn % 7 == 3:  # the supervisor's way: copy, then truncate
            for number in range(8, 0, -1):
                if (tmp_path / f"log.{number}").exists():
                    (tmp_path / f"log.{number}").rename(tmp_path / f"log.{number + 1}")
            shutil.copyfile(log, tmp_path / "log.1")
            log.write_text("")
        if turn % 7 != 4:  # sometimes nothing comes, also right after a rotation
            with log.open("a") as file:
                for _ in range(3):
                    file.write(line(1000 + written))
                    written += 1
                half = line(1000 + written)
                file.write(half[:20])
            read += (some := answers(log, mark))[0]
            mark = some[1]
            with log.open("a") as file:
                file.write(half[20:])
            written += 1
        if turn % 2:
            read += (some := answers(log, mark))[0]
            mark = some[1]
    read += answers(log, mark)[0]
    assert [answer.began for answer in read] == [round((1000 + number - 25) / 1000, 3) for number in range(written)]


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.write_text(line() * 1000)
    _, mark = answers(log, earlier_mark(0))
    with log.open("a") as file:
        file.write(line(2000))
    parsed = []
    monkeypatch.setattr("deploykit.edge.accesslog.parse_line", lambda text: parsed.append(text) or parse_line(text))
    assert len(answers(log, mark)[0]) == 1
    assert len(parsed) <= 2, "its line, and the look at when the file begins"
