"""The image of a release, built by the recipe of the release before it, from the moment that the command is typed.

Which image is wanted is known when the settings are read. Where their file is the very same as last time, so is in all
likelihood the recipe: it is built in a process of its own while this one reads, locks and checks. What came of it, also a
failure, counts only where settings and tree turn out to be those; else the image is built as ever.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import DeploykitError
from deploykit.process.ahead import Ahead
from deploykit.process.beside import Beside, can_fork
from deploykit.release.places.image_ahead import docker_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.artifacts.git import GitTree
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Image, Recipe
    from deploykit.artifacts.interpreter import Interpreter
    from deploykit.process.ahead import Gate

__all__ = ["ImageBeside", "Wanted", "begin_beside", "build_wanted", "recall_wanted", "remember_wanted"]

_FILE = "image.json"
_SETTINGS = "pyproject.toml"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an image is made by, besides the tree. `kept` is the folder of kept resolutions."""

    recipe: Recipe
    main_branch: str
    short_tags: bool
    kept: Path


def build_wanted(
    wanted: Wanted, tree: GitTree, docker: Docker, interpreter: Interpreter | None = None, gate: Gate | None = None
) -> Image:
    """The image that `wanted` makes of the tree, under all of its local tags. Raises as `build_image` does."""
    from deploykit.artifacts.image.build import build_image
    from deploykit.artifacts.image.plan import tags_of

    plan = tags_of(tree, main_branch=wanted.main_branch, short=wanted.short_tags)
    return build_image(
        tree,
        wanted.recipe,
        kept=wanted.kept,
        docker=docker,
        interpreter=interpreter,
        local_tags=plan.names,
        gate=gate,
    )


def remember_wanted(folder: Path, root: Path, wanted: Wanted, docker: Docker) -> None:
    """Note in the environment's folder by what its image was made, and with which command; nothing of the surroundings.

    Only for speed: where it can't be noted, nothing is lost.
    """
    with contextlib.suppress(OSError):
        said = {
            "settings": _digest(root / _SETTINGS),
            "wanted": {**asdict(wanted), "kept": str(wanted.kept)},
            "docker": asdict(replace(docker, environ={}, api=None)),
            "program": _stamp(docker.program),
        }
        text = json.dumps(said, indent=1)
        file = folder / _FILE
        if file.is_file() and file.read_text() == text:
            return
        temporary = folder / f".{_FILE}"
        temporary.write_text(text)
        temporary.replace(file)


def recall_wanted(folder: Path, root: Path) -> tuple[Wanted, Docker] | None:
    """What was noted; None where nothing was, it can't be read, or the settings' file or the command are others by now."""
    said = _noted(folder, root)
    return _understood(said) if said is not None else None


def _noted(folder: Path, root: Path) -> dict[str, Any] | None:
    try:
        said: dict[str, Any] = json.loads((folder / _FILE).read_text())
        unchanged = said["settings"] == _digest(root / _SETTINGS) and said["program"] == _stamp(
            said["docker"]["program"]
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return said if unchanged else None


def _understood(said: dict[str, Any]) -> tuple[Wanted, Docker] | None:
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Recipe

    try:
        wanted = said["wanted"]
        recipe = Recipe(**{**wanted["recipe"], "argv": tuple(wanted["recipe"]["argv"])})
        return Wanted(**{**wanted, "recipe": recipe, "kept": Path(wanted["kept"])}), Docker(**said["docker"])
    except (TypeError, KeyError):
        return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _stamp(program: str) -> list[int]:
    found = Path(program).stat()
    return [found.st_size, found.st_mtime_ns]


class ImageBeside:
    """The image that is made of the tree at `root` as was `said` in the file `noted`, on the engine at `host`.

    A committed tree is built at once, another when the gate is opened.
    """

    def __init__(self, root: Path, host: str, noted: Path, said: dict[str, Any]) -> None:
        self.host = host
        self._noted = noted
        self._said = said
        self._beside = Beside(lambda gate, tell: _make(root, host, said, gate, tell))
        self._told: dict[str, Any] = {}
        atexit.register(self.close)  # a command that is ended before anybody listens to signals

    def makes(self, wanted: Wanted) -> bool:
        """Whether that is what it makes."""
        understood = _understood(self._said)
        return understood is not None and understood[0] == wanted

    def open(self) -> None:
        self._beside.open()

    def close(self) -> None:
        """End what is still at work."""
        self._beside.close()
        atexit.unregister(self.close)

    def tree(self) -> GitTree | None:
        """The tree that it is made of; None where that could not be read."""
        tree: GitTree | None = self._hear("tree")
        return tree

    def docker(self) -> Docker:
        """The command that it was built with."""
        from deploykit.artifacts.image.engine import Docker

        return replace(Docker(**self._said["docker"]), environ=docker_environment(self.host))

    def image(self, tree: GitTree) -> Image | None:
        """The image of that tree; None where there is none: another one was read, or the other process is no more.

        Raises what `build_image` raised there. By what was noted nothing is built again: that may be what was wrong.
        """
        if self.tree() != tree:
            return None
        self.open()
        answer: Image | DeploykitError | None = self._hear("image")
        if isinstance(answer, DeploykitError):
            self._noted.unlink(missing_ok=True)
            raise answer
        return answer

    def _hear(self, name: str) -> Any:
        while name not in self._told:
            try:
                said, what = self._beside.next()
            except EOFError:
                return None
            self._told[said] = what
        return self._told[name]


def begin_beside(folder: Path, root: Path, host: str) -> ImageBeside | None:
    """Begin with the image that was noted in the environment's folder; None where it can't be known or begun.

    Over ssh each connection takes longer than this wins.
    """
    if host.startswith("ssh:") or not can_fork() or (said := _noted(folder, root)) is None:
        return None
    return ImageBeside(root, host, folder / _FILE, said)


def _make(root: Path, host: str, said: dict[str, Any], gate: Gate, tell: Callable[[object], None]) -> None:
    """What the other process does."""
    from deploykit.artifacts.git import read_tree
    from deploykit.artifacts.version import uncommitted

    reading = Ahead(partial(read_tree, root))
    import deploykit.artifacts.image.build
    import deploykit.artifacts.image.plan  # noqa: F401 - while git is waited for
    from deploykit.process.docker import Engine

    if (understood := _understood(said)) is None:
        return
    wanted, docker = understood
    tree = reading.get()
    tell(("tree", tree))
    if uncommitted(tree) is None:
        gate.open()
    docker = replace(docker, environ=docker_environment(host), api=Engine(host))
    try:
        tell(("image", build_wanted(wanted, tree, docker, gate=gate)))
    except DeploykitError as error:
        tell(("image", error))
