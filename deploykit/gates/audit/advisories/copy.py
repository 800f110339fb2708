"""Read an offline copy of an OSV database: JSON lines (plain or gzipped), or a folder or zip of one JSON file each.

The copy's date is the newest `modified` of its records: the last thing that its source is known to have said.
"""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from deploykit.gates.audit.advisories.ranges import affects
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["AdvisoryCopy", "load_copy"]

_DAY = 86_400.0
_HOW = (
    "give an offline copy of the OSV database: security.audit.advisories in [tool.deploykit], or DEPLOYKIT_ADVISORIES"
)


@dataclass(frozen=True, kw_only=True)
class AdvisoryCopy:
    """Records in force by package name (normalised as PEP 503 says) and by id. `modified` is epoch seconds, UTC."""

    source: str
    modified: float
    by_package: Mapping[str, Sequence[Mapping[str, Any]]]
    by_id: Mapping[str, Mapping[str, Any]]
    withdrawn: int

    def age_days(self, now: float) -> float:
        return (now - self.modified) / _DAY

    def query(self, package: str, version: str) -> list[Mapping[str, Any]]:
        """The records that affect this version. Raises ValueError when `version` is no PEP 440 version."""
        name = canonicalize_name(package)
        return [record for record in self.by_package.get(name, ()) if affects(record, name, version)]


def load_copy(path: Path) -> AdvisoryCopy:
    """Read a copy. Raises InconclusiveError when it is missing, cut off, empty, or not made of OSV records."""
    by_package: dict[str, list[Mapping[str, Any]]] = {}
    by_id: dict[str, Mapping[str, Any]] = {}
    newest, withdrawn, place = 0.0, 0, ""
    try:
        for found_at, text in _texts(path):
            place = found_at
            record = json.loads(text)
            newest = max(newest, _epoch(record["modified"]))
            if record.get("withdrawn"):
                withdrawn += 1
                continue
            by_id[record["id"]] = record
            for name in _python_packages(record):
                by_package.setdefault(name, []).append(record)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise _unusable(path, f"it can't be read to its end: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(path, f"{place} is no OSV record: {type(error).__name__}: {error}") from error
    if not by_package:
        raise _unusable(path, "it holds no advisory for a Python package")
    return AdvisoryCopy(source=path.name, modified=newest, by_package=by_package, by_id=by_id, withdrawn=withdrawn)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(location, JSON text) of every record."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield file.relative_to(path).as_posix(), file.read_text(encoding="utf-8")
        return
    with path.open("rb") as stream:
        start = stream.read(2)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield name, archive.read(name).decode()
        return
    with gzip.open(path, "rt", encoding="utf-8") if start == b"\x1f\x8b" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"line {number}", line


def _python_packages(record: Mapping[str, Any]) -> set[str]:
    return {
        canonicalize_name(affected["package"]["name"])
        for affected in record.get("affected", [])
        if affected.get("package", {}).get("ecosystem") == "PyPI"
    }


def _epoch(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _unusable(path: Path, why: str) -> InconclusiveError:
    return InconclusiveError(f"the copy of advisories {path.name} is unusable", details=[why], next_step=_HOW)
