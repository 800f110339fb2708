"""An image that is built beside the first stages of its release.

What a build takes is mostly the engine's time, and what comes before it (imports, the locks, the record, the preflight) mostly
ours. A build is by content: an image that nobody asks for harms nothing, and is removed with the other old ones. The release
stays what it was: it journals that it builds, asks for the image here, and journals what it got.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.process.ahead import Ahead, Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deploykit.artifacts.git import GitTree
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Image
    from deploykit.artifacts.interpreter import Interpreter
    from deploykit.process.docker import Engine

__all__ = ["ImageAhead", "Questions", "docker_environment"]

_PATIENCE = 6.0
"""Seconds for a program to end that was asked to; see `process.run`."""


def docker_environment(host: str) -> Mapping[str, str]:
    """The variables by which the docker command finds the engine at `host` (empty: as it would by itself)."""
    return {**os.environ, **({"DOCKER_HOST": host} if host else {})}


class Questions:
    """What a build asks git, the docker command and Python: programs that run while this one is still reading its settings.

    They change nothing. `tree` is that of `root`, `docker` the command that can build on the engine at `host`.
    """

    def __init__(self, root: Path, host: str) -> None:
        self.root = root
        self.host = host
        self.tree = Ahead(self._read)
        self.docker = Ahead(self._find_docker)
        self.python = Ahead(_inspect_python)

    def close(self) -> None:
        """They end by themselves, and nobody waits for that."""

    def _read(self) -> GitTree:
        from deploykit.artifacts.git import read_tree

        return read_tree(self.root)

    def _find_docker(self) -> Docker:
        from deploykit.artifacts.image.engine import find_docker

        return find_docker(environ=docker_environment(self.host))


class ImageAhead:
    """The image that `build` makes of the tree, as `asked`: prepared at once, and built when the gate is opened.

    `early`: a tree that is committed is built without waiting for that.
    """

    def __init__(
        self,
        asked: Questions,
        build: Callable[[GitTree, Docker, Interpreter, Gate], Image],
        *,
        api: Engine | None,
        early: bool,
    ) -> None:
        self._asked = asked
        self._api = api
        self._early = early
        self._build = build
        self._gate = Gate()
        self._image = Ahead(self._make)
        atexit.register(self.close)  # a command that is ended before anybody listens to signals

    def _make(self) -> Image:
        try:
            import deploykit.artifacts.image.build  # noqa: F401 - while the others are waited for
            from deploykit.artifacts.version import uncommitted

            tree = self.tree()
            if self._early and uncommitted(tree) is None:
                self._gate.open()
            docker = replace(self.docker(), api=self._api)
            return self._build(tree, docker, self._asked.python.get(), self._gate)
        finally:
            self._gate.leave()

    def underway(self, seconds: float) -> None:
        """Wait until it is the engine that works, or so long: two threads of Python get in each other's way."""
        self._gate.left(seconds)

    def open(self) -> None:
        self._gate.open()

    def close(self) -> None:
        """End what is still at work."""
        self._gate.close()
        self._image.left(_PATIENCE)
        atexit.unregister(self.close)

    def tree(self) -> GitTree:
        return self._asked.tree.get()

    def docker(self) -> Docker:
        return self._asked.docker.get()

    def image(self, tree: GitTree) -> Image | None:
        """The image of that tree; None where another one was read. What went wrong with it is raised."""
        if self.tree() != tree:
            self.close()
            return None
        self._gate.open()
        return self._image.get()


def _inspect_python() -> Interpreter:
    from deploykit.artifacts.interpreter import inspect

    return inspect()
