"""The kit's hand inside the edge's container, without a container."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from deploykit.edge.docker.agent import Agent
from deploykit.edge.errors import EdgeError


class Silent:
    """A connection on which nobody answers until it is ended."""

    def __init__(self) -> None:
        self.asked, self.ended = threading.Event(), threading.Event()
        self.closed_by: list[threading.Thread] = []

    def write(self, _data: bytes) -> None:
        self.asked.set()

    def frame(self) -> None:
        assert self.ended.wait(10)

    def end(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.end()
        self.closed_by.append(threading.current_thread())


def test_it_is_closed_while_another_thread_waits_for_its_answer():
    """A rollback ends the edge that it was about to connect to; the connection is let go of by who reads it, once."""
    connection = Silent()
    connections = [connection]

    def open_exec(*_: object, **__: object) -> Silent:
        if not connections:
            raise ConnectionRefusedError("the container is gone")
        return connections.pop()

    agent = Agent(SimpleNamespace(open_exec=open_exec), lambda: "holder")
    errors = []

    def ask() -> None:
        with pytest.raises(EdgeError, match="does not answer") as caught:
            agent.now_ms()
        errors.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    assert connection.asked.wait(10)
    agent.close()
    asking.join(10)
    assert [error.details[0] for error in errors] == ["the container is gone"]
    assert connection.closed_by == [asking]
