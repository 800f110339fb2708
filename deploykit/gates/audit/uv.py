"""`uv audit` over a `uv.lock`: all of the lock, every group, extra and platform, without installing or exporting
anything.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from deploykit.gates.tooling import crashed, last_lines, parse_json, run_tool, tool_environment
from deploykit.model import InconclusiveError, UsageError
from deploykit.process.run import run
from deploykit.process.uv import find_uv, uv_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.gates.audit.subject import Subject
    from deploykit.gates.interface import GateContext

__all__ = ["ask_uv", "require_current", "uv_can_audit", "uv_version"]

_FEATURES = "audit-command,json-output"
_SECONDS = 300.0


@cache
def uv_can_audit(uv: str) -> bool:
    """Whether this uv knows `uv audit` with another OSV service."""
    completed = run([uv, "audit", "--help"], check=False, timeout=30)
    return completed.returncode == 0 and "--service-url" in completed.stdout and "--output-format" in completed.stdout


def require_current(lock: Path, context: GateContext) -> None:
    """Make sure that a `uv.lock` has what the pyproject.toml beside it asks for.

    uv is asked without the network first: a lock that fits needs none, mostly. Raises UsageError when it does not fit,
    and InconclusiveError when uv can't say.
    """
    environment = uv_environment(tool_environment(context.environment))
    check = [find_uv(), "lock", "--check", "--no-progress"]
    for words in (["--offline", "--python", sys.executable], []):
        completed = run_tool(
            [*check, *words], root=lock.parent, environment=environment, answers=(0, 1, 2), timeout=_SECONDS
        )
        if completed.returncode == 0:
            return
        if "needs to be updated" in completed.stderr:
            raise UsageError(
                f"{lock.name} does not have what pyproject.toml asks for: it was made before that changed",
                next_step="uv lock",
            )
    raise InconclusiveError(
        f"uv can't say whether {lock.name} has what pyproject.toml asks for",
        details=last_lines(completed),
        next_step="uv lock --check, where the package index can be reached",
    )


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
