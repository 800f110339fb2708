"""A real engine, HAProxy in containers; the applications behind it are processes of this machine."""

from __future__ import annotations

import itertools
import os
import subprocess

import docker
import pytest

from deploykit.edge.docker import DockerEdge
from deploykit.process.docker import Engine

BASE = os.environ.get("DK_BASE_IMAGE", "dk-base:bookworm")
IMAGE = os.environ.get("DK_HAPROXY_IMAGE", "deploykit-test-haproxy:bookworm")
"""Like the official image: Debian with HAProxy. Built here from `BASE` when the engine does not have it."""
_DOCKERFILE = f"""
FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGUSR1
"""
_numbers = itertools.count()


@pytest.fixture(scope="session")
def engine():
    one = Engine()
    if (problem := one.problem()) is not None:
        pytest.exit(f"the Docker tests need an engine: {problem.message}", 3)
    yield one
    one.close()


@pytest.fixture(scope="session")
def sdk():
    """Docker's SDK, for what the kit never asks of an engine."""
    one = docker.APIClient(version="auto")
    yield one
    one.close()


@pytest.fixture(scope="session")
def image(engine):
    if engine.find_image(IMAGE) is None:
        subprocess.run(
            [os.environ.get("DOCKER", "/usr/bin/docker"), "build", "--network", "host", "-t", IMAGE, "-"],
            input=_DOCKERFILE.encode(),
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=True,
            capture_output=True,
            timeout=300,
        )
    return IMAGE


@pytest.fixture
def no_haproxy() -> str:
    return BASE


@pytest.fixture
def environment(engine, sdk):
    """An environment of this test's own; whatever was made in it is removed."""
    name = f"test{os.getpid()}-{next(_numbers)}"
    engine.create_network(f"shop.{name}", labels={"deploykit.environment": name})
    yield name
    for each in engine.containers({"deploykit.environment": name}):
        engine.remove_container(each["Id"])
    engine.remove_network(f"shop.{name}")
    for each in sdk.volumes(filters={"label": [f"deploykit.environment={name}"]})["Volumes"] or []:
        sdk.remove_volume(each["Name"], force=True)


@pytest.fixture
def app_host(engine, environment):
    """This machine, as the containers see it."""
    return engine.find_network(f"shop.{environment}")["IPAM"]["Config"][0]["Gateway"]


@pytest.fixture
def make_edge(engine, environment, image, home):
    made = []

    def make(**changes) -> DockerEdge:
        options = {"port": None, "network": f"shop.{environment}", "image": image} | changes
        made.append(DockerEdge("shop", environment, home / "edge", options.pop("port"), engine, **options))
        return made[-1]

    yield make
    for edge in made:
        edge.close()
