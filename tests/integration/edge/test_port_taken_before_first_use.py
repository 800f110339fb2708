"""A port that the edge found for itself and nobody was served on yet is given up when somebody takes it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from deploykit.edge.errors import PortTaken
from deploykit.edge.haproxy import HAProxyEdge
from deploykit.process.supervisor.client import Supervisor


@pytest.fixture
def supervisor(state):
    made = Supervisor(state / "supervisor")
    yield made
    made.shutdown()


@pytest.fixture
def state(tmp_path_factory):
    import shutil
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def edge(state, supervisor, port=None):
    return HAProxyEdge("app", "local", state / "edge", port, supervisor, parts=state / "parts")


def test_another_port_is_found(state, supervisor):
    made = edge(state, supervisor)
    first = urlsplit(made.url()).port
    with socket.create_server(("127.0.0.1", first)):
        url = made.ensure()
    assert urlsplit(url).port != first
    assert made.url() == url
    made.down()
    assert edge(state, supervisor).url() == url, "and then kept"


def test_a_port_that_the_settings_name_is_not_exchanged(state, supervisor):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="is taken"):
        edge(state, supervisor, taken.getsockname()[1]).ensure()
