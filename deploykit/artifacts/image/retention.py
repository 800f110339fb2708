"""Which old images may go. Pure; never one that runs or that could be rolled back to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Kept", "Retention", "StoredImage", "plan_retention"]


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image in an engine or a registry. `created` is UTC epoch seconds; `digests` are all names by content: id, manifest."""

    digests: frozenset[str]
    created: float
    tags: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Kept:
    image: StoredImage
    why: str


@dataclass(frozen=True, kw_only=True)
class Retention:
    """`remove` oldest first."""

    remove: tuple[StoredImage, ...]
    kept: tuple[Kept, ...]


def plan_retention(
    images: Iterable[StoredImage], *, needed: Collection[str], keep: int, younger_than: float, now: float
) -> Retention:
    """Split the images of one app into what is kept and what may go.

    `needed` are the digests that run, are warm, or that the record could roll back to; the newest `keep` images stay, and all
    that are younger than `younger_than` seconds, since a release that is under way may be about to start one.
    """
    remove: list[StoredImage] = []
    kept: list[Kept] = []
    newest_first = sorted(images, key=lambda image: (-image.created, sorted(image.digests)))
    for rank, image in enumerate(newest_first):
        if image.digests & set(needed):
            kept.append(Kept(image=image, why="it runs, or could be rolled back to"))
        elif rank < keep:
            kept.append(Kept(image=image, why=f"it is one of the newest {keep}"))
        elif now - image.created < younger_than:
            kept.append(Kept(image=image, why="it is too young: a release may be about to start it"))
        else:
            remove.append(image)
    return Retention(remove=tuple(reversed(remove)), kept=tuple(kept))
