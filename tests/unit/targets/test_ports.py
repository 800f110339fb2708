from __future__ import annotations

import random
import socket

import pytest

from deploykit.model import DeploykitError
from deploykit.targets.ports import LOOPBACK, RANGE, free_port


def test_a_port_is_free_and_none_that_outgoing_connections_get():
    port = free_port()
    assert port in RANGE
    assert max(RANGE) < 32_768
    with socket.socket() as probe:
        probe.bind((LOOPBACK, port))


def test_a_port_that_is_taken_or_avoided_is_passed_over():
    first = free_port(rng=random.Random(1))
    with socket.socket() as taken:
        taken.bind((LOOPBACK, first))
        second = free_port(rng=random.Random(1))
        third = free_port([second], rng=random.Random(1))
    assert len({first, second, third}) == 3
    assert free_port(rng=random.Random(1)) == first


def test_no_free_port_at_all_is_said_to_be_so():
    with pytest.raises(DeploykitError, match="no port between 20000 and 20001 is free"):
        free_port([20_000, 20_001], port_range=range(20_000, 20_002))


def test_the_search_goes_round():
    ports = range(20_000, 20_003)
    rng = random.Random(0)
    rng.randrange = lambda _: 2
    assert free_port([20_002], port_range=ports, rng=rng) in {20_000, 20_001}
