"""Sources that need no step of their own in the build: compiled here, and only copied there.

A `RUN` costs a container, half a second for a change of one line. What is compiled can be copied like anything else, when
it was compiled by a Python of the same bytecode as the image's. Where that is not known, the build compiles (see `inside.py`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from typing import TYPE_CHECKING

from deploykit.artifacts.files import sha256
from deploykit.artifacts.image.inside import EPOCH, NEVER_IMPORTED
from deploykit.model import DeploykitError
from deploykit.process import run
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploykit.artifacts.image.engine import Docker

__all__ = ["compile_tree", "same_bytecode", "settle"]

_OFFICIAL = re.compile(r"(?:^|/)python:(\d+)\.(\d+)(?:\.\d+)?(?:-|$)")
"""The tags of the official images, and of those that are named after them, say their Python."""
_FEW = 200
"""Files that are compiled here; more by as many processes as there are processors."""
_QUESTION = "import importlib.util as u; print(u.MAGIC_NUMBER.hex())"
_MAGIC = importlib.util.MAGIC_NUMBER.hex()


def same_bytecode(docker: Docker, base: str, kept: Path) -> bool:
    """Whether the Python of the image `base` runs what this Python compiles.

    By its name, or by asking it, once for each image; False where the engine does not have it, or it has no Python.
    """
    if match := _OFFICIAL.search(base):
        return (int(match[1]), int(match[2])) == sys.version_info[:2]
    known = docker.api.find_image(base)
    if known is None:
        return False
    note = kept.parent / "bytecode" / sha256(known["Id"])[:32]
    if not note.is_file():
        words = ("--rm", "--network", "none", "--entrypoint", "python3", known["Id"], "-I", "-S", "-c")
        try:
            said = docker.run("run", *words, _QUESTION).stdout.strip()
        except DeploykitError:  # it has no python3, or the engine is short of something: the build will say so
            return False
        write_atomically(note, said)
    return note.read_text(encoding="utf-8") == _MAGIC


def compile_tree(tree: Path, at: str) -> None:
    """Compile the sources below `tree`, which will lie at `at`. What is no valid Python stays as it is."""
    found = [path for path in sorted(tree.rglob("*.py")) if path.is_file() and not path.is_symlink()]
    wanted = [path for path in found if not NEVER_IMPORTED.search(f"/{path.relative_to(tree)}")]
    (_compile if len(wanted) <= _FEW else _compile_by_many)(wanted, tree, at)


def _compile(wanted: Sequence[Path], tree: Path, at: str) -> None:
    import py_compile
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are the sources' own, and the gates' to tell
        for path in wanted:
            py_compile.compile(
                str(path),
                dfile=f"{at}/{path.relative_to(tree)}",
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                quiet=2,
            )


def _compile_by_many(wanted: Sequence[Path], tree: Path, at: str) -> None:
    words = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", tree, "-p", at, "-i", "-")
    files = "".join(f"{path}\n" for path in wanted)
    run([sys.executable, "-I", "-m", "compileall", *words], stdin=files, timeout=600, check=False)


def settle(tree: Path) -> None:
    """Make the files of `tree` ready to be copied: for everybody to read, and of one time but for its fraction of a second,
    which comes from what is in them.

    Where BuildKit has been sent a folder of that name before, it is sent what differs in size or time. With one time for all, a
    change that keeps the size would be missed; so it is but for one in 10^9. A layer has no fractions: there the same content
    is the same.
    """
    for path in tree.rglob("*"):
        if path.is_symlink():
            _date(path, hashlib.sha256(os.fsencode(path.readlink())).digest())
        elif path.is_dir():
            path.chmod(0o755)
        else:
            if path.suffix == ".pyc":
                path.chmod(0o644)
            with path.open("rb") as file:
                _date(path, hashlib.file_digest(file, "sha256").digest())


def _date(path: Path, digest: bytes) -> None:
    moment = EPOCH * 10**9 + int.from_bytes(digest) % 10**9
    os.utime(path, ns=(moment, moment), follow_symlinks=False)
