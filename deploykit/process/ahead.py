"""Something that will be wanted soon, begun beside what is done before it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ahead"]

Answer = TypeVar("Answer")


class Ahead(Generic[Answer]):
    """`act` in a thread of its own, from now on. It must change nothing: nobody may ask for its answer.

    A command that ends sooner does not wait for it.
    """

    def __init__(self, act: Callable[[], Answer]) -> None:
        self._act = act
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._act()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is asked for
            self._error = error

    def get(self) -> Answer:
        """Wait for it; what it raised is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # there is one, where there was no error
