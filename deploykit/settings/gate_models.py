"""`[tool.deploykit]`: settings of the gates, such as tests, coverage and the audit."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, field_validator

from deploykit.settings.base_model import Model

__all__ = [
    "Audit",
    "AuditIgnore",
    "Coverage",
    "LicenceAccepted",
    "Licences",
    "Lint",
    "SastAccept",
    "Secrets",
    "Security",
    "Tests",
]


class AuditIgnore(Model):
    """An advisory that is accepted: why, and until when (ISO date). Past that day it is a finding again."""

    id: str
    reason: Annotated[str, Field(min_length=1)]
    until: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]

    @field_validator("until")
    @classmethod
    def _is_in_the_calendar(cls, value: str) -> str:
        try:
            dt.date.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
        return value


class LicenceAccepted(Model):
    """A package whose licence a person has looked at, and why it may be used."""

    package: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]


class Licences(Model):
    """SPDX identifiers, with a trailing `*` for a family (`GPL-*`). Judged where `allow` or `deny` names any."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    accept: tuple[LicenceAccepted, ...] = ()


class Audit(Model):
    advisories: str = ""
    """Path of an offline OSV copy (JSON lines, may be gzipped). The variable DEPLOYKIT_ADVISORIES goes before it."""
    service: str = ""
    """Address of an OSV service to ask where there is no copy; empty: the scanners' own."""
    max_age_days: Annotated[int, Field(ge=1)] = 30
    severity: Literal["low", "moderate", "high", "critical"] = "moderate"
    """The lowest severity that fails the gate. What nobody knows the severity of fails it, too."""
    requirements: str = ""
    ignore: tuple[AuditIgnore, ...] = ()
    licences: Licences = Licences()


class Secrets(Model):
    baseline: str = ".secrets.baseline"
    exclude: tuple[str, ...] = ()


class SastAccept(Model):
    """Findings of a rule that a person has looked at, in a file or below a folder."""

    rule: Annotated[str, Field(pattern=r"^B\d{3}$")]
    path: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]


class Security(Model):
    audit: Audit = Audit()
    secrets: Secrets = Secrets()
    sast_exclude: tuple[str, ...] = ("tests",)
    sast_accept: tuple[SastAccept, ...] = ()
    """Acknowledged findings. The evidence contains their number and the reasons."""


class Coverage(Model):
    minimum: Annotated[float, Field(ge=0, le=100)] = 80
    sessions: dict[Annotated[str, Field(pattern=r"\S")], Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict
    )
    """Minimums by the test sessions that ran, such as `{ test = 60, "test integration" = 90 }`;
    instead of `minimum`.
    """
    changed_minimum: Annotated[float, Field(ge=0, le=100)] = 0
    """Percent of the statements changed since `base`; 0: judged only when a base is given, against `minimum`."""
    base: str = ""
    """Revision that changes are counted from; empty: `origin/main`, else `main`."""
    packages: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    source: tuple[str, ...] = ()

    @field_validator("sessions")
    @classmethod
    def _each_set_once(cls, value: dict[str, float]) -> dict[str, float]:
        if len({frozenset(names.split()) for names in value}) < len(value):
            raise ValueError("names the same sessions twice")
        return value


class Tests(Model):
    """How the tests run. `requirements` (a lock) or `groups` / `extras` of pyproject.toml say what they need."""

    paths: tuple[str, ...] = ("tests",)
    arguments: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    allowed_skips: Annotated[int, Field(ge=0)] = 0
    """Skipped tests beyond so many make the gate inconclusive."""


class Lint(Model):
    paths: tuple[str, ...] = (".",)
    typing_paths: tuple[str, ...] = ()
    import_contracts: bool = False
