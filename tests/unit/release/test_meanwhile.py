"""What is read, asked and connected to while something else is waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.artifacts.image import plan
from deploykit.release.places import docker as docker_module
from deploykit.release.places.docker import DockerPlace
from deploykit.release.places.interface import Remembered

_LATER = ("deploykit.release.rolling_out", "deploykit.rollout", "deploykit.verify", "httpx2")


def loaded_by(source: str) -> set[str]:
    code = f"{source}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


def test_what_a_rollout_needs_is_not_read_before_there_is_something_to_roll_out():
    assert not [name for name in loaded_by("import deploykit.release.pipeline") if name.startswith(_LATER)]


def test_while_it_is_waited_for_all_of_it_is_read():
    """In a thread, so nobody would hear of a name that is none."""
    first = loaded_by("from deploykit.release import pipeline; pipeline._read_on()")
    assert "deploykit.release.rolling_out" in first
    assert "deploykit.verify.verify" not in first
    then = loaded_by("from deploykit.release import checks; checks.ahead()")
    assert {f"deploykit.verify.{name}" for name in ("health", "smoke", "verify", "warm", "http")} <= then


class _Begun:
    closed = opened = False

    def open(self) -> None:
        self.opened = True

    def close(self) -> None:
        self.closed = True


class _Registry:
    def __init__(self) -> None:
        self.let_go = threading.Event()

    def close(self) -> None:
        self.let_go.set()


@pytest.fixture
def asked(monkeypatch) -> list[_Registry]:
    found: list[_Registry] = []

    def reached(*_: object, **__: object) -> _Registry:
        found.append(_Registry())
        return found[-1]

    monkeypatch.setattr(docker_module, "_reached", reached)
    return found


@pytest.fixture
def place() -> DockerPlace:
    image = SimpleNamespace(repository="127.0.0.1:5000/team/shop", insecure=False)
    around: Any = SimpleNamespace(
        loaded=SimpleNamespace(settings=SimpleNamespace(image=image)),
        app="shop",
        name="test",
        root=None,
        paths=SimpleNamespace(root=None),
    )
    return DockerPlace(around, Remembered(target="docker", host="unix:///nowhere"))


def test_a_registry_that_was_asked_is_let_go_of_with_a_release_that_is_refused(place, asked):
    place._begun = begun = _Begun()
    place.may_build()
    place.enough()
    assert begun.opened
    assert begun.closed
    assert len(asked) == 1
    assert asked[0].let_go.wait(10)


def test_a_rollback_asks_no_registry(place, asked):
    place.may_build()
    place.enough()
    assert asked == []


def test_the_registry_is_asked_once_and_the_rest_is_read_while_it_receives(place, asked, monkeypatch):
    begun_meanwhile = threading.Event()

    def push(*words: object) -> str:
        assert begun_meanwhile.wait(10)
        assert words[4] is asked[0]
        return "sha256:1"

    image = SimpleNamespace(id="sha256:2", version="1.0", reused=False, warnings=())
    monkeypatch.setattr(place, "_wanted_image", lambda _: SimpleNamespace(main_branch="main", short_tags=False))
    monkeypatch.setattr(plan, "tags_of", lambda *_, **__: SimpleNamespace(tags=()))
    monkeypatch.setattr(place, "_connect", lambda: None)
    monkeypatch.setattr(place, "_image", lambda *_: (image, None))
    monkeypatch.setattr(place, "_push", push)
    monkeypatch.setattr(docker_module, "remember_wanted", lambda *_: None)
    monkeypatch.setattr(place._engine, "call", lambda *_: None)
    place._begun = _Begun()
    place.may_build()

    def meanwhile() -> None:
        begun_meanwhile.set()

    built = place.build(SimpleNamespace(tree=None), [], meanwhile=meanwhile)
    assert built["digest"] == "sha256:1"
    assert len(asked) == 1
    assert asked[0].let_go.wait(10)
