"""The lease on this machine in particular: its supervisor, its proxy's process, and a reboot."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from contracts.edge_contract import weights

from deploykit.edge.process import PROGRAM
from deploykit.edge.state import parse_state
from deploykit.process.supervisor.daemon.identity import process_identity

SHARED = {"r1-web-0": 75, "r2-web-0": 25}
STABLE = {"r1-web-0": 100, "r2-web-0": 0}


def file_weights(home: Path) -> dict[str, int]:
    return parse_state((home / "edge" / "haproxy.cfg").read_text(), source="").weights


def test_a_lease_outlives_its_supervisor_and_its_end_waits_for_a_proxy_that_hangs(two, supervisor, home, eventually):
    two.grant_lease(STABLE, 1.0)
    two.set_weights(SHARED)
    os.kill(supervisor.pid(), signal.SIGKILL)
    assert two.lease().ended_at is None
    two.renew_lease()  # by the next supervisor
    before = supervisor.pid()
    supervisor._request_handover()
    assert supervisor.pid() == before
    assert weights(two) == file_weights(home) == SHARED
    proxy = supervisor.status(PROGRAM).pid
    os.kill(proxy, signal.SIGSTOP)
    try:
        eventually(lambda: file_weights(home) == STABLE, 4)
        assert supervisor.status(PROGRAM).pid == proxy, "the supervisor answers, and leaves it alone"
    finally:
        os.kill(proxy, signal.SIGCONT)
    eventually(lambda: weights(two) == STABLE, 3)


def test_a_lease_that_ends_while_no_supervisor_runs_is_seen_and_done_by_the_next_one(
    two, supervisor, make_edge, home, client, eventually
):
    """After a reboot its time has passed, whatever the clock says."""
    two.grant_lease(STABLE, 60)
    two.set_weights(SHARED)
    proxy = supervisor.status(PROGRAM).pid
    os.kill(supervisor.pid(), signal.SIGKILL)
    os.kill(proxy, signal.SIGKILL)
    eventually(lambda: process_identity(proxy) is None)
    record = home / "supervisor" / "lease.json"
    saved = json.loads(record.read_text())
    saved["clock"][0] = "another boot"
    record.write_text(json.dumps(saved))
    edge = make_edge()
    assert edge.lease().ended_at is not None
    here = client(edge.ensure())
    assert {here.get() for _ in range(20)} == {(200, "r1")}
    assert weights(edge) == file_weights(home) == STABLE
    assert edge.traffic("r2", edge.mark(seconds_ago=60)).requests == 0


def test_a_replaced_proxy_that_a_killed_release_left_takes_no_more_connections_after_the_end(
    two, supervisor, eventually
):
    two.grant_lease(STABLE, 0.3)
    old = supervisor.status(PROGRAM).pid
    binary = Path(supervisor.status(PROGRAM).argv[0])
    supervisor.replace(two._process.program(two._listen(two._state()), binary), ready=0.1)
    assert process_identity(old)
    eventually(lambda: process_identity(old) is None, 4)
    assert two.running()
