"""A requirements file read into what uv is given, and into a key that does not depend on where the tree lies.

Nested files (`-r`) are taken in. A folder of the tree (`./libs/common`, `-e ./libs/common`) is installed from the tree,
never editable, and counts by its content. The project itself (`-e .`) is left out: it comes as its own wheel.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.artifacts.files import folder_hash, sha256
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["TREE", "Requirements", "all_hashed", "logical", "read"]

TREE = "{tree}"
"""Placeholder for the folder of the tree, in texts that must not depend on where the tree is."""

_OPTION = re.compile(r"^(-r|--requirement|-c|--constraint|-e|--editable)(?:\s+|=|(?<=-[rce]))(.+)$")
_FIND_LINKS = re.compile(r"^(?:-f|--find-links)(?:\s+|=)(.+)$")
_COMMENT = re.compile(r"(^|\s)#.*$")
_EXTRAS = re.compile(r"^(?P<path>[^\[;]+)(?P<rest>.*)$")


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """`lines` are requirements, `options` what comes before them (`--index-url …`); `local` the content of folders.

    `project` says that the project itself was among them.
    """

    lines: tuple[str, ...]
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    project: bool = False

    @property
    def hashed(self) -> bool:
        """Whether every requirement names the hashes that it may have."""
        return all_hashed(self.lines)

    @property
    def key(self) -> str:
        """SHA-256 of what would be installed."""
        return sha256("\n".join([*self.options, "", *self.lines, "", *self.constraints, "", *self.local]))

    def text(self, tree: Path) -> str:
        return "".join(f"{line}\n" for line in [*self.options, *self.lines]).replace(TREE, str(tree))


def all_hashed(lines: Iterable[str]) -> bool:
    """Whether every requirement among the lines of a requirements file (joined, see `logical`) has hashes."""
    return all("--hash=" in line for line in lines if not line.startswith("-"))


def read(path: Path, tree: Path) -> Requirements:
    """Read the requirements file `path`, which lies in `tree`.

    Raises UsageError for files and folders that are not in the tree.
    """
    reader = _Reader(tree)
    reader.take(path, constraint=False)
    return Requirements(
        lines=tuple(reader.lines),
        options=tuple(reader.options),
        constraints=tuple(reader.constraints),
        local=tuple(reader.local),
        project=reader.project,
    )


class _Reader:
    def __init__(self, tree: Path) -> None:
        self.tree = tree.resolve()
        self.lines: list[str] = []
        self.options: list[str] = []
        self.constraints: list[str] = []
        self.local: list[str] = []
        self.project = False
        self._seen: set[tuple[Path, bool]] = set()

    def take(self, path: Path, *, constraint: bool) -> None:
        if (path.resolve(), constraint) in self._seen:
            return
        self._seen.add((path.resolve(), constraint))
        try:
            text = path.read_text(encoding="utf-8-sig")
        except ValueError:
            raise UsageError(f"{path.name} is not UTF-8 text", next_step=f"save {path.name} as UTF-8") from None
        for line in logical(text.splitlines()):
            option = _OPTION.match(line)
            if option is None and line.startswith("-"):
                self.options.append(self._option(line, path))
            elif option is None:
                self._requirement(line, path, constraint=constraint)
            elif option[1] in {"-e", "--editable"}:
                self._requirement(option[2].strip(), path, constraint=constraint)
            else:
                self.take(
                    self._inside(option[2].strip(), path), constraint=constraint or option[1] in {"-c", "--constraint"}
                )

    def _requirement(self, line: str, path: Path, *, constraint: bool) -> None:
        if constraint:
            self.constraints.append(line)
        elif line.startswith((".", "/")):
            match = _EXTRAS.match(line)
            place, rest = (match["path"].strip(), match["rest"]) if match else (line, "")
            found = self._inside(place, path)
            if found == self.tree:
                self.project = True
                return
            name = found.relative_to(self.tree).as_posix()
            self.local.append(f"{name} {folder_hash(found) if found.is_dir() else sha256(found.read_bytes().hex())}")
            self.lines.append(f"{TREE}/{name}{rest}")
        else:
            self.lines.append(line)

    def _option(self, line: str, path: Path) -> str:
        """The option, with a folder of wheels in the tree named from the tree."""
        match = _FIND_LINKS.match(line)
        if match is None or "://" in match[1]:
            return line
        return f"--find-links {TREE}/{self._inside(match[1].strip(), path).relative_to(self.tree).as_posix()}"

    def _inside(self, name: str, named_in: Path) -> Path:
        """The file or folder that `name` means: from the top of the tree, as for pip, or from the file
        that names it.
        """
        for start in (self.tree, named_in.parent):
            found = Path(os.path.realpath(start / name))  # also of links that lead to one another
            if found.exists() and found.is_relative_to(self.tree):
                return found
        raise UsageError(
            f"{named_in.name} names {name}, which is not in the tree",
            next_step=f"add it to git, or see what ignores it: git check-ignore -v {name}",
        )


def logical(lines: Iterable[str]) -> Iterator[str]:
    """Lines with their continuations joined, without comments and blank ones."""
    whole = ""
    for line in lines:
        part = _COMMENT.sub("", line).rstrip()
        if part.endswith("\\"):
            whole += part[:-1].rstrip() + " "
            continue
        whole += part.strip()
        if whole.strip():
            yield re.sub(r"\s+", " ", whole.strip())
        whole = ""
    if whole.strip():
        yield whole.strip()
