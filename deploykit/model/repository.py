"""Which repository an environment belongs to: what two checkouts of the same app agree in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RepositoryIdentity"]


@dataclass(frozen=True, kw_only=True)
class RepositoryIdentity:
    """One repository, and the folder in it that is released. No secrets.

    `remotes` are names of its remote (`github.com/acme/shop`), without scheme, user and credentials; more than one
    where git rewrites the address. `first_commits` are the commits without parents; empty where the history is not
    whole. `place` says to people where the checkout was, and is not compared.
    """

    folder: str = ""
    remotes: tuple[str, ...] = ()
    first_commits: tuple[str, ...] = ()
    place: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it can be told from another one at all."""
        return bool(self.remotes or self.first_commits)

    def is_same(self, other: RepositoryIdentity) -> bool | None:
        """By the remotes; where one of the two has none, by the first commits; None: nothing can be compared."""
        if self.remotes and other.remotes:
            same = bool(set(self.remotes) & set(other.remotes))
        elif self.first_commits and other.first_commits:
            same = bool(set(self.first_commits) & set(other.first_commits))
        else:
            return None
        return same and self.folder == other.folder

    def __str__(self) -> str:
        named = self.remotes[0] if self.remotes else self.place
        more = [f"folder {self.folder}"] if self.folder else []
        if not self.remotes:
            more += [f"first commit {self.first_commits[0][:12]}" if self.first_commits else "no remote, no history"]
        return f"{named} ({', '.join(more)})" if more else named

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RepositoryIdentity:
        return cls(
            folder=str(data["folder"]),
            remotes=tuple(data["remotes"]),
            first_commits=tuple(data["first_commits"]),
            place=str(data["place"]),
        )
