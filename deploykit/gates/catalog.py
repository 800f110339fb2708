"""The gates by name, built from the repo's settings."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from deploykit.gates.project_environment import ProjectNeeds

if TYPE_CHECKING:
    from pathlib import Path

    from deploykit.gates.coverage.gate import CoverageGate
    from deploykit.gates.interface import Gate
    from deploykit.settings.models import Settings

__all__ = ["GATE_NAMES", "build_gate", "coverage_gate", "project_needs"]

GATE_NAMES = (
    "lint",
    "typing",
    "test",
    "coverage",
    "sast",
    "audit",
    "secrets",
    "migrations",
    "format",
    "image",
    "workflows",
)


def build_gate(name: str, settings: Settings, root: Path) -> Gate:  # noqa: C901, PLR0911 - one return a gate
    """The gate `name` as the settings want it. Raises KeyError for a name that there is not."""
    if name == "lint":
        from deploykit.gates.lint import LintGate

        folders = (".", "src") if (root / "src").is_dir() else (".",)
        return LintGate(
            paths=settings.lint.paths, import_contracts=settings.lint.import_contracts, source_folders=folders
        )
    if name == "typing":
        from deploykit.gates.typing import TypingGate

        return TypingGate(paths=settings.lint.typing_paths)
    if name == "test":
        from deploykit.gates.test import TestGate

        tests = settings.tests
        return TestGate(
            paths=tests.paths,
            arguments=tests.arguments,
            source=settings.coverage.source,
            allowed_skips=tests.allowed_skips,
        )
    if name == "coverage":
        return coverage_gate(settings)
    if name == "sast":
        from deploykit.gates.sast import Accepted as AcceptedFinding
        from deploykit.gates.sast import SastGate

        security = settings.security
        accept = tuple(AcceptedFinding(**item.model_dump()) for item in security.sast_accept)
        return SastGate(exclude=security.sast_exclude, accept=accept)
    if name == "audit":
        from packaging.utils import canonicalize_name

        from deploykit.gates.audit.gate import Accepted, AuditGate
        from deploykit.gates.audit.licences import Licences
        from deploykit.model import Severity

        audit, licences = settings.security.audit, settings.security.audit.licences
        return AuditGate(
            locks=tuple(dict.fromkeys(filter(None, (settings.service.requirements, audit.requirements)))),
            advisories=audit.advisories,
            service=audit.service,
            threshold=Severity(audit.severity),
            licences=Licences(
                allow=licences.allow,
                deny=licences.deny,
                accepted={canonicalize_name(item.package): item.reason for item in licences.accept},
            )
            if licences.allow or licences.deny
            else None,
            max_age_days=audit.max_age_days,
            accepted=tuple(
                Accepted(id=item.id, reason=item.reason, until=date.fromisoformat(item.until)) for item in audit.ignore
            ),
        )
    if name == "secrets":
        from deploykit.gates.secrets import SecretsGate

        return SecretsGate(baseline=settings.security.secrets.baseline, exclude=settings.security.secrets.exclude)
    if name == "migrations":
        from deploykit.gates.migrations import Allowed, MigrationsGate
        from deploykit.settings.other_migrations import is_decided

        wanted, database = settings.migrations, settings.database
        return MigrationsGate(
            migrations=database.migrations,
            decided=is_decided(settings),
            variable=database.variable,
            driver=database.driver,
            server_version=wanted.server_version if isinstance(wanted.server_version, int) else 0,
            ask=wanted.server_version == "ask",
            since=wanted.since,
            allow=tuple(Allowed(rule=item.rule, reason=item.reason, revision=item.revision) for item in wanted.allow),
            enable=wanted.enable,
            metadata=wanted.metadata,
            squawk=wanted.squawk,
        )
    if name == "format":
        from deploykit.gates.format import FormatGate

        return FormatGate(paths=settings.lint.paths)
    if name == "image":
        from deploykit.gates.image import ImageGate

        return ImageGate()
    if name == "workflows":
        from deploykit.gates.workflows import WorkflowsGate

        return WorkflowsGate()
    raise KeyError(name)


def coverage_gate(settings: Settings, *, required: tuple[str, ...] = ("test",)) -> CoverageGate:
    """The coverage gate over the data of the test gates `required`."""
    from deploykit.gates.coverage.gate import CoverageGate
    from deploykit.gates.coverage.minimum import CoverageMinimum

    wanted = settings.coverage
    minimums = [
        CoverageMinimum(minimum=least, sessions=tuple(sorted(names.split())))
        for names, least in wanted.sessions.items()
    ]
    return CoverageGate(
        minimums=tuple(minimums) or (CoverageMinimum(minimum=wanted.minimum),),
        changed_minimum=wanted.changed_minimum,
        packages=wanted.packages,
        base=wanted.base,
        required=required,
    )


def project_needs(settings: Settings) -> ProjectNeeds:
    """What the project's code and tests need, from the settings."""
    locks = (settings.service.requirements, *settings.tests.requirements)
    return ProjectNeeds(
        locks=tuple(dict.fromkeys(filter(None, locks))), groups=settings.tests.groups, extras=settings.tests.extras
    )
