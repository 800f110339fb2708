"""HAProxy in containers is an edge: the shared suites."""

from __future__ import annotations

import pytest
from contracts.edge_contract import EdgeContract
from lease_contract import LeaseContract


@pytest.fixture
def pid(engine):
    def pid(edge):
        *_, proxy = [proxy for proxy in edge._containers.proxies() if proxy.running]
        return engine.find_container(proxy.id)["State"]["Pid"]

    return pid


class TestDockerEdge(EdgeContract):
    @pytest.fixture
    def client_address(self, app_host):
        return app_host  # a client on the engine's own machine comes by its proxy


class TestDockerLease(LeaseContract):
    @pytest.fixture
    def source(self, environment, image, home):
        return f"""
from pathlib import Path
from deploykit.edge.docker import DockerEdge
from deploykit.process.docker import Engine
edge = DockerEdge(
    "shop", {environment!r}, Path({str(home)!r}) / "edge", None, Engine(), network="shop.{environment}", image={image!r}
)
"""
