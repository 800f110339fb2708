"""The verdict on the scanners' answers: findings, accepted ones, those below the threshold, and unknown severities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.gates.audit.severity import severity_of
from deploykit.gates.reports.common import FAILS_FROM
from deploykit.model import Evidence, Finding, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from deploykit.gates.audit.subject import Subject

__all__ = ["OFFLINE", "Accepted", "interpret"]

OFFLINE = (
    "give an offline copy of the OSV database (JSON lines, may be gzipped): security.audit.advisories in "
    "[tool.deploykit], or DEPLOYKIT_ADVISORIES=PATH nox -s audit"
)
_SHOWN = 3
_NOTHING: Callable[[str], Mapping[str, Any] | None] = lambda _name: None  # noqa: E731


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An advisory that is accepted for a reason, up to and including the day `until`."""

    id: str
    reason: str
    until: date


def interpret(  # noqa: PLR0913 - all that the verdict rests on, by keyword
    answers: Sequence[tuple[Subject, Mapping[str, Any]]],
    *,
    accepted: Sequence[Accepted],
    today: date,
    version: str,
    source: str,
    max_age_days: int,
    unasked: set[str] = frozenset(),  # type: ignore[assignment]  # never changed
    threshold: Severity = Severity.MODERATE,
    look_up: Callable[[str], Mapping[str, Any] | None] = _NOTHING,
    tool: str = "pip-audit",
    more: Sequence[Finding] = (),
    doubts: Sequence[str] = (),
) -> Verdict:
    """The verdict on the scanners' answers. A package that was skipped or left out makes it inconclusive.

    What reaches the `threshold` fails the gate, and so does what nobody knows the severity of; the rest is listed.
    `more` are findings of another kind on the same packages (licences), `doubts` sentences about what could not be
    judged there.
    """
    seen = _see(answers, accepted, today, look_up)
    missing = [*sorted(unasked), *(name for name in seen.missing if name not in unasked)]
    findings, looked_at, notes = seen.findings, seen.looked_at, [source, *seen.notes]
    if not missing:
        notes += [
            f"accepted, but nothing here has it any more: {item.id} ({item.reason}); its entry can go"
            for item in accepted
            if item.id not in seen.met
        ]
    evidence = Evidence(
        looked_at=looked_at,
        unit="packages",
        tool=tool,
        tool_version=version,
        settings={
            "max_age_days": max_age_days,
            "looked into": ", ".join(subject.label for subject, _ in answers),
            "accepted": len(accepted),
            FAILS_FROM: threshold.value,
        },
        notes=tuple(dict.fromkeys(notes)),
    )
    failing = [finding for finding in findings if finding.severity.reaches(threshold)]
    below = len(findings) - len(failing)
    doubt = "; ".join(
        filter(
            None, [f"{len(missing)} packages were not looked up: {', '.join(missing[:5])}" if missing else "", *doubts]
        )
    )
    listed = f"{below} below {threshold.value} are listed and fail nothing" if below else ""
    if failing or more:
        outcome = Outcome.FINDINGS
        known = f"{len(failing)} known vulnerabilities" if failing else ""
        licences = f"{len(more)} licences that are not wanted" if more else ""
        reason = "; ".join(filter(None, [known, licences, listed, doubt]))
        next_step = (
            "upgrade as the fixes say, or accept one with reason and date: [[tool.deploykit.security.audit.ignore]]"
            if failing
            else "replace the packages, or accept one with a reason: [[tool.deploykit.security.audit.licences.accept]]"
        )
    elif missing:
        outcome, reason, next_step = Outcome.INCONCLUSIVE, "; ".join(filter(None, [doubt, listed])), OFFLINE
    elif doubt:
        outcome, reason = Outcome.INCONCLUSIVE, "; ".join(filter(None, [doubt, listed]))
        next_step = "say what is known: [[tool.deploykit.security.audit.licences.accept]] with package and reason"
    elif not looked_at:
        outcome, reason = Outcome.INCONCLUSIVE, "there was no package to look up"
        next_step = "name the application's lock: service.requirements in [tool.deploykit]"
    else:
        outcome, reason, next_step = Outcome.PASSED, listed, ""
    ordered = sorted(findings, key=lambda finding: not finding.severity.reaches(threshold))
    return Verdict(
        gate="audit",
        outcome=outcome,
        evidence=evidence,
        findings=(*ordered, *more),
        reason=reason,
        next_step=next_step,
    )


@dataclass
class _Seen:
    """What the answers hold. `met` are all names of all advisories, the accepted ones too."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    met: set[str] = field(default_factory=set)
    looked_at: int = 0


def _see(
    answers: Sequence[tuple[Subject, Mapping[str, Any]]],
    accepted: Sequence[Accepted],
    today: date,
    look_up: Callable[[str], Mapping[str, Any] | None],
) -> _Seen:
    seen = _Seen()
    for subject, answer in answers:
        audited = [item for item in answer["dependencies"] if "skip_reason" not in item]
        answered = {item["name"] for item in audited}
        skipped = {item["name"]: item["skip_reason"] for item in answer["dependencies"] if "skip_reason" in item}
        seen.looked_at += len(audited)
        seen.notes += [f"{subject.label}: {note}" for note in (*subject.notes, *answer.get("statuses", ()))]
        seen.notes += [f"{subject.label}: skipped: {reason}" for reason in [*skipped.values()][:_SHOWN]]
        if len(skipped) > _SHOWN:
            seen.notes.append(f"{subject.label}: and {len(skipped) - _SHOWN} more were skipped")
        seen.missing += [name for name in subject.names if name not in answered and name not in seen.missing]
        seen.missing += [name for name in skipped if name not in seen.missing]
        for item in audited:
            for vulnerability in item["vulns"]:
                names = {vulnerability["id"], *vulnerability.get("aliases", ())}
                seen.met |= names
                fails, note = _judge(names, accepted, today)
                if note:
                    seen.notes.append(f"{subject.label}: {item['name']} {item['version']}: {note}")
                if fails:
                    severity = severity_of(sorted(names), look_up)
                    seen.findings.append(_finding(subject, item, vulnerability, note, severity))
    return seen


def _judge(names: set[str], accepted: Sequence[Accepted], today: date) -> tuple[bool, str]:
    """(whether it is a finding, what is to be said of its acceptance)."""
    for item in accepted:
        if item.id in names:
            if today > item.until:
                return True, f"{item.id} was accepted until {item.until}, which is over ({item.reason})"
            return False, f"{item.id} is accepted until {item.until}: {item.reason}"
    return True, ""


def _finding(
    subject: Subject, item: Mapping[str, Any], vulnerability: Mapping[str, Any], note: str, severity: Severity
) -> Finding:
    aliases = ", ".join(alias for alias in vulnerability.get("aliases", ()) if alias.startswith("CVE-"))
    said = " ".join((vulnerability.get("description") or "").split())[:200]
    fixes = vulnerability.get("fix_versions", [])
    place = subject.places.get(item["name"], 0)
    return Finding(
        rule=vulnerability["id"],
        message=f"{item['name']} {item['version']}{f' ({aliases})' if aliases else ''}: {note or said}",
        path=subject.file,
        line=place,
        severity=severity,
        fix=f"{item['name']}>={fixes[-1]}" if fixes else "",
    )
