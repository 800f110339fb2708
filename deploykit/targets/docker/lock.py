"""The environment's lock on the engine itself: labelled containers that are never started.

The one thing that an engine does atomically is to give a name once. Labels can't be changed. So each time that it is taken
or renewed it is a container of its own, `<app>.<environment>.lock.<n>`, and the greatest n is the present state. To change
it, one makes n + 1: of two, one is told that the name is taken, reads again and thinks again. Older ones are removed
afterwards. Somebody who slept between reading and writing may make an n that was removed meanwhile: so after writing,
whoever finds a greater n than his own has lost. Who gives it back gives his container the name n + 1, which takes a fifth of
the time: one whose name is not the number that its label says holds nothing.

The containers are of an empty image that is imported once (no registry is asked), and use no processor, memory or disk.
Times are those of the machines that take the lock, not the engine's: their clocks have to agree to a part of the lease.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError
from deploykit.process.docker import EngineError
from deploykit.targets.docker.names import PREFIX, Kind
from deploykit.targets.interface import LockHolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.process.docker import Engine
    from deploykit.targets.docker.names import Names

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

    def take(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        """Take or renew it for `lease` seconds: None when taken, else who holds it, or held it with a greater token."""
        for _ in range(_ATTEMPTS):
            generation, last = self._read()
            if last is not None:
                held_by_other = self._holds(last) and (last.owner, last.token) != (owner, token)
                if held_by_other or token < last.token:
                    return last
            wanted = LockHolder(owner=owner, reason=reason, token=token, expires_at=self._clock() + lease)
            if self._write(generation + 1, wanted):
                return None
        raise DeploykitError(
            "the environment's lock changes all the time, it could not be taken", next_step="try again"
        )

    def give_back(self, owner: str, *, token: int) -> None:
        """Free it; nothing happens when it is somebody else's."""
        for _ in range(_ATTEMPTS):
            states = self._states()
            generation, last = _newest(states)
            if last is None or (last.owner, last.token) != (owner, token) or last.expires_at == 0.0:
                return
            try:
                self._engine.call("rename", states[generation]["Id"], self._name(generation + 1))
            except EngineError as error:
                if not (error.conflict or error.not_found):
                    raise
            else:
                return

    def holder(self) -> LockHolder | None:
        _, last = self._read()
        return last if last is not None and self._holds(last) else None

    def _holds(self, last: LockHolder) -> bool:
        return last.expires_at > self._clock()

    def _states(self) -> dict[int, dict[str, Any]]:
        found = self._engine.containers(self._names.labels(Kind.LOCK))
        return {
            int(number): each
            for each in found
            for name in each["Names"] or ()
            if (number := name.rpartition(".")[2]).isdecimal()
        }

    def _read(self) -> tuple[int, LockHolder | None]:
        return _newest(self._states())

    def _name(self, generation: int) -> str:
        return self._names.container(f"lock.{generation}")

    def _write(self, generation: int, holder: LockHolder) -> bool:
        """Whether it is the state now."""
        labels = {
            **self._names.labels(Kind.LOCK),
            _GENERATION: str(generation),
            f"{PREFIX}owner": holder.owner,
            f"{PREFIX}reason": holder.reason,
            f"{PREFIX}token": str(holder.token),
            f"{PREFIX}expires": repr(holder.expires_at),
        }
        name = self._name(generation)
        try:
            made = self._create(name, labels)
        except EngineError as error:
            if error.conflict:
                return False
            raise
        states = self._states()
        if max(states, default=generation) > generation:
            self._remove(made)
            return False
        for number, state in states.items():
            if number < generation:
                self._remove(state["Id"])
        return True

    def _create(self, name: str, labels: dict[str, str]) -> str:
        image = ":".join(_IMAGE)
        try:
            made = self._engine.call("create_container", image, ["never-started"], name=name, labels=labels)
        except EngineError as error:
            if not error.not_found:
                raise
            self._engine.call("import_image_from_data", _EMPTY_TAR, repository=_IMAGE[0], tag=_IMAGE[1])
            made = self._engine.call("create_container", image, ["never-started"], name=name, labels=labels)
        return str(made["Id"])

    def _remove(self, container: str) -> None:
        """Gone already, or being removed by somebody else: both are as good."""
        try:
            self._engine.find("remove_container", container, force=True)
        except EngineError as error:
            if not error.conflict:
                raise


def _newest(states: Mapping[int, Mapping[str, Any]]) -> tuple[int, LockHolder | None]:
    """The present state and its number; 0 and None where there was never one."""
    if not states:
        return 0, None
    newest = max(states)
    labels = states[newest]["Labels"]
    given_back = int(labels[_GENERATION]) != newest
    return newest, LockHolder(
        owner=labels[f"{PREFIX}owner"],
        reason=labels[f"{PREFIX}reason"],
        token=int(labels[f"{PREFIX}token"]),
        expires_at=0.0 if given_back else float(labels[f"{PREFIX}expires"]),
    )
