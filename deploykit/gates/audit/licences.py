"""Licences of what the application has installed, against those that are allowed and denied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from deploykit.gates.audit.spdx import CLASSIFIERS, canonical, covers, names_of
from deploykit.gates.tooling import ask_application
from deploykit.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deploykit.gates.interface import GateContext

__all__ = ["Found", "Licences", "judge_licences", "licence_of"]

_LIST = """
import importlib.metadata, json, sys
found = []
for dist in importlib.metadata.distributions():
    meta = dist.metadata
    found.append({
        "name": meta["Name"], "version": dist.version, "expression": meta.get("License-Expression") or "",
        "licence": (meta.get("License") or "")[:200],
        "classifiers": [line for line in meta.get_all("Classifier") or [] if line.startswith("License ::")],
        "local": "dir_info" in json.loads(dist.read_text("direct_url.json") or "{}"),
    })
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True, kw_only=True)
class Licences:
    """SPDX identifiers, a trailing `*` for a family (`GPL-*`). A package whose licence can't be met by what `allow` has
    (empty: by anything) and `deny` has not is a finding. `accepted` are packages (normalised names) whose licence a
    person has looked at, with the reason.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    accepted: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """`doubts` say what could not be judged; any makes the verdict inconclusive."""

    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


def judge_licences(wanted: Licences, names: Iterable[str], context: GateContext) -> Found:
    """Judge every package of the application's environment but local projects. `names` are those that a lock pins: one
    that is not installed can't be judged, and is a doubt.
    """
    installed = {canonicalize_name(item["name"]): item for item in ask_application(context, _LIST) if item["name"]}
    findings, unknown, notes = [], [], []
    for name, item in sorted(installed.items()):
        if item["local"]:
            continue
        if reason := wanted.accepted.get(name):
            notes.append(f"licence of {name} accepted: {reason}")
            continue
        licence, source = licence_of(item)
        if not licence:
            unknown.append(name)
        elif _is_refused(licence, wanted):
            findings.append(
                Finding(
                    rule="licence",
                    message=f"{name} {item['version']} is under {licence} (from its {source})",
                    severity=Severity.HIGH,
                )
            )
    missing = sorted(set(names) - installed.keys())
    doubts = []
    if unknown:
        doubts.append(f"the licences of {len(unknown)} packages are not known: {', '.join(unknown[:5])}")
    if missing:
        doubts.append(
            f"{len(missing)} packages are not installed here, so their licences are not known: {', '.join(missing[:5])}"
        )
    judged = sum(1 for item in installed.values() if not item["local"])
    notes.append(
        f"licences of {judged} packages: allowed {', '.join(wanted.allow) or 'any'}; "
        f"denied {', '.join(wanted.deny) or 'none'}"
    )
    stale = sorted(wanted.accepted.keys() - installed.keys())
    notes += [f"licence accepted, but the package is not installed any more: {name}" for name in stale]
    return Found(findings=tuple(findings), doubts=tuple(doubts), notes=tuple(notes))


def _is_refused(expression: str, wanted: Licences) -> bool:
    """Whether it can't be met by licences that are allowed and not denied."""
    good = [
        name
        for name in names_of(expression)
        if (not wanted.allow or covers(name, wanted.allow)) and not covers(name, wanted.deny)
    ]
    return not covers(expression, good)


def licence_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """(SPDX expression, which field said so) by a package's metadata: its expression, else its classifiers, else its
    free text.

    Empty when no field says one that SPDX knows. Several classifiers may mean a choice or all of them: all are taken.
    """
    if item["expression"]:
        return canonical(item["expression"]) or "", "License-Expression"
    parts = [line.split(" :: ")[-1] for line in item["classifiers"]]
    known = [CLASSIFIERS[part] for part in parts if part in CLASSIFIERS]
    if known and len(known) == len([part for part in parts if part != "OSI Approved"]):
        return canonical(" AND ".join(dict.fromkeys(known))) or "", f"classifier {' and '.join(parts)}"
    text = " ".join(item["licence"].split())
    found = canonical(text) if text and len(text) < 80 else None
    return (found or CLASSIFIERS.get(text, ""), "License field")
