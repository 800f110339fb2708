from __future__ import annotations

import math
import random

import pytest

from deploykit.rollout.judge import OpenSlots, Record, Requests, Slot
from deploykit.rollout.judge.latencies import Latencies


def record(seconds: float, *, candidate: bool = True, error: bool = False, ms: float = 30.0) -> Record:
    return Record(seconds=seconds, candidate=candidate, error=error, ms=ms)


def cut(records: list[Record]) -> list[tuple[int, int, int]]:
    """Requests of the candidate, its errors, and requests of the stable version, by slot."""
    slots = OpenSlots().take(records, until=math.inf)[1]
    return [(slot.candidate.requests, slot.candidate.errors, slot.stable.requests) for slot in slots]


def test_a_slot_begins_with_a_request_so_a_burst_is_not_cut():
    burst = [record(10.06 + number / 100, error=True) for number in range(9)]
    assert cut([record(9.0), *burst, record(11.0, candidate=False)]) == [(1, 0, 0), (9, 9, 0), (0, 0, 1)]


def test_a_steady_stream_is_cut_each_tenth_of_a_second():
    assert cut([record(number / 64) for number in range(64)]) == [(7, 0, 0)] * 9 + [(1, 0, 0)]


def test_the_order_of_the_log_does_not_matter():
    records = [record(number / 30, error=number % 7 == 0, candidate=number % 3 > 0) for number in range(100)]
    shuffled = random.Random(1).sample(records, len(records))
    assert cut(shuffled) == cut(records)


def test_a_slot_stays_open_until_its_requests_are_answered():
    opened, slots = OpenSlots().take([record(5.0)], until=5.05)
    assert slots == ()
    opened, slots = opened.take([record(5.02)], until=5.2)
    assert [slot.candidate.requests for slot in slots] == [2]
    assert opened.waiting == ()


def test_what_is_answered_late_counts_in_the_next_slot():
    opened, _ = OpenSlots().take([record(5.0)], until=6.0)
    opened, slots = opened.take([record(5.01, error=True)], until=7.0)
    assert slots == ()
    opened, slots = opened.take([record(7.5)], until=8.0)
    assert [(slot.candidate.requests, slot.candidate.errors) for slot in slots] == [(2, 1)]


def test_nothing_is_lost_at_the_end():
    opened, _ = OpenSlots().take([record(5.0)], until=6.0)
    opened, slots = opened.take([record(5.01, error=True)], until=math.inf)
    assert [(slot.candidate.requests, slot.candidate.errors) for slot in slots] == [(1, 1)]
    assert opened.waiting == ()


def test_slow_requests_stay_with_their_burst():
    """By the time of their end they would be slots of their own, and 5 % slow requests would look like 20 %."""
    rng = random.Random(3)
    records = [
        record(second + number / 100, ms=900.0 if rng.random() < 0.05 else 30.0)
        for second in range(500)
        for number in range(5)
    ]
    opened, shares = OpenSlots(), []
    for now in range(503):
        answered = [one for one in records if now - 1 <= one.seconds + one.ms / 1000 < now]
        opened, slots = opened.take(answered, until=now - 2.0)
        shares += [sum(ms > 500 for ms in slot.candidate.latencies_ms) / slot.candidate.requests for slot in slots]
    assert 0.035 < sum(shares) / len(shares) < 0.065


def test_longer_slots_hold_longer_clumps():
    clump = [record(5.0 + number / 10) for number in range(5)]
    assert [slot.candidate.requests for slot in OpenSlots(seconds=1.0).take(clump, until=math.inf)[1]] == [5]


def test_probes_are_slots_of_their_own_kind():
    slots = OpenSlots(probe=True).take([record(5.0)], until=math.inf)[1]
    assert [slot.probe for slot in slots] == [True]
    with pytest.raises(ValueError, match="no other"):
        OpenSlots(probe=True).take([record(5.0, candidate=False)], until=math.inf)


@pytest.mark.parametrize(
    ("errors", "latencies", "message"),
    [(2, (30.0,), "errors of"), (-1, (30.0,), "errors of"), (0, (math.nan,), "finite"), (0, (-1.0,), "finite")],
)
def test_requests_that_can_not_be_are_refused(errors, latencies, message):
    with pytest.raises(ValueError, match=message):
        Requests(errors=errors, latencies_ms=latencies)


def test_a_record_needs_a_moment():
    with pytest.raises(ValueError, match="moment"):
        record(math.nan)


def test_the_p95_of_many_requests_is_at_most_two_percent_off():
    rng = random.Random(4)
    values = [rng.lognormvariate(4, 1) for _ in range(5000)]
    exact = sorted(values)[math.ceil(0.95 * len(values)) - 1]
    found = Latencies().with_more(values[:1000]).with_more(values[1000:]).p95_ms
    assert found is not None
    assert exact <= found <= exact * 1.02
    assert Latencies().p95_ms is None
    assert Slot().candidate.requests == 0
