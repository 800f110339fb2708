"""Virtual environments that artefacts share: one by the hash of its lock and its Python, made by uv, never changed.

A virtual environment can't be moved, so each attempt is made under the name it will keep, `<key>-<random>`, and counts
once its last file, `complete`, is there. What a killed attempt left (or is still being written by a uv that survived
its parent) is therefore never in the way of the next attempt.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.artifacts.files import canonical, freeze, remove, sha256
from deploykit.artifacts.requirements import TREE
from deploykit.artifacts.uv import uv
from deploykit.process.files import flocked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deploykit.artifacts.interpreter import Interpreter
    from deploykit.artifacts.lock import Lock

__all__ = ["Environments", "discard", "usable"]

_COMPLETE = "complete"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Environments:
    """Where environments are kept: `folder` for those of locks, `builders` for those of build systems.

    `on_wait` is called once when another process is making the one that is asked for, `wait` sleeps until it has.
    """

    interpreter: Interpreter
    folder: Path
    builders: Path
    locks: Path
    on_wait: Callable[[], None]
    wait: Callable[[float], None]

    def of_lock(self, lock: Lock, tree: Path) -> tuple[Path, bool]:
        """The environment of `lock`, and whether it was there before. Folders that it names are installed from `tree`.

        Raises UvError with uv's last lines.
        """

        def fill(environment: Path) -> None:
            (environment / lock.file).write_text(lock.text, encoding="utf-8")
            wanted = environment / lock.file
            if lock.file != "requirements.lock":
                wanted = tree / lock.source  # files that it names are looked for beside it
            elif TREE in lock.text:
                wanted = tree.parent / f"wanted-{lock.file}"
                wanted.write_text(lock.text.replace(TREE, str(tree)), encoding="utf-8")
            if lock.text.strip():
                hashes = ("--require-hashes",) if lock.hashed else ()
                _install(environment, "--requirement", wanted, *hashes, cwd=tree, what=f"installing {lock.source}")

        return self._get(self.folder, ["lock", lock.key, lock.file, lock.hashed], fill)

    def of_builder(self, requires: Sequence[str]) -> tuple[Path, bool]:
        """An environment with a project's `[build-system] requires`, and whether it was there before."""

        def fill(environment: Path) -> None:
            if requires:
                _install(environment, *requires, cwd=environment, what="installing the build system")

        return self._get(self.builders, ["builder", *sorted(requires)], fill)

    def _get(self, folder: Path, wanted: Sequence[object], fill: Callable[[Path], None]) -> tuple[Path, bool]:
        name = sha256(canonical([_FORMAT, wanted, self.interpreter.as_json()]))[:20]
        with flocked(self.locks / f"{folder.name}-{name}", on_wait=self.on_wait, wait=self.wait):
            for found in sorted(folder.glob(f"{name}-*")):
                if usable(found):
                    return found, True
                discard(found)
            environment = folder / f"{name}-{secrets.token_hex(4)}"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                uv(
                    *("venv", "--quiet", "--no-project", "--python", self.interpreter.executable, environment),
                    what="making a virtual environment",
                    cwd=folder,
                )
                fill(environment)
                (environment / _COMPLETE).touch()
            except BaseException:
                remove(environment)
                raise
            freeze(environment)
        return environment, False


def discard(environment: Path) -> None:
    """Remove an environment. One of which only a part is removed, as by a kill, is not usable any more."""
    with contextlib.suppress(OSError):
        environment.chmod(0o700)
        (environment / _COMPLETE).unlink(missing_ok=True)
    remove(environment)


def usable(environment: Path) -> bool:
    """Whether the environment is whole, and the interpreter behind it still there."""
    return (environment / _COMPLETE).is_file() and (environment / "bin" / "python").exists()


def _install(environment: Path, *words: str | Path, cwd: Path, what: str) -> None:
    """Install into the environment. Files are copied: a hard link would let a change in uv's cache reach what runs."""
    python = environment / "bin" / "python"
    options = ("--quiet", "--link-mode", "copy", "--compile-bytecode")
    uv("pip", "install", "--python", python, *options, *words, what=what, cwd=cwd)
