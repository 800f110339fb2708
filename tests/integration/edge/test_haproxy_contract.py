"""HAProxy is an edge: the shared suites, on every HAProxy that is here."""

from __future__ import annotations

import pytest
from contracts.edge_contract import EdgeContract
from lease_contract import LeaseContract

from deploykit.edge.process import PROGRAM


@pytest.fixture
def pid(supervisor):
    return lambda _edge: supervisor.status(PROGRAM).pid


class TestHAProxy(EdgeContract):
    pass


class TestHAProxyLease(LeaseContract):
    @pytest.fixture
    def source(self, home, binary):
        return f"""
from pathlib import Path
from deploykit.edge.haproxy import HAProxyEdge
from deploykit.process.supervisor.client import Supervisor
home = Path({str(home)!r})
supervisor = Supervisor(home / "supervisor")
edge = HAProxyEdge("shop", "local", home / "edge", None, supervisor, binary={binary!r}, parts=home / "parts")
"""
