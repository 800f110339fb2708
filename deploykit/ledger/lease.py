"""Keep a lock during the work: a thread prolongs the lease, and reports when it was lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

from deploykit.ledger.interface import Held, StaleToken
from deploykit.model import DeploykitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


__all__ = ["Heartbeat", "Lockable"]


class Lockable(Protocol):
    """What is held by a lease that has to be prolonged."""

    def heartbeat(self, owner: str, token: int, *, lease: float) -> None: ...


class Heartbeat:
    """Prolongs a lease every third of it while the block runs, from a thread of its own.

    `lost` is called once, from that thread, when the lock was taken away. It is also called when nothing could be
    written for a whole lease, after which another process may take the lock. The block continues.

        with Heartbeat(ledger, held, lease=30, lost=stop):
            ...
    """

    def __init__(self, ledger: Lockable, held: Held, *, lease: float, lost: Callable[[DeploykitError], None]) -> None:
        self._ledger = ledger
        self._held = held
        self._lease = lease
        self._lost = lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deploykit-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        prolonged = time.monotonic()
        pause = self._lease / 3
        while not self._stop.wait(pause):
            try:
                begun = time.monotonic()
                self._ledger.heartbeat(self._held.owner, self._held.token, lease=self._lease)
                prolonged, pause = begun, self._lease / 3
            except StaleToken as error:
                return self._lost(error)
            except DeploykitError as error:
                # Busy, or unreachable for a moment: the lease is there to outlast that.
                if time.monotonic() - prolonged >= self._lease:
                    return self._lost(error)
                pause = self._lease / 12
            except Exception as error:  # noqa: BLE001 (a heart that stops in silence would be the worst)
                return self._lost(DeploykitError(f"The lock can't be kept: {type(error).__name__}: {error}"))
        return None
