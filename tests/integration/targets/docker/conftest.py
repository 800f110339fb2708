"""A real engine. Whatever a test makes carries the label of a made-up environment and is removed after it."""

from __future__ import annotations

import contextlib
import itertools
import os

import pytest

from deploykit.process.docker import Engine, EngineError
from deploykit.targets.docker import DockerTarget

BASE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
"""An image with python3 that the engine has."""
_numbers = itertools.count()


def sweep(engine: Engine, app: str) -> None:
    """Remove everything of this app."""
    labels = {"deploykit.app": app}
    for each in engine.containers(labels):
        with contextlib.suppress(EngineError):
            engine.find("remove_container", each["Id"], force=True, v=True)
    wanted = {"label": [f"deploykit.app={app}"]}
    for each in engine.call("networks", filters=wanted):
        engine.find("remove_network", each["Id"])
    for each in engine.call("volumes", filters=wanted)["Volumes"] or []:
        engine.find("remove_volume", each["Name"], force=True)


@pytest.fixture(scope="session")
def engine():
    one = Engine()
    if (problem := one.problem()) is not None:
        pytest.exit(f"the Docker tests need an engine: {problem.message}", 3)
    if one.find("inspect_image", BASE) is None:
        pytest.exit(f"the Docker tests need an image with python3: {BASE} (set DK_BASE_IMAGE)", 3)
    yield one
    one.close()


@pytest.fixture
def app(engine):
    """An app of this test's own."""
    name = f"shop{os.getpid()}-{next(_numbers)}"
    yield name
    sweep(engine, name)


@pytest.fixture
def target(engine, app):
    return DockerTarget(app, "test", engine)


@pytest.fixture
def base():
    return BASE
