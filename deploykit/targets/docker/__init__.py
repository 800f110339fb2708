"""The target `docker`: instances are containers of an engine on this machine, or on one reached by TLS or ssh."""

from deploykit.targets.docker.accessories import Accessory
from deploykit.targets.docker.containers import Limits
from deploykit.targets.docker.names import Names
from deploykit.targets.docker.target import DockerTarget

__all__ = ["Accessory", "DockerTarget", "Limits", "network_of"]


def network_of(app: str, environment: str) -> str:
    """The name of the app's network there, for the edge; it is made with the first instance."""
    return Names(app, environment).network
