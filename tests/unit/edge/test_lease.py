"""What is prepared for the end of a lease: commands, checks, a file."""

from __future__ import annotations

import pytest

from deploykit.edge.docker.lease import weights_in, written
from deploykit.edge.errors import EdgeError, LeaseEnded
from deploykit.edge.interface import EdgeOptions, Server
from deploykit.edge.lease import Batch, KeptLease, Restoration, ended, gives_back, weight_batches, weights_after
from deploykit.edge.state import EdgeState, WeightedServer


def state(**weights: int) -> EdgeState:
    servers = {
        name: WeightedServer(server=Server(name=name, release="r1", host="127.0.0.1", port=8000), weight=weight)
        for name, weight in weights.items()
    }
    return EdgeState(port=80, token="t", options=EdgeOptions(), servers=servers, past={})


def kept(**weights: int) -> KeptLease:
    return KeptLease(id="a", seconds=60.0, ends_at=1_000.0, ended_at=43_267.9, holds=True, weights=weights)


def test_servers_that_a_lease_does_not_name_get_nothing():
    after = weights_after(state(old=40, new=30, newer=30), {"old": 100, "new": 0, "gone": 7})
    assert after.weights == {"old": 100, "new": 0, "newer": 0}


def test_the_stable_ones_are_raised_and_seen_in_all_backends_before_the_others_are_lowered():
    raised, lowered = weight_batches(state(old=100, new=0))
    assert raised.commands == ("set server app/old weight 100", "set server unchecked/old weight 100")
    assert raised.checks == (("get weight app/old", ("100 ",)), ("get weight unchecked/old", ("100 ",)))
    assert lowered.commands == ("set server app/new weight 0", "set server unchecked/new weight 0")
    assert [check for check, _ in lowered.checks] == ["get weight app/new", "get weight unchecked/new"]


def test_a_server_that_is_not_there_has_no_traffic_and_so_does_not_keep_the_end_from_being_done():
    *_, lowered = weight_batches(state(old=100, new=0))
    assert all("No such server.".startswith(allowed) for _, allowed in lowered.checks)
    assert len(weight_batches(state(old=100))) == 1


def test_only_what_gives_traffic_to_a_server_that_lost_it_is_giving_it_back():
    lease = kept(old=100, new=0)
    assert gives_back(lease, {"new": 1, "old": 99})
    assert not gives_back(lease, {"new": 0, "old": 100})
    assert not gives_back(lease, {"newest": 100, "old": 0})


def test_the_end_is_said_with_its_time_and_is_no_error_of_the_edge():
    error = ended(kept(old=100))
    assert error.message == (
        "the release did not answer for 60 s, so at 12:01:07 UTC the stable version got all of the traffic back"
    )
    assert isinstance(error, LeaseEnded)
    assert not isinstance(error, EdgeError)


def test_the_plan_for_a_container_has_its_weights_first_and_files_by_their_bytes():
    batch = Batch(commands=("set a", "set b"), checks=(("get a", ("1 ", "No such")), ("get b", ("2 ",))))
    plan = written(
        Restoration(weights={"old": 100, "new": 0}, batches=(batch,), files=(("haproxy.cfg", "é\nweight x 1\n"),))
    )
    assert plan == (
        "weight old 100\nweight new 0\nbatch\ndo set a\ndo set b\ncheck get a\nor 1 \nor No such\ncheck get b\nor 2 \n"
        "file haproxy.cfg 14\né\nweight x 1\n"
    )
    assert weights_in(plan) == {"old": 100, "new": 0}
    assert weights_in("") == {}


@pytest.mark.parametrize("seconds", [60.0, 0.5])
def test_a_length_is_said_without_needless_digits(seconds):
    lease = KeptLease(id="a", seconds=seconds, ends_at=0.0, ended_at=None, holds=True, weights={})
    assert f"for {seconds:g} s" in ended(lease).message
