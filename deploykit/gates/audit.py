"""The audit gate: pip-audit over the application's locks, or over its environment where there is no lock.

pip-audit takes an answer of 404 for "nothing known" and skips the package: here every skipped package, and every one
that was not asked about, makes the verdict inconclusive. With an offline copy of the advisories, a loopback server
answers pip-audit, counts its questions, and the copy's age stands in every verdict.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.advisories import AdvisoryCopy, AdvisoryServer, load_copy
from deploykit.gates.audit_subjects import Subject, find_subjects
from deploykit.gates.standing import GOOD_UNTIL
from deploykit.gates.tooling import parse_json, run_tool, tool_environment
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.gates.interface import GateContext

__all__ = ["ADVISORIES_VARIABLE", "DEFAULT_MAX_AGE_DAYS", "Accepted", "AuditGate", "interpret"]

ADVISORIES_VARIABLE = "DEPLOYKIT_ADVISORIES"
DEFAULT_MAX_AGE_DAYS = 30
_OFFLINE = (
    "give an offline copy of the OSV database (JSON lines, may be gzipped): security.audit.advisories in "
    f"[tool.deploykit], or {ADVISORIES_VARIABLE}=PATH nox -s audit"
)
_SECONDS = 300.0
_DAY = 86_400.0
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An advisory that is accepted for a reason, up to and including the day `until`."""

    id: str
    reason: str
    until: date


@dataclass(frozen=True, kw_only=True)
class AuditGate:
    """`locks` are paths of locks in the tree; none: `uv.lock`, else what the project's environment has installed.

    `advisories` is the path of an offline copy; the variable DEPLOYKIT_ADVISORIES goes before it.
    """

    locks: tuple[str, ...] = ()
    advisories: str = ""
    max_age_days: int = DEFAULT_MAX_AGE_DAYS
    accepted: tuple[Accepted, ...] = ()
    name: str = "audit"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def run(self, context: GateContext) -> Verdict:
        given = context.environment.get(ADVISORIES_VARIABLE) or self.advisories
        copy = load_copy((context.root / Path(given).expanduser()).absolute()) if given else None
        if copy is not None and (refusal := _refusal(copy, context.clock(), self.max_age_days)):
            raise refusal
        pip_audit = [*context.toolbox.tool("pip-audit")]
        environment = tool_environment(context.environment)
        version = run_tool([*pip_audit, "--version"], root=context.root, environment=environment, answers=(0,))
        with tempfile.TemporaryDirectory(prefix="deploykit-audit-") as folder:
            subjects = find_subjects(self.locks, context, Path(folder))
            words = [
                "--format",
                "json",
                "--progress-spinner",
                "off",
                "--desc",
                "on",
                "--aliases",
                "on",
                "--timeout",
                "15",
            ]

            def ask(subject: Subject, *source: str) -> Mapping[str, Any]:
                what = ["-r", str(subject.path), "--disable-pip", *([] if subject.hashed else ["--no-deps"])]
                try:
                    completed = run_tool(
                        [*pip_audit, *words, *source, *what],
                        root=context.root,
                        environment=environment,
                        timeout=_SECONDS,
                    )
                    answer: Mapping[str, Any] = parse_json(completed)
                except InconclusiveError as error:
                    if copy is not None:
                        raise
                    raise InconclusiveError(
                        "pip-audit got no answer from its advisory source", details=error.details, next_step=_OFFLINE
                    ) from error
                return answer

            if copy is None:
                answers = [(subject, ask(subject)) for subject in subjects]
                unasked: set[str] = set()
            else:
                with AdvisoryServer(copy) as server:
                    answers = [
                        (subject, ask(subject, "-s", "osv", "--osv-url", f"{server.url}/v1/query"))
                        for subject in subjects
                    ]
                    asked = {name for name, _ in server.asked}
                    unasked = {name for subject in subjects for name in subject.names} - asked
        verdict = interpret(
            answers,
            accepted=self.accepted,
            today=datetime.fromtimestamp(context.clock(), UTC).date(),
            version=version.stdout.split()[-1] if version.stdout.split() else "",
            source=_describe(copy, context.clock(), self.max_age_days),
            max_age_days=self.max_age_days,
            unasked=unasked,
        )
        if copy is None:
            return verdict  # what is known online may change at any moment: such an answer never stands
        settings = {**verdict.evidence.settings, GOOD_UNTIL: _good_until(copy, context.clock(), self.max_age_days)}
        return replace(verdict, evidence=replace(verdict.evidence, settings=settings))


