"""What the audit looks into: locks of the application, else what its environment has installed. Never the kit's own."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from deploykit.gates.audit.subject import Subject
from deploykit.gates.audit.uv import require_current, uv_can_audit
from deploykit.gates.requirements import Lock, filtered, read_lock
from deploykit.gates.tooling import ask_application, run_tool, tool_environment
from deploykit.model import InconclusiveError
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.interface import GateContext

__all__ = ["find_subjects"]

_LOCAL = re.compile(r"^(?:(?:-e|--editable)\s+)?(?:\.{1,2}/|file:)")
_LOCAL_SOURCES = ("editable", "virtual", "directory")
_LIST = """
import importlib.metadata, json, sys
found = []
for dist in importlib.metadata.distributions():
    url = dist.read_text("direct_url.json")
    found.append([dist.metadata["Name"], dist.version, url or ""])
json.dump(found, sys.stdout)
"""


def find_subjects(locks: Sequence[str], context: GateContext, folder: Path) -> list[Subject]:
    """The lists to audit; `folder` is for those that have to be written.

    Raises InconclusiveError when none can be had.
    """
    if locks:
        return [_from_lock(name, context, folder) for name in dict.fromkeys(locks)]
    # As artefacts are made: what is installed from there is what has to be looked up.
    if (context.root / "uv.lock").is_file():
        return [_from_uv_lock("uv.lock", context, folder)]
    if (context.root / "pylock.toml").is_file():
        return [_from_pylock("pylock.toml", context, folder)]
    return [_from_environment(context, folder)]


def _from_lock(name: str, context: GateContext, folder: Path) -> Subject:
    if Path(name).name == "uv.lock":
        return _from_uv_lock(name, context, folder)
    if name.endswith(".toml"):
        return _from_pylock(name, context, folder)
    path = context.root / name
    lock = read_lock(path)
    if not lock.is_pinned:
        loose = [*lock.strange, *(pin.name for pin in lock.pins if not pin.version)]
        subject = _from_environment(context, folder)
        note = f"{name} does not pin {', '.join(loose[:5])}: what it installed today was looked up instead"
        return Subject(
            label=f"the environment of {name}",
            path=subject.path,
            hashed=False,
            names=subject.names,
            notes=(note, *subject.notes),
        )
    return _from_pins(lock, name, folder, path)


def _from_pins(lock: Lock, name: str, folder: Path, path: Path | None = None) -> Subject:
    """The lock and what it includes as one list. `path` is the lock in the tree: findings name its lines."""
    listed = folder / f"{name.replace('/', '-')}.txt"
    listed.write_text(filtered(lock, set()), encoding="utf-8")
    foreign = {pin.name for pin in lock.pins} - {pin.name for pin in lock.applying}
    notes = [f"not for this platform, not looked up: {', '.join(sorted(foreign))}"] if foreign else []
    if lock.pins and not lock.is_hashed:
        notes.append("it has no hashes, so it may install packages that it does not name: those were not looked up")
    return Subject(
        label=name,
        path=listed,
        hashed=lock.is_hashed,
        file=name,
        names=tuple(dict.fromkeys(pin.name for pin in lock.applying)),
        places={pin.name: pin.line for pin in lock.pins if pin.path == path},
        notes=tuple(notes),
    )


def _from_uv_lock(name: str, context: GateContext, folder: Path) -> Subject:
    """What a `uv.lock` pins, every group, extra and platform. Local projects are named in the notes."""
    if not uv_can_audit(find_uv()):
        return _exported(name, context, folder)
    try:
        packages = tomllib.loads((context.root / name).read_text(encoding="utf-8")).get("package", [])
        pinned, local, elsewhere = [], [], []
        for package in packages:
            source, package_name = package.get("source", {}), canonicalize_name(package["name"])
            if "registry" in source:
                pinned.append((package_name, str(package["version"])))
            elif any(kind in source for kind in _LOCAL_SOURCES):
                local.append(package_name)
            else:  # from a repository or an address: no version that anybody could look up, and so never green
                elsewhere.append(package_name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InconclusiveError(
            f"the lock {name} can't be read", details=[f"{type(error).__name__}: {error}"], next_step="uv lock"
        ) from error
    require_current(context.root / name, context)
    return Subject(
        label=name,
        path=context.root / name,
        hashed=True,
        file=name,
        names=tuple(dict.fromkeys([*(pin for pin, _ in pinned), *elsewhere])),
        pinned=tuple(pinned),
        notes=(f"local projects, not looked up: {', '.join(sorted(local))}",) if local else (),
        scanner="uv audit",
    )


def _exported(name: str, context: GateContext, folder: Path) -> Subject:
    """The lock as a list for pip-audit, where uv can't audit itself: what it would install here, with its default
    groups.
    """
    require_current(context.root / name, context)
    path = folder / "export.txt"
    argv = [find_uv(), "export", "--frozen", "--no-emit-project", "--no-header", "-q", "-o", str(path)]
    run_tool(
        argv,
        root=(context.root / name).parent,
        environment=tool_environment(context.environment),
        answers=(0,),
        timeout=120,
    )
    lock = read_lock(path)
    local = [entry for entry in lock.strange if _LOCAL.match(entry)]
    # What comes from a repository or an address has no version that anybody could look up: named, and so never green.
    elsewhere = tuple(entry.split()[0] for entry in lock.strange if entry not in local)
    # The lines of the export say nothing about the lock.
    return _with_others(_from_pins(lock, name, folder), local, elsewhere)


def _from_pylock(name: str, context: GateContext, folder: Path) -> Subject:
    """What a `pylock.toml` pins for this platform (packaging.python.org, "pylock.toml Specification")."""
    lines, local, elsewhere = list[str](), list[str](), list[str]()
    try:
        for package in tomllib.loads((context.root / name).read_text(encoding="utf-8"))["packages"]:
            if "directory" in package:
                local.append(package["name"])
            elif "version" not in package or "vcs" in package or "archive" in package:
                elsewhere.append(package["name"])
            else:
                files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
                hashes = [f" --hash={kind}:{digest}" for file in files for kind, digest in file["hashes"].items()]
                marker = f" ; {package['marker']}" if "marker" in package else ""
                lines.append(f"{package['name']}=={package['version']}{marker}{''.join(hashes)}\n")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InconclusiveError(
            f"the lock {name} can't be read",
            details=[f"{type(error).__name__}: {error}"],
            next_step=f"uv export --format pylock.toml -o {shlex.quote(name)}",
        ) from error
    path = folder / "pylock.txt"
    path.write_text("".join(lines), encoding="utf-8")
    lock = read_lock(path)
    # A marker that is not understood here (of extras and groups) may be one for this installation.
    return _with_others(_from_pins(lock, name, folder), local, [*elsewhere, *lock.strange])


def _with_others(subject: Subject, local: Sequence[str], elsewhere: Sequence[str]) -> Subject:
    """The subject with projects of the tree as a note, and with names that no scanner can answer for."""
    notes = (f"local projects, not looked up: {', '.join(sorted(local))}",) if local else ()
    return replace(subject, names=(*subject.names, *elsewhere), notes=(*subject.notes, *notes))


def _from_environment(context: GateContext, folder: Path) -> Subject:
    local, pinned = [], {}
    for name, version, url in ask_application(context, _LIST):
        if url and "dir_info" in json.loads(url):
            local.append(name)
        else:
            pinned[name] = version
    if not pinned:
        raise InconclusiveError(
            "the project's environment has no package to look up",
            next_step="name the application's lock: service.requirements in [tool.deploykit]",
        )
    path = folder / "environment.txt"
    path.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pinned.items())), encoding="utf-8")
    notes = ["there is no lock: what is installed today was looked up, and a release may install something else"]
    if local:
        notes.append(f"local projects, not looked up: {', '.join(sorted(local))}")
    return Subject(
        label="the project's environment",
        path=path,
        hashed=False,
        names=tuple(pin.name for pin in read_lock(path).applying),
        notes=tuple(notes),
    )
