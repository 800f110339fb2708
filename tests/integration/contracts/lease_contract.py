"""What every edge must do about a lease. A test module subclasses `LeaseContract`, with the fixtures of `EdgeContract`
and `source`: Python that makes the same `edge` in another process. Leases here are short; the kit's are a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from edge_contract import replaced, weights, with_two

from deploykit.edge.errors import EdgeError, LeaseEnded
from deploykit.edge.state import parse_state

SHARED = {"r1-web-0": 75, "r2-web-0": 25}
STABLE = {"r1-web-0": 100, "r2-web-0": 0}
LATE = 2.0
"""Seconds after a lease's end in which the traffic is back."""

RELEASE = """
edge.grant_lease({"r1-web-0": 100, "r2-web-0": 0}, 1.5)
edge.set_weights({"r1-web-0": 75, "r2-web-0": 25})
edge.renew_lease()
print("shared", flush=True)
import time
time.sleep(60)
"""


def killed_release(source: str) -> None:
    """A process of the kit shares the traffic and is killed with -9."""
    with subprocess.Popen([sys.executable, "-c", source + RELEASE], stdout=subprocess.PIPE) as release:
        try:
            assert release.stdout is not None
            assert release.stdout.readline() == b"shared\n"
        finally:
            release.kill()


class LeaseContract:
    @pytest.fixture
    def two(self, edge, app):
        return with_two(edge, app)

    @pytest.fixture
    def pass_time(self):
        return time.sleep

    @pytest.fixture
    def file_weights(self):
        """What a proxy that starts now begins with."""
        return lambda edge: parse_state(edge._read(), source="").weights

    def test_a_killed_release_leaves_the_traffic_to_the_stable_version(
        self, two, source, load, eventually, file_weights
    ):
        with load(two.url(), pause=0.002) as clients:
            killed_release(source)
            killed = time.time()
            assert weights(two) == file_weights(two) == SHARED
            clients.more(200)
            eventually(lambda: weights(two) == file_weights(two) == STABLE, 1.5 + LATE)
            lease = two.lease()
            before = clients.answers["r2"]
            clients.more(200)
        assert clients.lost == []
        assert before, "the new version had its share before"
        assert clients.answers["r2"] - before <= 8, "at most what was on its way"
        assert lease.seconds == 1.5
        assert killed <= lease.ends_at <= killed + 1.5
        assert lease.ends_at <= lease.ended_at <= lease.ends_at + LATE

    def test_a_lease_lasts_as_long_as_it_is_renewed_and_never_again(self, two, pass_time, eventually, file_weights):
        two.grant_lease(STABLE, 1.0)
        two.set_weights(SHARED)
        for _ in range(4):
            pass_time(0.35)
            two.renew_lease()
        assert weights(two) == file_weights(two) == SHARED
        assert two.lease().ended_at is None
        pass_time(1.05)
        with pytest.raises(LeaseEnded, match=r"did not answer for 1 s, so at \d\d:\d\d:\d\d UTC the stable version"):
            two.renew_lease()
        with pytest.raises(LeaseEnded):
            two.set_weights({"r2-web-0": 50, "r1-web-0": 50})
        eventually(lambda: weights(two) == file_weights(two) == STABLE, LATE)
        with pytest.raises(LeaseEnded):
            two.renew_lease()
        assert two.lease().ended_at is not None
        with pytest.raises(LeaseEnded):
            two.end_lease()
        assert two.lease() is None
        two.end_lease()
        with pytest.raises(EdgeError, match="no lease"):
            two.renew_lease()
        two.set_weights({"r2-web-0": 100, "r1-web-0": 0})
        assert weights(two) == file_weights(two) == {"r1-web-0": 0, "r2-web-0": 100}

    def test_a_lease_is_refused_or_ended_in_time_and_changes_nothing(self, two, pass_time, file_weights):
        with pytest.raises(ValueError, match="total weight"):
            two.grant_lease({"r1-web-0": 0, "r2-web-0": 0}, 60)
        with pytest.raises(ValueError, match="0 to 256"):
            two.grant_lease({"r1-web-0": 257}, 60)
        with pytest.raises(ValueError, match="longer"):
            two.grant_lease(STABLE, 0)
        with pytest.raises(EdgeError, match="r9-web-0"):
            two.grant_lease({"r1-web-0": 100, "r9-web-0": 0}, 60)
        assert two.lease() is None
        two.grant_lease(STABLE, 1.0)
        with pytest.raises(EdgeError, match="gets the traffic back"):
            two.detach("r1-web-0")
        two.set_weights({"r1-web-0": 0, "r2-web-0": 100})
        two.end_lease()
        two.detach("r1-web-0")
        pass_time(2.1)
        assert two.lease() is None
        assert weights(two) == file_weights(two) == {"r2-web-0": 100}

    def test_changes_during_a_lease_are_kept_and_its_end_is_right_for_them(
        self, two, app, pid, client, eventually, file_weights
    ):
        """Servers that came later get nothing; a proxy that was replaced or killed meanwhile is no way out."""
        third = app("r2-web-1", release="r2")
        two.grant_lease(STABLE, 2.0)
        two.attach(third)
        two.set_weights({"r1-web-0": 40, "r2-web-0": 30, "r2-web-1": 30})
        replaced(two)
        before = pid(two)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: pid(two) != before)
        everything = STABLE | {"r2-web-1": 0}
        eventually(lambda: weights(two) == file_weights(two) == everything, 2.0 + LATE)
        assert {client(two.url()).get() for _ in range(10)} == {(200, "r1")}

    def test_what_comes_late_does_not_bring_the_canary_back_and_the_next_release_takes_over(
        self, two, app, pass_time, eventually, file_weights
    ):
        """A kit that was asleep between two of its writes goes on after the end. Then somebody releases again."""
        third = app("r3-web-0")
        two.grant_lease(STABLE, 0.1)
        pass_time(0.2)
        assert two.lease().ended_at is not None
        two._runtime.set_weights(SHARED)
        two._write_text(two._render(two._state().with_weights(SHARED)))
        two.attach(third)
        assert file_weights(two) == STABLE | {"r3-web-0": 0}
        eventually(lambda: weights(two) == file_weights(two) == STABLE | {"r3-web-0": 0}, LATE)
        with pytest.raises(EdgeError, match="gets the traffic back"):
            two.detach("r1-web-0")
        two.detach("r2-web-0", force=True)
        two.set_weights({"r3-web-0": 100, "r1-web-0": 0})
        two.detach("r1-web-0", force=True)
        pass_time(1.2)
        assert weights(two) == file_weights(two) == {"r3-web-0": 100}
        assert two.lease().ended_at is not None, "seen until the next one"
        two.grant_lease({"r3-web-0": 100}, 60)
        assert two.lease().ended_at is None

    def test_an_edge_that_is_down_at_the_end_starts_with_the_stable_weights(self, two, again, pass_time, file_weights):
        two.grant_lease(STABLE, 1.0)
        two.set_weights(SHARED)
        two.down()
        pass_time(1.0)
        other = again()
        other.ensure()
        assert weights(other) == file_weights(other) == STABLE
        other.down()
        other.clear()
        assert other.lease() is None
