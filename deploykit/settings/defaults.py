"""The environments that are there without being named; what a user writes goes over them, field by field."""

from __future__ import annotations

from typing import Any

PREFLIGHT_CHECKS = (
    "clean-tree",
    "branch",
    "evidence",
    "migration-heads",
    "migration-safety",
    "settings",
    "variables",
    "target",
)
"""What a release beyond `local` wants; `production` wants a version tag besides."""

__all__ = ["ENVIRONMENTS", "GATES", "PREFLIGHT_CHECKS", "with_default_environments"]

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "local": {
        "target": "process",
        "strategy": "blue-green",
        "preflight": ["migration-heads", "settings", "variables", "target"],
        "evidence": [],
        "watch": [],
    },
    "development": {"target": "docker", "branch": "develop"},
    "staging": {"target": "docker", "branch": "main"},
    "production": {"target": "docker", "branch": "main", "preflight": ["version-tag", *PREFLIGHT_CHECKS]},
}
"""Branches as in the deployment-strategy template: `develop` deploys to development, `main` to staging."""

GATES = ("lint", "typing", "test", "coverage", "sast", "audit", "secrets", "security", "migrations", "image", "docs")
"""What can be wanted as evidence: the names of the gates."""


def with_default_environments(raw: dict[str, Any]) -> dict[str, Any]:
    """The settings as written, with the default environments below what the user wrote of them."""
    given = raw.get("environments", {})
    if not isinstance(given, dict):
        return raw
    merged: dict[str, Any] = {name: dict(fields) for name, fields in ENVIRONMENTS.items()}
    for name, fields in given.items():
        default = merged.get(name)
        merged[name] = {**default, **fields} if default and isinstance(fields, dict) else fields
    return {**raw, "environments": merged}
