"""What a build gets to see: the exported tree, and beside it, in `.deploykit/`, what to install, settled by the kit.

The requirements are those of `artifacts.lock`, made for every platform where they have to be resolved: the image may be
for another system than the one that builds it.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from deploykit.artifacts import lock as locks
from deploykit.artifacts.requirements import TREE
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deploykit.artifacts.interpreter import Interpreter

__all__ = ["prepare", "pylock_lines"]

_FOLDER = ".deploykit"
_INSIDE = "/deploykit/dependencies"


def prepare(tree: Path, *, requirements: str, interpreter: Interpreter, kept: Path) -> tuple[str, ...]:
    """Write `.deploykit/` into the exported `tree`, which is the kit's own copy; returns notes, sentences for people.

    `requirements` is the setting `service.requirements`, `interpreter` says which Python to resolve for, `kept` is
    where resolutions are kept. Raises UsageError for a lock that can't be installed in an image, UvError where
    resolving fails.
    """
    folder = tree / _FOLDER
    if os.path.lexists(folder):
        raise UsageError(f"the tree has a {_FOLDER} folder of its own", next_step=f"git rm -r --cached {_FOLDER}")
    lock = locks.resolve(tree, requirements=requirements, interpreter=interpreter, kept=kept, universal=True)
    given = folder / "dependencies"
    given.mkdir(parents=True)
    text, hashed = lock.text, lock.hashed
    if lock.file != "requirements.lock":
        text, hashed = "".join(pylock_lines(tomllib.loads(lock.text), lock.source)), True
    _copy_referenced(tree, given, text)
    (given / "requirements.txt").write_text(text.replace(TREE, f"{_INSIDE}/tree"), encoding="utf-8")
    if hashed:
        (given / "requirements.txt.hashed").touch()
    project = str(locks.project_table(tree).get("name", ""))
    (given / "build.txt").write_text(
        "".join(f"{line}\n" for line in _build_requires(tree)) if project else "", encoding="utf-8"
    )
    if project:
        (given / "project").touch()
    build_script = resources.files("deploykit.artifacts.image").joinpath("build_script.py").read_text(encoding="utf-8")
    (folder / "build_script.py").write_text(build_script, encoding="utf-8")
    ignore = tree / ".dockerignore"
    if ignore.is_file():
        text = ignore.read_text(encoding="utf-8")
        ignore.unlink()  # a link would have its target changed, which is another file of the image
        ignore.write_text(f"{text}\n!{_FOLDER}\n!{_FOLDER}/**\n", encoding="utf-8")
    return (lock.message,) if lock.assumed or not lock.source else ()


def _build_requires(tree: Path) -> list[str]:
    with (tree / "pyproject.toml").open("rb") as stream:
        return [str(line) for line in tomllib.load(stream)["build-system"].get("requires", [])]


def _copy_referenced(tree: Path, given: Path, text: str) -> None:
    """Copy the folders and wheels of the tree that the requirements name."""
    for match in re.finditer(re.escape(TREE) + r"/([^\s;\[]+)", text):
        source, target = tree / match[1], given / "tree" / match[1]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy2(source, target)


def pylock_lines(data: Mapping[str, object], source: str) -> Iterator[str]:
    """A `pylock.toml` (PEP 751) as lines of a requirements file, since pip reads the former only in its newest
    versions.

    Raises UsageError for packages that do not come from an index.
    """
    packages = data.get("packages", [])
    for package in packages if isinstance(packages, list) else []:
        name, version = package.get("name", ""), package.get("version", "")
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        digests = sorted({f"{kind}:{digest}" for file in files for kind, digest in file.get("hashes", {}).items()})
        if not version or not digests:
            raise UsageError(
                f"{source} has {name or 'a package'} from elsewhere than an index, which an image can't be built from",
                next_step="uv export --format requirements-txt -o requirements.lock, or write a Dockerfile of your own",
            )
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        hashes = "".join(f" --hash={digest}" for digest in digests)
        yield f"{name}=={version}{marker}{hashes}\n"
