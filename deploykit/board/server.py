"""Uvicorn, taught to leave without losing a request."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from deploykit.board.middleware import Drain

__all__ = ["DrainingServer"]

log = logging.getLogger("deploykit.board")


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT it goes on serving for at most `linger` seconds, and closes each connection with an answer.

    A server that closes an idle keep-alive connection races with the request that is just being written into it, and
    that request is lost. So a busy client gets `Connection: close` on an answer first; only what stayed silent
    for all of `linger` is closed unasked. A second SIGTERM, or SIGINT, goes at once. The process then exits with 0.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, *, linger: float) -> None:
        super().__init__(config)
        self.drain = drain
        self.linger = linger
        self._lingering = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        # Not remembered as uvicorn does, which raises it again at the end and exits with -15.
        if self.drain.on:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self.drain.on = True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True ends the main loop."""
        if self.drain.on and not self.should_exit and not self._lingering:
            self._lingering = True
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self.linger
            log.info("draining", extra={"connections": len(self.server_state.connections)})
            # Uvicorn keeps its connections in a plain set, so there is no event to wait for.
            while self.server_state.connections and loop.time() < deadline and not self.should_exit:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        log.info("stopped")
