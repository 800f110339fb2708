"""The environment's lock on the target itself: a file, so that two ledgers can't both win on one machine."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from deploykit.model.errors import DeploykitError
from deploykit.process.files import flocked, write_atomically
from deploykit.targets.interface import LockHolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["EnvironmentLock"]


class EnvironmentLock:
    """Who may change this environment. Each method holds a `flock` for the moment in which it reads and writes.

    The file keeps the last holder when the lock is given back or expires: its token is the fence that no smaller
    token passes. `clock` gives seconds since the epoch, UTC.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._file = folder / "lock.json"
        self._clock = clock

    def acquire(self, owner: str, reason: str, *, token: int, lease: float) -> LockHolder | None:
        """Take or renew it for `lease` seconds: None when taken, else who holds it, or held it with a greater token."""
        with self._exclusive():
            last = self._read()
            if last is not None:
                held_by_other = self._holds(last) and (last.owner, last.token) != (owner, token)
                if held_by_other or token < last.token:
                    return last
            self._write(LockHolder(owner=owner, reason=reason, token=token, expires_at=self._clock() + lease))
            return None

    def release(self, owner: str, *, token: int) -> None:
        """Release it; nothing happens if another owner holds it."""
        if not self._file.exists():
            return
        with self._exclusive():
            last = self._read()
            if last is not None and (last.owner, last.token) == (owner, token):
                self._write(replace(last, expires_at=0.0))

    def holder(self) -> LockHolder | None:
        last = self._read()
        return last if last is not None and self._holds(last) else None

    def _holds(self, last: LockHolder) -> bool:
        return last.expires_at > self._clock()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            with flocked(self._folder / "lock.guard"):
                yield
        except OSError as error:
            raise DeploykitError(
                f"the environment's lock can't be written: {error.strerror}", details=(str(self._folder),)
            ) from None

    def _read(self) -> LockHolder | None:
        """The last holder, None before there was one.

        Raises DeploykitError when the file is damaged: it may be held.
        """
        try:
            found = json.loads(self._file.read_text("utf-8"))
            return LockHolder(
                owner=str(found["owner"]),
                reason=str(found["reason"]),
                token=int(found["token"]),
                expires_at=float(found["expires_at"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise DeploykitError(
                "the environment's lock file is damaged",
                details=(str(self._file),),
                next_step=f"make sure that no release runs, then remove {self._file}",
            ) from None

    def _write(self, holder: LockHolder) -> None:
        write_atomically(self._file, json.dumps(asdict(holder)), mode=0o600, durable=True)
