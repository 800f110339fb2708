"""The images that the fault tests on Docker use."""

from __future__ import annotations

import os
import subprocess

import pytest
from harness import BASE_IMAGE, EDGE_IMAGE, docker_engine

_EDGE = f"""
FROM {BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGUSR1
"""


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    """The base image is there (see .ci/run); that of the edge is made of it, like the official one."""
    if docker_engine().find_image(EDGE_IMAGE) is None:
        subprocess.run(
            [os.environ.get("DOCKER", "/usr/bin/docker"), "build", "--network", "host", "-t", EDGE_IMAGE, "-"],
            input=_EDGE.encode(),
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            check=True,
            capture_output=True,
            timeout=300,
        )
