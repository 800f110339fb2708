"""An image that is built beside the first stages of its release.

What a build takes is mostly the engine's time, and what comes before it (imports, the locks, the record, the preflight) mostly
ours. A build is by content: an image that nobody asks for harms nothing, and is removed with the other old ones. The release
stays what it was: it journals that it builds, asks for the image here, and journals what it got.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from deploykit.process.ahead import Ahead, Gate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploykit.artifacts.git import GitTree
    from deploykit.artifacts.image.build import Image
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.interpreter import Interpreter

__all__ = ["ImageAhead"]

_PATIENCE = 6.0
"""Seconds for a program to end that was asked to; see `process.run`."""


class ImageAhead:
    """The tree of `root`, the docker command, and the image that `build` makes of the tree: prepared at once, and built when
    the gate is opened. `early`: a tree that is committed is built without waiting for that.
    """

    def __init__(
        self,
        root: Path,
        find_docker: Callable[[], Docker],
        build: Callable[[GitTree, Docker, Interpreter, Gate], Image],
        *,
        early: bool,
    ) -> None:
        self._root = root
        self._early = early
        self._build = build
        self._gate = Gate()
        self._tree = Ahead(self._read)
        self._docker = Ahead(find_docker)
        self._python = Ahead(_inspect_python)
        self._image = Ahead(self._make)
        atexit.register(self.close)  # a command that is ended before anybody listens to signals

    def _read(self) -> GitTree:
        from deploykit.artifacts.git import read_tree

        return read_tree(self._root)

    def _make(self) -> Image:
        try:
            import deploykit.artifacts.image.build  # noqa: F401 - while the others are waited for
            from deploykit.artifacts.version import uncommitted

            tree = self._tree.get()
            if self._early and uncommitted(tree) is None:
                self._gate.open()
            return self._build(tree, self._docker.get(), self._python.get(), self._gate)
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
        return self._tree.get()

    def docker(self) -> Docker:
        return self._docker.get()

    def image(self, tree: GitTree) -> Image | None:
        """The image of that tree; None where another one was read. What went wrong with it is raised."""
        if self._tree.get() != tree:
            self.close()
            return None
        self._gate.open()
        return self._image.get()


def _inspect_python() -> Interpreter:
    from deploykit.artifacts.interpreter import inspect

    return inspect()
