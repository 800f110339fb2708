"""Tidying up after a release: a failure is reported, and never fails the release."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.model import DeploykitError
from deploykit.release.housekeeping.reap import Reaped, prune

if TYPE_CHECKING:
    from collections.abc import Collection

RECORDS = {
    "r1": SimpleNamespace(id="r1", digest="sha256:1", previous=""),
    "r2": SimpleNamespace(id="r2", digest="sha256:2", previous="r1"),
    "r3": SimpleNamespace(id="r3", digest="sha256:3", previous="r2"),
}


class Hosting:
    def __init__(self, *, shared: bool = True, error: Exception | None = None) -> None:
        self.shared = shared
        self.needed: set[str] = set()
        self._error = error

    def prune(self, needed: Collection[str]) -> list[str]:
        self.needed = set(needed)
        if self._error is not None:
            raise self._error
        return ["one was removed"]


def pruned(hosting: Hosting) -> Reaped:
    ledger: Any = SimpleNamespace(live=lambda: RECORDS["r2"], unfinished=lambda: RECORDS["r3"], release=RECORDS.get)
    paths = SimpleNamespace(values=None)
    environment: Any = SimpleNamespace(hosting=hosting, ledger=ledger, name="staging", paths=paths)
    return prune(environment)


def test_what_is_live_about_to_be_or_can_be_gone_back_to_is_needed() -> None:
    hosting = Hosting()
    assert pruned(hosting) == Reaped(done=("one was removed",))
    assert hosting.needed == {"sha256:1", "sha256:2", "sha256:3"}


def test_where_nobody_else_releases_to_nothing_is_asked() -> None:
    hosting = Hosting(shared=False)
    assert pruned(hosting) == Reaped()
    assert hosting.needed == set()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DeploykitError("no engine answers"), "no engine answers"),
        (KeyError("Id"), "old images were not removed: KeyError: 'Id'"),
    ],
)
def test_what_goes_wrong_is_a_sentence(error: Exception, told: str) -> None:
    assert pruned(Hosting(error=error)) == Reaped(problems=(told,))
