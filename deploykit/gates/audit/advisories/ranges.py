"""Whether an OSV record affects a version: the evaluation of the OSV schema (https://ossf.github.io/osv-schema/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["affects"]

_KINDS = ("introduced", "fixed", "last_affected", "limit")
_ORDER = {"introduced": 0, "fixed": 1, "limit": 1, "last_affected": 2}


def affects(record: Mapping[str, Any], package: str, version: str) -> bool:
    """Whether the record names `version` of `package`, in its list of versions or by one of its ranges.

    Raises ValueError when `version` is no PEP 440 version. A range that can't be understood counts as a hit:
    nobody can say that the version is safe.
    """
    wanted = Version(version)
    return any(
        _listed(affected.get("versions", ()), wanted, version)
        or any(_in_range(spread, wanted) for spread in affected.get("ranges", ()) if spread["type"] != "GIT")
        for affected in record.get("affected", ())
        if affected.get("package", {}).get("ecosystem") == "PyPI"
        and canonicalize_name(affected["package"]["name"]) == package
    )


def _listed(versions: Sequence[str], wanted: Version, text: str) -> bool:
    return text in versions or any(_parse(candidate) == wanted for candidate in versions)


def _in_range(spread: Mapping[str, Any], wanted: Version) -> bool:
    """Walk the events in the order of their versions: the last one at or before `wanted` decides."""
    events = []
    for event in spread["events"]:
        for kind in _KINDS:
            if kind in event:
                text = str(event[kind])
                if kind == "limit" and text == "*":
                    continue  # limits nothing
                at = Version("0.dev0") if text == "0" else _parse(text)
                if at is None:
                    return True  # not known to be safe
                events.append((at, _ORDER[kind], kind))
    inside = False
    for at, _, kind in sorted(events):
        if kind == "introduced" and wanted >= at:
            inside = True
        elif (kind in {"fixed", "limit"} and wanted >= at) or (kind == "last_affected" and wanted > at):
            inside = False
    return inside


def _parse(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
