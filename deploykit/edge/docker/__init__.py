"""HAProxy as containers of a Docker Engine: the edge of the target `docker`."""

from deploykit.edge.docker.edge import DEFAULT_IMAGE, DockerEdge

__all__ = ["DEFAULT_IMAGE", "DockerEdge"]
