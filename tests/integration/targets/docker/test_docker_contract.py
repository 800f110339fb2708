"""Docker is a target: the shared suite."""

from __future__ import annotations

import functools

import pytest
import target_contract
from target_contract import TargetContract


class TestDockerTarget(TargetContract):
    bind = "0.0.0.0"
    one_stream = False  # the engine reads two pipes

    @pytest.fixture(autouse=True)
    def surroundings(self, monkeypatch, app, base):
        monkeypatch.setattr(target_contract, "labels", functools.partial(target_contract.labels, app=app))
        monkeypatch.setattr(self, "image", base, raising=False)

    @pytest.fixture
    def python(self):
        return ("python3", "-u")
