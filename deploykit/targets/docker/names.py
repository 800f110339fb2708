"""What the kit's objects on an engine are called, and the labels by which they are found again."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KIND", "PREFIX", "Kind", "Names"]

PREFIX = "deploykit."
KIND = f"{PREFIX}kind"


class Kind:
    """The values of the label `deploykit.kind`."""

    INSTANCE = "instance"
    ONE_OFF = "one-off"
    ACCESSORY = "accessory"
    LOCK = "lock"
    NETWORK = "network"
    VOLUME = "volume"
    CLAIM = "claim"


@dataclass(frozen=True)
class Names:
    """The names of one app in one environment. Dots part the words: no app or environment has one in its name."""

    app: str
    environment: str

    @property
    def network(self) -> str:
        return f"{self.app}.{self.environment}"

    def container(self, name: str) -> str:
        return f"{self.app}.{self.environment}.{name}"

    def labels(self, kind: str = "") -> dict[str, str]:
        """Labels that all of them carry; without `kind`, those of every kind."""
        found = {f"{PREFIX}app": self.app, f"{PREFIX}environment": self.environment}
        return {**found, KIND: kind} if kind else found
