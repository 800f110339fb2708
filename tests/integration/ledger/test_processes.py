"""Several processes at one ledger, some of them killed. Each test is held to a file and to PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from deploykit.ledger.interface import LockHeld
from deploykit.ledger.sql import open_ledger

_OPEN = """
import sys
from deploykit.ledger.interface import LockHeld
from deploykit.ledger.sql import open_ledger
from deploykit.model import DeploykitError
where = sys.argv[1]
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""

_WRITE_FOREVER = (
    _OPEN
    + """
ledger = open_ledger(where, app="shop", environment="staging")
ready()
while True:
    timer = ledger.add_timer("warm", "", 1.0, {"text": "x" * 2000})
    print(timer.id, flush=True)
    ledger.remove_timer(timer.id)
    print(timer.id, flush=True)
"""
)

_WRITE_SOME = (
    _OPEN
    + """
ledger = open_ledger(where, app="shop", environment="staging")
ready()
for number in range(40):
    ledger.add_timer("warm", "", float(number), {"by": sys.argv[2]})
"""
)

_OPEN_NEW = (
    _OPEN
    + """
import alembic.command, alembic.config, deploykit.ledger.sql
ready()
ledger = open_ledger(where, app="shop", environment="staging")
ledger.add_timer("warm", "", 1.0, {})
print("written", flush=True)
"""
)

_TAKE = (
    _OPEN
    + """
ledger = open_ledger(where, app="shop", environment="staging")
ready()
try:
    print("won", ledger.acquire(sys.argv[2], "release", lease=float(sys.argv[3])).token, flush=True)
except LockHeld as error:
    print("told", error.holder.owner, flush=True)
sys.stdin.readline()
"""
)


@pytest.fixture
def spawn(anywhere):
    """Start a worker; it is ended by its own id, whatever the test did."""
    started = []

    def _spawn(source, *arguments):
        worker = subprocess.Popen(
            [sys.executable, "-c", source, anywhere, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        return worker

    yield _spawn
    for worker in started:
        worker.kill()
        worker.communicate()


def go(*workers):
    """Wait until all are ready, then let them run at the same moment."""
    for worker in workers:
        assert worker.stdout.readline() == "ready\n", worker.stderr.read()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()


def ended(worker):
    output, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    return output


def test_what_was_acknowledged_survives_a_kill(spawn, anywhere):
    ledger = open_ledger(anywhere, app="shop", environment="staging")
    acknowledged = 0
    for round_ in range(6):
        worker = spawn(_WRITE_FOREVER)
        go(worker)
        lines = [worker.stdout.readline() for _ in range(7 + 3 * round_)]
        worker.kill()
        # Not by `communicate`, which loses lines that `readline` has read ahead.
        rest, errors = worker.stdout.read(), worker.stderr.read()
        worker.wait(30)
        assert errors == ""
        done = [int(line) for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
        # Each timer answers twice: once for its entry, once for the entry that removes it.
        acknowledged += len(done)
        entries = ledger.entries(limit=100_000)
        assert set(done) <= {entry.sequence for entry in entries}
        assert len(entries) >= acknowledged
        assert len(entries) <= acknowledged + round_ + 1, "at most the call that was under way is there besides"
        assert ledger.check([entries[0].hash]) == []
    ledger.close()


def test_processes_that_write_at_once_make_one_chain(spawn, anywhere):
    workers = [spawn(_WRITE_SOME, str(number)) for number in range(3)]
    go(*workers)
    for worker in workers:
        ended(worker)
    ledger = open_ledger(anywhere, app="shop", environment="staging")
    assert sorted(timer.payload["by"] for timer in ledger.timers()) == sorted("012" * 40)
    assert ledger.check() == []
    ledger.close()


def test_processes_that_open_a_new_ledger_at_once_all_get_one(spawn, anywhere):
    workers = [spawn(_OPEN_NEW) for _ in range(4)]
    go(*workers)
    assert [ended(worker) for worker in workers] == ["written\n"] * 4
    ledger = open_ledger(anywhere, app="shop", environment="staging")
    assert len(ledger.timers()) == 4
    assert ledger.check() == []
    ledger.close()


@pytest.mark.parametrize("milliseconds", [0, 20, 60, 120])
def test_a_kill_while_the_tables_are_made_leaves_none_or_all(spawn, anywhere, milliseconds):
    worker = spawn(_OPEN_NEW)
    go(worker)
    time.sleep(milliseconds / 1000)  # any moment will do, so there is none to wait for
    worker.kill()
    worker.communicate(timeout=30)
    ledger = open_ledger(anywhere, app="shop", environment="staging")
    assert ledger.check() == []
    ledger.acquire("ann", "release", lease=5)
    ledger.close()


def test_of_those_who_want_the_lock_at_once_one_gets_it_and_the_others_hear_who(spawn, anywhere):
    workers = {name: spawn(_TAKE, name, "60") for name in ("ann", "bob", "cy", "dan")}
    go(*workers.values())
    answers = {name: worker.stdout.readline().split() for name, worker in workers.items()}
    (winner,) = [name for name, answer in answers.items() if answer[0] == "won"]
    assert {tuple(answer) for name, answer in answers.items() if name != winner} == {("told", winner)}


def test_the_lock_of_a_killed_process_is_free_when_its_lease_ends(spawn, anywhere):
    worker = spawn(_TAKE, "ann", "1.5")
    go(worker)
    answer, token = worker.stdout.readline().split()
    assert answer == "won"
    worker.kill()
    ledger = open_ledger(anywhere, app="shop", environment="staging")
    with pytest.raises(LockHeld) as caught:
        ledger.acquire("bob", "release", lease=5)
    assert caught.value.holder.owner == "ann"
    deadline = time.monotonic() + 20
    while ledger.holder() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ledger.acquire("bob", "release", lease=5).token > int(token)
    ledger.close()
