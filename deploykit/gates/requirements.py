"""Read a lock in pip's requirements format, to know what a scanner should have looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from deploykit.model import InconclusiveError

__all__ = ["Lock", "Pin", "filtered", "lock_files", "read_lock"]

_NAMED = re.compile(r"^(?:(?P<taken>-r|--requirem[ent]*)|-c|--c[onstrai]*)(?:\s+|=|(?<=^-[rc]))\s*(?P<path>.+)$")
"""Another file, as pip's reader of options takes it: `-r FILE`, `-rFILE`, `--requirement=FILE`, `-c FILE`."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One entry. `version` is empty when it is not pinned by `==`; `text` is the whole entry, hashes included."""

    name: str
    version: str
    applies: bool
    hashed: bool
    line: int
    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """`strange` are lines that are no plain requirement (URLs, paths, editable ones)."""

    pins: tuple[Pin, ...]
    strange: tuple[str, ...] = ()

    @property
    def is_pinned(self) -> bool:
        return not self.strange and all(pin.version for pin in self.pins)

    @property
    def is_hashed(self) -> bool:
        return bool(self.pins) and all(pin.hashed for pin in self.pins)

    @property
    def applying(self) -> tuple[Pin, ...]:
        """The entries for this Python and platform."""
        return tuple(pin for pin in self.pins if pin.applies)


def read_lock(path: Path, *, within: tuple[Path, ...] = ()) -> Lock:
    """Read a lock and the files that it includes. Raises InconclusiveError when one can't be read.

    `within` are the files that include this one; a file that includes itself is read once. Constraints (`-c`) say
    nothing of what is pinned already, so it is only made sure that they are there.
    """
    pins: list[Pin] = []
    strange: list[str] = []
    for number, entry in _entries(_text(path, within)):
        if named := _NAMED.match(entry):
            inner = _included(path, named["path"], within)
            if named["taken"]:
                pins += inner.pins
                strange += inner.strange
        elif entry.startswith("-") and not entry.startswith(("-e", "--ed")):
            continue  # an option of pip's: it names no package
        elif (pin := _pin(entry)) is None:
            strange.append(entry)
        else:
            pins.append(replace(pin, line=number, path=path))
    return Lock(pins=tuple(pins), strange=tuple(strange))


def lock_files(path: Path, *, within: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """The file and all those that it names, whether they can be read or not, each once."""
    if path in within or not path.is_file():
        return (path,)
    text = path.read_text(encoding="utf-8", errors="replace")
    named = [path.parent / found["path"].strip() for _, entry in _entries(text) if (found := _NAMED.match(entry))]
    inner = [file for name in named for file in lock_files(name, within=(*within, path))]
    return tuple(dict.fromkeys((path, *inner)))


def _included(path: Path, name: str, within: tuple[Path, ...]) -> Lock:
    named = path.parent / name.strip()
    if named in (*within, path):
        return Lock(pins=())
    if not named.is_file():
        raise InconclusiveError(
            f"{path.name} names {name.strip()}, and there is no such file beside it",
            next_step=f"add {name.strip()} to the tree, or take the line out of {path.name}",
        )
    return read_lock(named, within=(*within, path))


def _text(path: Path, within: tuple[Path, ...]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InconclusiveError(
            f"the lock {path.name} can't be read",
            details=[str(error)],
            next_step=f"check {within[-1].name}, which names it"
            if within
            else "check service.requirements and security.audit.requirements in [tool.deploykit]",
        ) from error


def filtered(lock: Lock, without: set[str]) -> str:
    """One file with all that the lock pins, but for the named packages (normalised names)."""
    return "".join(f"{pin.text}\n" for pin in lock.pins if pin.name not in without)


def _entries(text: str) -> list[tuple[int, str]]:
    """(line number, entry) with continued lines joined and comments left out."""
    entries: list[tuple[int, str]] = []
    number, parts = 0, list[str]()
    for index, line in enumerate(text.splitlines(), start=1):
        stripped = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if not parts:
            number = index
        parts.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            if entry := " ".join(filter(None, parts)):
                entries.append((number, entry))
            parts = []
    if parts and (entry := " ".join(filter(None, parts))):
        entries.append((number, entry))
    return entries


def _pin(entry: str) -> Pin | None:
    # Imported here: most gates that import this module read no lock, and a hook would wait for it.
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    words = re.split(r"\s+--", entry)
    try:
        requirement = Requirement(words[0].strip())
    except InvalidRequirement:
        return None
    if requirement.url:
        return None
    exact = [
        spec for spec in requirement.specifier if spec.operator in {"==", "==="} and not spec.version.endswith("*")
    ]
    try:
        [Version(spec.version) for spec in exact]
    except ValueError:  # `===` takes any text, and no advisory names such a version
        return None
    return Pin(
        name=canonicalize_name(requirement.name),
        version=exact[0].version if len(exact) == 1 and len(requirement.specifier) == 1 else "",
        applies=requirement.marker is None or requirement.marker.evaluate(),
        hashed="--hash=" in entry,
        line=0,
        path=Path(),
        # pip-audit takes the third sign for a part of the version.
        text=re.sub(r"^([^;=]*)===", r"\1==", entry),
    )
