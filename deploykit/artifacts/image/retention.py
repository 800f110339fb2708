"""Which old images may go. Pure; never one that runs or that could be rolled back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["StoredImage", "removable"]


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image in an engine. `created` is UTC epoch seconds; `digests` are all names by content: `id`, manifests."""

    id: str
    digests: frozenset[str]
    created: float


def removable(images: Iterable[StoredImage], *, needed: Collection[str], keep: int) -> list[StoredImage]:
    """Those of one app's images that may go, oldest first.

    `needed` are the digests that run, are warm, or that the ledger could roll back to; the newest `keep` images stay,
    too.
    """
    newest_first = sorted(images, key=lambda image: (-image.created, sorted(image.digests)))
    return [image for image in reversed(newest_first[keep:]) if not image.digests & set(needed)]
