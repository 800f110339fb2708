"""What is read for `invoke status`, where the ledger and what runs do not agree."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.model import Labels
from deploykit.release.queries.status import read_status
from deploykit.targets.interface import Instance, InstanceState


def instance(release, digest):
    labels = Labels(app="shop", environment="local", release=release, version="9", digest=digest, anchor="")
    return Instance(
        name=f"{release}-web-0",
        labels=labels,
        process="web",
        replica=0,
        state=InstanceState.RUNNING,
        host="127.0.0.1",
        port=1,
        started_at=0.0,
    )


@pytest.fixture
def roles(environment):
    """The roles of what runs, by name."""

    def read(*instances):
        environment.target = SimpleNamespace(instances=lambda: instances)
        environment.hosting = SimpleNamespace(kind="process", supervised_by=str, accessories=tuple)
        return {item.name: item.role for item in read_status(environment).instances}

    return read


def test_an_instance_of_the_live_release_is_live(released, roles):
    released("1.0.0")
    assert roles(instance("r1", "sha256:1.0.0")) == {"r1-web-0": "live"}


def test_an_instance_of_another_ledger_is_not_called_live(released, roles):
    released("1.0.0")
    assert roles(instance("r1", "sha256:other"), instance("r7", "sha256:other")) == {
        "r1-web-0": "foreign",
        "r7-web-0": "foreign",
    }
