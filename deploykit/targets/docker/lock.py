"""The environment's lock on the engine itself: labelled containers that are never started.

The only atomic operation of an engine is to assign a name, and labels can't be changed. So each acquisition or renewal
creates a container of its own, `<app>.<environment>.lock.<n>`, and the greatest n is the present state. To change it, a
process creates n + 1. Of two processes, one gets an error that the name is taken, reads again and decides again. Older
containers are removed afterwards. A process that slept between reading and writing may create an n that was removed
meanwhile. So a process that finds a greater n than its own after writing has lost. A release creates n + 1 with an
expired lease, so the token stays. After `remove` the numbers start at 1 again: a process that finds a smaller n that
it had not read has lost, too.

The containers are of an empty image that is imported once (no registry is asked), and use no processor, memory or disk.
Times are those of the machines that take the lock, not the engine's: their clocks have to agree to a part of the lease.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError
from deploykit.process.docker import Engine, EngineConflict, EngineNotFound
from deploykit.targets.docker.names import PREFIX, Kind, Names
from deploykit.targets.interface import LockHolder

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["EngineLock"]

_IMAGE = ("deploykit/lock", "1")
_EMPTY_TAR = b"\0" * 10_240
_GENERATION = f"{PREFIX}generation"
_ATTEMPTS = 50


class EngineLock:
    """Who may change this environment. `clock` gives seconds since the epoch, UTC."""

    def __init__(self, engine: Engine, names: Names, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._names = names
        self._clock = clock

    def acquire(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        """Take or renew it for `lease` seconds: None when taken, else who holds it, or held it with a greater token."""
        for _ in range(_ATTEMPTS):
            known, last = self._read()
            if last is not None:
                held_by_other = self._holds(last) and (last.owner, last.token) != (owner, token)
                if held_by_other or token < last.token:
                    return last
            wanted = LockHolder(owner=owner, reason=reason, token=token, expires_at=self._clock() + lease)
            if self._write(known, wanted):
                return None
        raise DeploykitError(
            "the environment's lock changes all the time, it could not be taken", next_step="try again"
        )

    def release(self, owner: str, *, token: int) -> None:
        """Release it; nothing happens if another owner holds it."""
        for _ in range(_ATTEMPTS):
            known, last = self._read()
            if last is None or (last.owner, last.token) != (owner, token) or not last.expires_at:
                return
            if self._write(known, replace(last, expires_at=0.0)):
                return

    def remove(self) -> None:
        """Remove the lock from the engine, where nobody holds it."""
        known, last = self._read()
        if last is not None and not self._holds(last):
            for number in sorted(known):  # the greatest last: it is the state until all are gone
                self._engine.remove_container(known[number]["Id"])

    def holder(self) -> LockHolder | None:
        _, last = self._read()
        return last if last is not None and self._holds(last) else None

    def _holds(self, last: LockHolder) -> bool:
        return last.expires_at > self._clock()

    def _states(self) -> dict[int, dict[str, Any]]:
        """The containers by their number."""
        return {
            int(each["Labels"][_GENERATION]): each for each in self._engine.containers(self._names.labels(Kind.LOCK))
        }

    def _read(self) -> tuple[dict[int, dict[str, Any]], LockHolder | None]:
        """The containers by their number, and the present state; none and None where there was never one."""
        states = self._states()
        if not states:
            return states, None
        labels = states[max(states)]["Labels"]
        return states, LockHolder(
            owner=labels[f"{PREFIX}owner"],
            reason=labels[f"{PREFIX}reason"],
            token=int(labels[f"{PREFIX}token"]),
            expires_at=float(labels[f"{PREFIX}expires"]),
        )

    def _write(self, known: dict[int, dict[str, Any]], holder: LockHolder) -> bool:
        """Make it the state after those that are `known`. Whether it is the state now."""
        generation = max(known, default=0) + 1
        labels = {
            **self._names.labels(Kind.LOCK),
            _GENERATION: str(generation),
            f"{PREFIX}owner": holder.owner,
            f"{PREFIX}reason": holder.reason,
            f"{PREFIX}token": str(holder.token),
            f"{PREFIX}expires": repr(holder.expires_at),
        }
        try:
            made = self._create(self._names.container(f"lock.{generation}"), labels)
        except EngineConflict:
            return False
        states = self._states()
        read = {state["Id"] for state in known.values()}
        unread = [number for number, state in states.items() if number < generation and state["Id"] not in read]
        if unread or max(states, default=generation) > generation:
            self._engine.remove_container(made)
            return False
        for number, state in states.items():
            if number < generation:
                self._engine.remove_container(state["Id"])
        return True

    def _create(self, name: str, labels: dict[str, str]) -> str:
        image = ":".join(_IMAGE)
        try:
            return self._engine.create_container(image, ["never-started"], name=name, labels=labels)
        except EngineNotFound:
            self._engine.import_image(_EMPTY_TAR, *_IMAGE)
            return self._engine.create_container(image, ["never-started"], name=name, labels=labels)