def _good_until(copy: AdvisoryCopy, now: float, limit: int) -> int:
    """Until the copy is too old, and at most to the end of the day (UTC), since what is accepted ends with a day."""
    return int(min(copy.modified + limit * _DAY, (now // _DAY + 1) * _DAY))


def _refusal(copy: AdvisoryCopy, now: float, limit: int) -> InconclusiveError | None:
    age = copy.age_days(now)
    if age > limit:
        return InconclusiveError(
            f"the copy of advisories is {int(age)} days old, {limit} are allowed",
            details=[f"{copy.source}: newest record of {_day(copy.modified)}"],
            next_step="fetch a newer copy, or raise security.audit.max_age_days in [tool.deploykit] in the open",
        )
    if age < -1:
        return InconclusiveError(
            f"the copy of advisories is dated {_day(copy.modified)}, which is yet to come",
            next_step="check the clock of this machine and where the copy came from",
        )
    return None


def _describe(copy: AdvisoryCopy | None, now: float, limit: int) -> str:
    if copy is None:
        return "advisories: asked online"
    raised = "" if limit <= DEFAULT_MAX_AGE_DAYS else f", raised from the default of {DEFAULT_MAX_AGE_DAYS}"
    return (
        f"advisories: offline copy {copy.source} of {_day(copy.modified)}, {max(0, int(copy.age_days(now)))} days old "
        f"(at most {limit} allowed{raised}); {len(copy.by_id)} in force, {copy.withdrawn} withdrawn"
    )


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def interpret(  # noqa: PLR0913 - all that the verdict rests on, by keyword
    answers: Sequence[tuple[Subject, Mapping[str, Any]]],
    *,
    accepted: Sequence[Accepted],
    today: date,
    version: str,
    source: str,
    max_age_days: int,
    unasked: set[str] = frozenset(),  # type: ignore[assignment]  # never changed
) -> Verdict:
    """The verdict on pip-audit's JSON: a package that was skipped or left out makes it inconclusive."""
    findings, notes, missing, looked_at = [], [source], sorted(unasked), 0
    for subject, answer in answers:
        audited = [item for item in answer["dependencies"] if "skip_reason" not in item]
        answered = {item["name"] for item in audited}
        skipped = {item["name"]: item["skip_reason"] for item in answer["dependencies"] if "skip_reason" in item}
        looked_at += len(audited)
        notes += [f"{subject.label}: {note}" for note in subject.notes]
        notes += [f"{subject.label}: skipped: {reason}" for reason in [*skipped.values()][:_SHOWN]]
        if len(skipped) > _SHOWN:
            notes.append(f"{subject.label}: and {len(skipped) - _SHOWN} more were skipped")
        missing += [name for name in subject.names if name not in answered and name not in missing]
        missing += [name for name in skipped if name not in missing]
        for item in audited:
            for vulnerability in item["vulns"]:
                verdict, note = _judge(vulnerability, accepted, today)
                if note:
                    notes.append(f"{subject.label}: {item['name']} {item['version']}: {note}")
                if verdict:
                    findings.append(_finding(subject, item, vulnerability, note))
    evidence = Evidence(
        looked_at=looked_at,
        unit="packages",
        tool="pip-audit",
        tool_version=version,
        settings={
            "max_age_days": max_age_days,
            "looked into": ", ".join(subject.label for subject, _ in answers),
            "accepted": len(accepted),
        },
        notes=tuple(dict.fromkeys(notes)),
    )
    doubts = f"{len(missing)} packages were not looked up: {', '.join(missing[:5])}" if missing else ""
    if findings:
        outcome = Outcome.FINDINGS
        reason = "; ".join(filter(None, [f"{len(findings)} known vulnerabilities", doubts]))
        next_step = (
            "upgrade as the fixes say, or accept one with reason and date: [[tool.deploykit.security.audit.ignore]]"
        )
    elif missing:
        outcome, reason, next_step = Outcome.INCONCLUSIVE, doubts, _OFFLINE
    elif not looked_at:
        outcome, reason = Outcome.INCONCLUSIVE, "there was no package to look up"
        next_step = "name the application's lock: service.requirements in [tool.deploykit]"
    else:
        outcome, reason, next_step = Outcome.PASSED, "", ""
    return Verdict(
        gate="audit", outcome=outcome, evidence=evidence, findings=tuple(findings), reason=reason, next_step=next_step
    )


def _judge(vulnerability: Mapping[str, Any], accepted: Sequence[Accepted], today: date) -> tuple[bool, str]:
    """(whether it is a finding, what is to be said of its acceptance)."""
    ids = {vulnerability["id"], *vulnerability.get("aliases", ())}
    for item in accepted:
        if item.id in ids:
            if today > item.until:
                return True, f"{item.id} was accepted until {item.until}, which is over ({item.reason})"
            return False, f"{item.id} is accepted until {item.until}: {item.reason}"
    return True, ""


def _finding(subject: Subject, item: Mapping[str, Any], vulnerability: Mapping[str, Any], note: str) -> Finding:
    aliases = ", ".join(alias for alias in vulnerability.get("aliases", ()) if alias.startswith("CVE-"))
    said = " ".join((vulnerability.get("description") or "").split())[:200]
    fixes = vulnerability.get("fix_versions", [])
    place = subject.places.get(item["name"], 0)
    return Finding(
        rule=vulnerability["id"],
        message=f"{item['name']} {item['version']}{f' ({aliases})' if aliases else ''}: {note or said}",
        path=subject.file,
        line=place,
        severity=Severity.UNKNOWN,
        fix=f"{item['name']}>={fixes[-1]}" if fixes else "",
    )
