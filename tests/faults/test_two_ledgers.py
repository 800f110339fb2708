"""Somebody whose record is in another ledger: the lock on the target itself tells."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from harness import get

if TYPE_CHECKING:
    from harness import ReleasedService


def test_two_ledgers_cannot_both_have_the_target(tiny: ReleasedService):
    """Somebody whose record is elsewhere holds the target: the release is refused and says who."""
    from deploykit.release.environment.owner import Owner
    from deploykit.targets.environment_lock import EnvironmentLock

    tiny.release("one")
    holder = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        from deploykit.process.supervisor.daemon.identity import process_identity

        me = Owner.me()
        owner = Owner(who="ann", host=me.host, pid=holder.pid, started=process_identity(holder.pid) or "")
        assert (
            EnvironmentLock(tiny.paths.root).acquire(str(owner), "a release from elsewhere", token=10_000, lease=60)
            is None
        )
        tiny.behave("two")
        refused = tiny("release", "--json")
        assert refused.returncode == 1
        assert "ann@" in refused.json["reason"]
        assert "a release from elsewhere" in refused.json["reason"]
        assert tiny.status()["lock"] == "", "its own lock was given back"
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
    # Its process is gone, so the lock it left on the target is taken over; a smaller token is no obstacle then.
    after = tiny.ok("release")
    assert "left behind" in after.output
    assert get(tiny.url) == "two"
    # The target has seen a greater token than this ledger's next ones: its own line goes on from there.
    tiny.release("three")
    assert get(tiny.url) == "three"
    assert tiny.problems() == []
