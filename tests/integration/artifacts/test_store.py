"""The store under several processes, kill -9, pruning and damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploykit.artifacts.environment import usable
from deploykit.artifacts.files import remove
from deploykit.artifacts.git import read_tree
from deploykit.artifacts.local import build_local
from deploykit.artifacts.store import Store
from deploykit.model import DeploykitError

BUILDER = """
import sys
from pathlib import Path
from deploykit.artifacts.git import read_tree
from deploykit.artifacts.local import build_local
root, store = map(Path, sys.argv[1:])
artifact = build_local(root, read_tree(root), store=store, on_step=lambda step: print(step.name, flush=True),
                       on_wait=lambda note: print("waiting", flush=True))
print(artifact.digest, flush=True)
"""


@pytest.fixture
def start(store):
    """Start a build in a process of its own; what is left of it is killed afterwards."""
    started = []
    package = Path(sys.modules["deploykit"].__file__).parents[1]

    def start(repo, **variables):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(repo.root), str(store)],
            env={**os.environ, **variables, "PYTHONPATH": str(package)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)


@pytest.fixture
def gate(tmp_path):
    """A pipe at which the build backend waits: it says that it has started in a second one."""
    os.mkfifo(tmp_path / "gate")
    os.mkfifo(tmp_path / "gate.started")
    return tmp_path / "gate"


def wait_until_building(gate):
    assert Path(f"{gate}.started").read_text() == "building\n"


def let_go(gate):
    gate.write_text("")


def test_builds_of_the_same_tree_at_once_are_one_build(shop, store, start, gate):
    first = start(shop, TEST_BACKEND_WAITS=str(gate))
    wait_until_building(gate)
    second = start(shop, TEST_BACKEND_WAITS=str(gate))
    assert second.stdout.readline() == "waiting\n"
    let_go(gate)
    one = first.communicate(timeout=60)[0].splitlines()
    two = second.communicate(timeout=60)[0].splitlines()
    assert one[-1] == two[-1]
    assert one[:-1] == ["sources", "environment", "wheel", "store"]
    assert two[:-1] == ["store"]
    assert len(Store(store).list()) == 1


def test_builds_of_different_trees_do_not_wait_for_each_other(shop, store, start, gate):
    held = start(shop, TEST_BACKEND_WAITS=str(gate))
    wait_until_building(gate)
    shop.write("settings.ini", "another\n")
    free = start(shop)
    out = free.communicate(timeout=60)[0].splitlines()
    assert "waiting" not in out
    assert Store(store).exists(out[-1])
    let_go(gate)
    assert Store(store).exists(held.communicate(timeout=60)[0].splitlines()[-1])


def test_a_build_killed_in_the_middle_leaves_nothing_that_could_be_used(shop, store, start, gate, run_in):
    builder = start(shop, TEST_BACKEND_WAITS=str(gate))
    wait_until_building(gate)
    builder.kill()
    builder.wait(timeout=10)
    assert Store(store).list() == []
    (left,) = [path for path in (store / "temporary").iterdir() if path.is_dir()]
    let_go(gate)  # the orphaned backend ends
    artifact = build_local(shop.root, read_tree(shop.root), store=store)
    assert run_in(artifact, "shop").endswith("7 first")
    assert not left.exists()
    assert list((store / "temporary").iterdir()) == []


def test_an_environment_that_a_killed_build_left_half_made_is_replaced(shop, store, build):
    artifact = build(shop)
    environment = artifact.environment
    environment.chmod(0o755)
    (environment / "complete").unlink()
    assert not Store(store).exists(artifact.digest)
    again = build(shop)
    assert again.digest == artifact.digest
    assert again.environment != environment
    assert not environment.exists()
    assert Store(store).load(artifact.digest) == again


def test_ctrl_c_during_a_build_leaves_nothing_and_ends_the_backend(shop, store, start, gate):
    builder = start(shop, TEST_BACKEND_WAITS=str(gate))
    wait_until_building(gate)
    builder.send_signal(signal.SIGINT)
    builder.wait(timeout=20)
    assert builder.returncode != 0
    assert list((store / "temporary").iterdir()) == []
    with pytest.raises(OSError, match="No such device"):  # nobody waits at the gate any more
        os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    assert len(Store(store).list()) == 0
    assert build_local(shop.root, read_tree(shop.root), store=store)


@pytest.fixture
def three(shop, build):
    """Three artefacts on two environments, the first built first."""
    made = [build(shop)]
    shop.write("settings.ini", "second\n")
    made.append(build(shop))
    shop.write("requirements.lock", "")
    made.append(build(shop))
    return made


def test_pruning_keeps_what_is_referred_to_and_its_environment(three, store):
    first, second, third = three
    shelf = Store(store)
    later = time.time() + 10
    assert shelf.prune({first.digest}, owner="shop/local", min_age=0, now=lambda: later) == sorted(
        [second.digest, third.digest]
    )
    assert shelf.list() == [first]
    assert [path.name for path in (store / "environments").iterdir()] == [first.environment.name]
    assert len(list((store / "builds").iterdir())) == 1
    assert list((store / "temporary").iterdir()) == []
    assert first.python.exists()


def test_pruning_leaves_what_another_owner_keeps(three, store):
    first, second, third = three
    shelf = Store(store)
    later = time.time() + 10
    shelf.prune({second.digest, third.digest}, owner="shop/staging", min_age=3600)
    shelf.prune({first.digest}, owner="shop/local", min_age=0, now=lambda: later)
    assert {artifact.digest for artifact in shelf.list()} == {first.digest, second.digest, third.digest}
    shelf.prune(set(), owner="shop/staging", min_age=0, now=lambda: later)
    assert shelf.list() == [first]


def test_pruning_leaves_what_was_built_or_found_just_now(three, store, build, shop):
    shelf = Store(store)
    for artifact in three:
        os.utime(artifact.folder, (1, 1))
    found = build(shop)
    assert found.digest == three[2].digest
    assert shelf.prune(set(), owner="shop/local") == sorted([three[0].digest, three[1].digest])
    assert [artifact.digest for artifact in shelf.list()] == [found.digest]


def test_while_something_is_built_nothing_is_pruned(shop, store, build, start, gate):
    old = build(shop)
    shop.write("settings.ini", "second\n")
    builder = start(shop, TEST_BACKEND_WAITS=str(gate))
    wait_until_building(gate)
    shelf, later = Store(store), time.time() + 10
    assert list(shelf.prune(set(), owner="shop/local", min_age=0, now=lambda: later)) == []
    assert shelf.exists(old.digest)
    let_go(gate)
    digest = builder.communicate(timeout=60)[0].splitlines()[-1]
    assert shelf.prune({digest}, owner="shop/local", min_age=0, now=lambda: later) == [old.digest]
    assert shelf.exists(digest)


def test_what_is_about_to_be_run_is_kept_until_its_owner_prunes_without_it(three, store):
    first, second, third = three
    shelf, later = Store(store), time.time() + 10
    shelf.prune({second.digest}, owner="shop/staging")
    shelf.keep(first.digest, owner="shop/staging")
    assert shelf.prune(set(), owner="shop/local", min_age=0, now=lambda: later) == [third.digest]
    assert {artifact.digest for artifact in shelf.list()} == {first.digest, second.digest}


@pytest.mark.parametrize("other", ["shop_local", "Shop/local", "shop/local.", "shop%2Flocal"])
def test_owners_whose_names_are_alike_keep_their_own(three, store, other):
    shelf, later = Store(store), time.time() + 10
    shelf.prune({three[0].digest}, owner=other)
    shelf.prune({three[1].digest}, owner="shop/local", min_age=0, now=lambda: later)
    assert {artifact.digest for artifact in shelf.list()} == {three[0].digest, three[1].digest}


def test_an_environment_of_which_a_killed_pruning_removed_a_part_is_not_used_again(three, store, build, monkeypatch):
    first, _, third = three

    def killed(_folder):
        raise KeyboardInterrupt

    shelf, later = Store(store), time.time() + 10
    monkeypatch.setattr("deploykit.artifacts.environment.remove", killed)
    with pytest.raises(KeyboardInterrupt):
        shelf.prune({third.digest}, owner="shop/local", min_age=0, now=lambda: later)
    assert first.python.exists()
    assert not usable(first.environment)
    assert usable(third.environment)


def test_the_one_used_last_is_listed_first(three, store):
    for number, artifact in enumerate([three[1], three[0], three[2]]):
        os.utime(artifact.folder, (number, number))
    assert Store(store).list() == [three[2], three[0], three[1]]


def test_an_artefact_that_is_gone_is_said_with_what_to_do(store):
    with pytest.raises(DeploykitError, match="is not in the store") as caught:
        Store(store).load(f"sha256:{'0' * 64}")
    assert "invoke build" in caught.value.next_step
    assert not Store(store).exists(f"sha256:{'0' * 64}")
    with pytest.raises(DeploykitError, match="is not the digest"):
        Store(store).load("sha256:../../etc")


def test_a_manifest_that_was_changed_is_refused(shop, build, store):
    artifact = build(shop)
    path = artifact.folder / "manifest.json"
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "9.9.9"}))
    with pytest.raises(DeploykitError, match="was changed after it was built"):
        Store(store).load(artifact.digest)
    assert build(shop).version == artifact.version


def test_an_artefact_whose_environment_is_gone_is_said_and_built_again(shop, build, store, run_in):
    artifact = build(shop)
    remove(artifact.environment)
    with pytest.raises(DeploykitError, match="the environment of artefact"):
        Store(store).load(artifact.digest)
    again = build(shop)
    assert again.digest == artifact.digest
    assert run_in(again, "shop").endswith("7 first")
