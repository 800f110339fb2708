from __future__ import annotations

import dataclasses
import json

from deploykit.release.reporting.live_view import Figures, LiveView

VIEW = LiveView(
    stage=2,
    stages=4,
    share=25,
    candidate=Figures(requests=1204, errors=3, p50_ms=12, p95_ms=40, p99_ms=90),
    stable=Figures(requests=123_512, errors=1209, p50_ms=11, p95_ms=39, p99_ms=1085),
    decision="undecided",
    words="3 of 1,204 requests failed (0.25 %), no limit is exceeded; the bake time is not over",
    left=250,
    waits_for="paused by ana, until: invoke rollout.continue --env production",
)


def test_a_terminal_gets_a_table_and_the_judge_in_words():
    assert VIEW.lines(80) == [
        "  stage 2 of 4, 25 % of the traffic, 4 min 10 s left",
        "            requests           failed       p50       p95       p99",
        "  new          1,204       3 (0.25 %)     12 ms     40 ms     90 ms",
        "  stable     123,512   1,209 (0.98 %)     11 ms     39 ms  1,085 ms",
        "  undecided: 3 of 1,204 requests failed (0.25 %), no limit is exceeded; the bak…",
        "  paused by ana, until: invoke rollout.continue --env production",
    ]


def test_no_line_is_wider_than_the_terminal_or_two_lines():
    odd = dataclasses.replace(VIEW, waits_for="paused by an\na, until: " + "x" * 200)
    for width in (40, 60, 80):
        assert max(map(len, odd.lines(width))) <= width
    assert not any("\n" in line for line in odd.lines(80))


def test_a_log_gets_one_line():
    assert VIEW.line() == (
        "stage 2 of 4, 25 % of the traffic: 1,204 requests, 3 failed, p95 40 ms "
        "(stable version: 123,512, 1,209 failed, p95 39 ms); "
        "undecided: 3 of 1,204 requests failed (0.25 %), no limit is exceeded; the bake time is not over; "
        "paused by ana, until: invoke rollout.continue --env production; 4 min 10 s left"
    )


def test_a_release_of_one_stage_without_requests_is_short():
    first = LiveView(
        stage=1, stages=1, share=100, candidate=Figures(), stable=Figures(), decision="undecided", words="…", left=8
    )
    assert first.line() == "100 % of the traffic: undecided: …; 8 s left"
    assert len(first.lines(80)) == 4


def test_it_is_json():
    assert json.loads(json.dumps(VIEW.as_json()))["candidate"]["p95_ms"] == 40
