"""A real engine. Whatever a test makes carries the label of a made-up environment and is removed after it."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import docker
import pytest

from deploykit.process.docker import Engine
from deploykit.targets.docker import DockerTarget

sys.path.insert(0, str(Path(__file__).parents[3] / "fixtures"))
from sweeping import sweep

BASE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
"""An image with python3 that the engine has."""
_numbers = itertools.count()


@pytest.fixture(scope="session")
def engine():
    one = Engine()
    if (problem := one.problem()) is not None:
        pytest.exit(f"the Docker tests need an engine: {problem.message}", 3)
    if one.find_image(BASE) is None:
        pytest.exit(f"the Docker tests need an image with python3: {BASE} (set DK_BASE_IMAGE)", 3)
    yield one
    one.close()


@pytest.fixture(scope="session")
def sdk():
    """Docker's SDK, for what the kit never asks of an engine."""
    one = docker.APIClient(version="auto")
    yield one
    one.close()


@pytest.fixture
def app():
    """An app of this test's own."""
    name = f"shop{os.getpid()}-{next(_numbers)}"
    yield name
    sweep(name)


@pytest.fixture
def target(engine, app):
    return DockerTarget(app, "test", engine)


@pytest.fixture
def base():
    return BASE
