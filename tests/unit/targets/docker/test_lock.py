"""The engine's lock with an engine in memory: what two processes do between one's reading and its writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deploykit.process.docker import EngineConflict
from deploykit.targets.docker.lock import EngineLock
from deploykit.targets.docker.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Containers:
    """The part of an engine that the lock uses. `before_create` is called once, before the next container is made."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.before_create: list[Callable[[], object]] = []
        self._made = 0

    def containers(self, _labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return list(self.found.values())

    def create_container(self, _image: str, _argv: Sequence[str], *, name: str, labels: Mapping[str, str]) -> str:
        while self.before_create:
            self.before_create.pop()()
        if name in self.found:
            raise EngineConflict("the name is taken")
        self._made += 1
        self.found[name] = {"Id": f"id-{self._made}", "Labels": dict(labels)}
        return f"id-{self._made}"

    def remove_container(self, container: str) -> None:
        self.found = {name: each for name, each in self.found.items() if each["Id"] != container}


@pytest.fixture
def engine() -> Containers:
    return Containers()


@pytest.fixture
def lock(engine: Containers) -> EngineLock:
    # It answers what the lock asks of an engine.
    made = EngineLock(engine, Names("shop", "staging"), clock=lambda: 1_000.0)  # type: ignore[arg-type]
    made.acquire("anna", "release r1", token=1, lease=60)
    made.release("anna", token=1)
    return made


def test_a_lock_that_nobody_holds_leaves_no_container(lock: EngineLock, engine: Containers) -> None:
    assert len(engine.found) == 1
    lock.remove()
    assert engine.found == {}
    lock.remove()


def test_a_lock_that_is_held_stays(lock: EngineLock, engine: Containers) -> None:
    lock.acquire("bert", "release r2", token=2, lease=60)
    lock.remove()
    assert len(engine.found) == 1
    assert lock.holder() is not None


@pytest.mark.parametrize("first", ["removed", "removed and taken"])
def test_who_has_read_a_lock_that_was_then_removed_does_not_take_it_from_another(
    lock: EngineLock, engine: Containers, first: str
) -> None:
    others = []

    def meanwhile() -> None:
        lock.remove()
        if first == "removed and taken":
            others.append(lock.acquire("carl", "release r3", token=3, lease=60))

    engine.before_create = [meanwhile]
    refused = lock.acquire("bert", "release r2", token=2, lease=60)
    holder = lock.holder()
    assert holder is not None
    assert len(engine.found) == 1
    if first == "removed":
        assert (refused, holder.owner) == (None, "bert")
    else:
        assert others == [None]
        assert refused is not None
        assert (refused.owner, holder.owner) == ("carl", "carl")
