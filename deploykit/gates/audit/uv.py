"""`uv audit` over a `uv.lock`: all of the lock, every group, extra and platform, without installing or exporting
anything.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_environment
from deploykit.process.run import run
from deploykit.process.uv import find_uv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.gates.audit.subject import Subject
    from deploykit.gates.interface import GateContext

__all__ = ["ask_uv", "uv_can_audit", "uv_version"]

_FEATURES = "audit-command,json-output"
_SECONDS = 300.0


@cache
def uv_can_audit(uv: str) -> bool:
    """Whether this uv knows `uv audit` with another OSV service."""
    completed = run([uv, "audit", "--help"], check=False, timeout=30)
    return completed.returncode == 0 and "--service-url" in completed.stdout and "--output-format" in completed.stdout


def uv_version(context: GateContext) -> str:
    completed = run_tool(
        [find_uv(), "--version"], root=context.root, environment=tool_environment(context.environment), answers=(0,)
    )
    return completed.stdout.split()[1] if len(completed.stdout.split()) > 1 else ""


def ask_uv(subject: Subject, context: GateContext, service: str) -> Mapping[str, Any]:
    """What `uv audit` answers, in the form of pip-audit's answers. `service` is an OSV service's address, empty for
    uv's own.

    Raises InconclusiveError when uv got no answer, or looked at fewer packages than the lock pins.
    """
    # Without its configuration: [tool.uv.audit] can leave advisories out for ever and without a reason.
    words = ["--frozen", "--no-config", "--no-progress", "--output-format", "json", "--preview-features", _FEATURES]
    completed = run_tool(
        [find_uv(), "audit", *words, *(["--service-url", service] if service else [])],
        root=subject.path.parent,
        environment=tool_environment(context.environment),
        timeout=_SECONDS,
    )
    answer = parse_json(completed)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {pin: [] for pin in subject.pinned}
    for item in answer["vulnerabilities"]:
        of = (canonicalize_name(item["dependency"]["name"]), item["dependency"]["version"])
        said = item.get("description") or item.get("summary") or ""
        fixes = item.get("fix_versions") or []
        found.setdefault(of, []).append(
            {"id": item["id"], "aliases": item.get("aliases") or [], "description": said, "fix_versions": fixes}
        )
    if bool(completed.returncode) != bool(answer["vulnerabilities"]):
        raise crashed(
            completed, f"uv audit answers {completed.returncode} and {len(answer['vulnerabilities'])} findings"
        )
    if (count := answer["summary"]["audited_packages"]) < len(subject.pinned):
        raise crashed(completed, f"uv audit looked at {count} packages, {subject.label} pins {len(subject.pinned)}")
    statuses = [
        f"{item.get('name', '?')} is {item.get('status', '?')}: {item.get('reason') or 'no reason given'}"
        for item in answer.get("adverse_statuses") or ()
    ]
    return {
        "dependencies": [
            {"name": name, "version": version, "vulns": vulns} for (name, version), vulns in found.items()
        ],
        "statuses": statuses,
    }
