"""A lock that is held in a container, alive: process numbers there say nothing here, and the host names are the same."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from deploykit.ledger.interface import LockHeld
from deploykit.ledger.sql import open_ledger
from deploykit.release.environment import lock as locking
from deploykit.release.environment.lock import environment_lock
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
LEASE = 0.6
HOLDER = f"""
import sys
from pathlib import Path
from deploykit.ledger.sql import open_ledger
from deploykit.release.environment import lock
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget

lock.LEASE_SECONDS = {LEASE}
paths = StatePaths(Path(sys.argv[1]), "shop", "local")
ledger = open_ledger(str(paths.ledger), app="shop", environment="local")
target = ProcessTarget("shop", "local", paths, supervisor=None)
try:
    with lock.environment_lock(ledger, target, "a release in there"):
        print("held", flush=True)
        sys.stdin.read()
except Exception as error:
    print(type(error).__name__, *getattr(error, "details", ()), flush=True)
"""


def namespaces_can_be_made() -> bool:
    return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not namespaces_can_be_made(), reason="this user may make no PID namespace")


@pytest.fixture
def hold(tmp_path):
    """A process in a namespace of its own, or `here` in this one, and what it says of the lock."""
    made = []

    def start(*, here=False):
        process = subprocess.Popen(
            [*(() if here else NAMESPACE), sys.executable, "-c", HOLDER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        made.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in made:
        process.kill()
        process.communicate()


@pytest.fixture
def take(tmp_path):
    paths = StatePaths(tmp_path, "shop", "local")
    ledger = open_ledger(str(paths.ledger), app="shop", environment="local")
    target = ProcessTarget("shop", "local", paths, supervisor=None)
    yield lambda: environment_lock(ledger, target, "a release out here")
    ledger.close()


def test_a_live_lock_of_a_container_is_not_taken_over_and_a_dead_ones_lease_ends(hold, take, monkeypatch):
    monkeypatch.setattr(locking, "LEASE_SECONDS", LEASE)
    holder, said = hold()
    assert said == "held"
    renewed = time.monotonic() + 2 * LEASE  # it is renewed meanwhile, so the lease is no way in either
    while time.monotonic() < renewed:
        with pytest.raises(LockHeld) as caught, take():
            pytest.fail("a live lock was taken over")
        assert "in another container, so whether its process still runs can't be seen" in caught.value.details[1]
        time.sleep(0.2)
    holder.kill()
    until = time.monotonic() + 20
    while True:
        try:
            with take():
                break
        except LockHeld:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_nor_is_one_of_the_machine_taken_over_from_within_a_container(hold):
    _, said = hold(here=True)
    assert said == "held"
    _, said = hold()
    assert said.startswith("LockHeld")
    assert "can't be seen from here" in said
