"""HAProxy is an edge: the shared suite, on every HAProxy that is here."""

from __future__ import annotations

import pytest
from contracts.edge_contract import EdgeContract

from deploykit.edge.process import PROGRAM


class TestHAProxy(EdgeContract):
    @pytest.fixture
    def edge(self, make_edge):
        return make_edge()

    @pytest.fixture
    def again(self, make_edge):
        return make_edge

    @pytest.fixture
    def pid(self, supervisor):
        return lambda _edge: supervisor.status(PROGRAM).pid
