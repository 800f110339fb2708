"""HAProxy in containers is an edge: the shared suite."""

from __future__ import annotations

import pytest
from contracts.edge_contract import EdgeContract


class TestDockerEdge(EdgeContract):
    @pytest.fixture
    def edge(self, make_edge):
        return make_edge()

    @pytest.fixture
    def again(self, make_edge):
        return make_edge

    @pytest.fixture
    def client_address(self, app_host):
        return app_host  # a client on the engine's own machine comes by its proxy

    @pytest.fixture
    def pid(self, engine):
        def pid(edge):
            (proxy,) = [proxy for proxy in edge._containers.proxies() if proxy.running]
            return engine.find_container(proxy.id)["State"]["Pid"]

        return pid
