from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deploykit.targets.docker.names import Names
from deploykit.targets.docker.oneoff import remove_forgotten


def test_containers_that_ended_without_their_caller_are_removed_after_an_hour() -> None:
    def container(name: str, release: str, state: str, created: float) -> dict[str, Any]:
        return {"Id": name, "State": state, "Created": created, "Labels": {"deploykit.release": release}}

    removed: list[str] = []
    found = [
        container("old", "r1", "exited", 1_000.0),
        container("of this release", "r2", "exited", 1_000.0),
        container("runs", "r1", "running", 1_000.0),
        container("new", "r1", "exited", 9_000.0),
    ]
    engine: Any = SimpleNamespace(containers=lambda _labels: found, remove_container=removed.append)
    remove_forgotten(engine, Names("shop", "staging"), "r2", clock=lambda: 10_000.0)
    assert removed == ["old"]
