"""Runs inside a build, with the Python of the base image (3.9 or newer) and nothing else: see `dockerfile.TEMPLATE`.

    python3 build_script.py dependencies    fills /opt/venv from the lock, and moves it to /installed/opt/venv
    python3 build_script.py application     builds the project in /made/app into /made/opt/site, and compiles both

Everything is compiled once, with hashes that are not checked at run time, and all files get one fixed time. So two
builds of the same content produce the same layers.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess  # nosec B404 - it runs pip, inside of a build
import sys
from pathlib import Path

EPOCH = 315532800  # 1980, the earliest that a zip archive can hold
NEVER_IMPORTED = re.compile(r"/(?:tests|test|docs|node_modules|benchmarks|\.[^/]+)/")


def dependencies(given: Path, venv: Path, tools: Path, made: Path) -> int:
    """Fill `venv` from `given/requirements.txt` and move it to `made`; fill `tools`, which has pip, with what builds
    the project.
    """
    code = pip(tools, "--python", venv / "bin" / "python", "install", *wanted(given, "requirements.txt"))
    code = code or pip(tools, "install", *wanted(given, "build.txt"))
    made.parent.mkdir(parents=True)
    shutil.move(str(venv), str(made))
    seal(made.parent)
    # The working directory is set before the sources are copied, so it is not a layer that is built again each time.
    app = made.parents[1] / "app"
    app.mkdir()
    os.utime(app, (EPOCH, EPOCH))
    return code


def application(app: Path, site: Path, tools: Path, python: Path) -> int:
    """Install the project of `app`, where it is one that can be built, into `site`, to be run by `python`; make `app`
    complete.
    """
    given = app / ".deploykit" / "dependencies"
    package = (given / "project").exists()
    shutil.rmtree(str(app / ".deploykit"))
    site.mkdir(parents=True)
    if package:
        source = tools / "source"  # a copy: backends write into their sources
        shutil.copytree(str(app), str(source), symlinks=True)
        words = ["install", "--no-deps", "--no-compile", "--target", site, source]
        # Where that fails, say because the backend asks for more at run time, pip's own isolation has the last word.
        code = pip(tools, *words, "--no-build-isolation") and pip(tools, *words, "--upgrade")
        if code:
            return code
        shutil.rmtree(str(source))
        point_scripts_at(site / "bin", python, tools)
        complete(app, site)
    seal(site.parent)
    seal(app, ignored=NEVER_IMPORTED)
    return 0


def pip(tools: Path, *words: object) -> int:
    """The exit code of pip; 0 at once where there is nothing to install."""
    if "install" in words and words[-1] == "install":
        return 0
    argv = [str(tools / "bin" / "pip"), *map(str, words)]
    return subprocess.run(argv, check=False).returncode  # nosec B603 - argv only, words of the kit


def wanted(given: Path, name: str) -> list[object]:
    """The words of pip for a file of requirements; none where it is empty."""
    text = (given / name).read_text(encoding="utf-8")
    if not re.search(r"^[^\s#-]", text, re.MULTILINE):
        return []
    hashes = ["--require-hashes"] if (given / f"{name}.hashed").exists() else []
    return ["--no-compile", *hashes, "--requirement", given / name]


def point_scripts_at(folder: Path, python: Path, instead_of: Path) -> None:
    """Scripts name the Python that installed them in their first line; they are to be run by `python`."""
    for script in sorted(folder.glob("*")) if folder.is_dir() else []:
        first, newline, rest = script.read_bytes().partition(b"\n")
        if first.startswith(b"#!" + os.fsencode(str(instead_of))):
            script.write_bytes(b"#!" + os.fsencode(str(python)) + newline + rest)


def complete(tree: Path, site: Path) -> None:
    """Copy into the tree's packages what only the build made (`_version.py`, compiled modules).

    Servers such as uvicorn put the working directory first on the import path: without these files the package found
    there would be half of the one that was installed.
    """
    for package in sorted(path for path in site.iterdir() if path.is_dir() and (tree / path.name).is_dir()):
        for path in sorted(package.rglob("*")):
            there = tree / path.relative_to(site)
            if path.is_file() and not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(path), str(there))


def seal(folder: Path, ignored: re.Pattern[str] | None = None) -> None:
    """Compile what is below, and give everything one time. What is no valid Python stays as it is."""
    compileall.compile_dir(
        str(folder),
        quiet=2,
        rx=ignored,
        workers=0 if sum(1 for _ in folder.rglob("*.py")) > 500 else 1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    for place, folders, files in os.walk(str(folder), topdown=False):
        for name in [*files, *folders]:
            os.utime(Path(place, name), (EPOCH, EPOCH), follow_symlinks=False)
    os.utime(folder, (EPOCH, EPOCH))


def main(words: list[str] | None = None) -> int:
    step = (sys.argv[1:] if words is None else words)[0]
    if step == "dependencies":
        return dependencies(
            Path("/deploykit/dependencies"), Path("/opt/venv"), Path("/tools"), Path("/installed/opt/venv")
        )
    return application(Path("/made/app"), Path("/made/opt/site"), Path("/tools"), Path("/opt/venv/bin/python"))


if __name__ == "__main__":
    sys.exit(main())
