"""Choosing a port on loopback for an instance."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from deploykit.model.errors import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["LOOPBACK", "RANGE", "free_port"]

LOOPBACK = "127.0.0.1"
# Below what Linux (32768) and macOS (49152) give to outgoing connections, so that none of those takes the port
# between the choice and the moment in which the instance listens on it.
RANGE = range(20_000, 32_000)


def free_port(avoid: Collection[int] = (), *, port_range: range = RANGE, rng: random.Random | None = None) -> int:
    """A port of 127.0.0.1 that nobody listens on, and that isn't one of `avoid`. Raises DeploykitError if there is
    none.

    Two deployments that choose in the same moment start at different places, so they hardly ever meet.
    """
    first = (rng or random.SystemRandom()).randrange(len(port_range))
    for step in range(len(port_range)):
        port = port_range[(first + step) % len(port_range)]
        if port not in avoid and _is_free(port):
            return port
    raise DeploykitError(f"no port between {port_range.start} and {port_range.stop - 1} is free on {LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
