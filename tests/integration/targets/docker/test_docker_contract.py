"""Docker is a target: the shared suite."""

from __future__ import annotations

import functools
import json
import sys

import pytest
import target_contract
from foreground_contract import DRIVER, ForegroundContract
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


MAKE = """
from deploykit.process.docker import Engine
from deploykit.targets.docker import DockerTarget
app, image = {app!r}, {image!r}
target = DockerTarget(app, "test", Engine())
"""


class TestDockerForeground(ForegroundContract):
    @pytest.fixture
    def attached(self, engine, app, base):
        driver = DRIVER.format(make=MAKE.format(app=app, image=base))

        def argv(source):
            return [sys.executable, "-c", driver, json.dumps(["python3", "-c", source])]

        yield argv
        assert engine.containers({"deploykit.app": app, "deploykit.kind": "one-off"}) == []
