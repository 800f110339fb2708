"""What is saved of an environment's target, so that it is found again when the sources are gone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from deploykit.edge.interface import EdgeOptions
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deploykit.release.version.repository import Repository

__all__ = ["SavedTarget"]

_FILE = "target.json"


@dataclass(frozen=True, kw_only=True)
class SavedTarget:
    """The settings by which target, edge and ledger are found.

    No secrets. The target `process` needs only `target` and `ledger`.
    """

    target: str = "process"
    host: str = ""
    port: int | None = None
    bind: str = "127.0.0.1"
    health: str = "/health"
    health_host: str = ""
    trusted_proxies: Sequence[str] = field(default_factory=list)
    tester_header: str = ""
    tester_cookie: str = ""
    sticky: bool = False
    maintenance_page: str = ""
    edge_image: str = ""
    image_port: int = 8000
    ledger: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    networks: Sequence[str] = field(default_factory=list)
    capabilities: Sequence[str] = field(default_factory=list)

    @classmethod
    def from_settings(cls, repository: Repository) -> SavedTarget:
        settings, environment = repository.settings, repository.environment
        page = settings.edge.maintenance_page
        return cls(
            target=environment.target,
            host=environment.host,
            port=environment.port,
            bind=environment.bind,
            health=settings.service.health,
            health_host=settings.service.health_host,
            trusted_proxies=list(settings.edge.trusted_proxies),
            tester_header=environment.rollout.tester_header,
            tester_cookie=environment.rollout.tester_cookie,
            sticky=environment.rollout.sticky,
            maintenance_page=(repository.root / page).read_text(encoding="utf-8") if page else "",
            edge_image=settings.docker.edge_image,
            image_port=settings.image.port,
            ledger=environment.ledger,
            volumes=dict(settings.docker.volumes),
            networks=list(settings.docker.networks),
            capabilities=list(settings.docker.capabilities),
        )

    @property
    def edge_options(self) -> EdgeOptions:
        return EdgeOptions(
            health_path=self.health,
            health_host=self.health_host,
            trusted_proxies=tuple(self.trusted_proxies),
            tester_header=self.tester_header,
            tester_cookie=self.tester_cookie,
            sticky=self.sticky,
            maintenance_page=self.maintenance_page,
        )

    @classmethod
    def load(cls, folder: Path) -> SavedTarget:
        """What was saved in the environment's folder; the target process where nothing was, or where it can't be
        read.
        """
        try:
            content = json.loads((folder / _FILE).read_text())
            return cls(**{name: content[name] for name in cls.__dataclass_fields__ if name in content})
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, folder: Path) -> None:
        """Write it into the environment's folder, unless it is there already."""
        if (folder / _FILE).exists() and self.load(folder) == self:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(folder / _FILE, json.dumps(asdict(self), indent=1))
