"""The audit gate: pip-audit over the application's locks, or over its environment where there is no lock; `uv audit`
over a `uv.lock`.

pip-audit takes an answer of 404 for "nothing known" and skips the package: here every skipped package, and every one
that was not asked about, makes the verdict inconclusive. With an offline copy of the advisories, a loopback server
answers the scanners, counts their questions, and every verdict contains the copy's age.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.audit.advisories import AdvisoryCopy, AdvisoryServer, load_copy
from deploykit.gates.audit.judgement import OFFLINE, Accepted, interpret
from deploykit.gates.audit.licences import Licences, judge_licences
from deploykit.gates.audit.severity import OSV, is_safe_address, online
from deploykit.gates.audit.subjects import find_subjects
from deploykit.gates.audit.uv import ask_uv, uv_version
from deploykit.gates.obeyed import shielded
from deploykit.gates.tooling import parse_json, run_tool, tool_environment
from deploykit.gates.verdict_cache import GOOD_UNTIL
from deploykit.model import InconclusiveError, Severity, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploykit.gates.audit.subject import Subject
    from deploykit.gates.interface import GateContext

__all__ = ["ADVISORIES_VARIABLE", "DEFAULT_MAX_AGE_DAYS", "Accepted", "AuditGate", "interpret"]

ADVISORIES_VARIABLE = "DEPLOYKIT_ADVISORIES"
DEFAULT_MAX_AGE_DAYS = 30
_SECONDS = 300.0
_DAY = 86_400.0
_WORDS = (
    "--format", "json", "--progress-spinner", "off", "--desc", "on", "--aliases", "on", "--timeout", "15",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AuditGate:
    """`locks` are paths of locks in the tree; none: `uv.lock`, else what the project's environment has installed.

    `advisories` is the path of an offline copy; the variable DEPLOYKIT_ADVISORIES goes before it. `service` is the
    address of an OSV service of one's own, for those who have no copy. `threshold` is the lowest severity that fails
    the gate.
    """

    locks: tuple[str, ...] = ()
    advisories: str = ""
    service: str = ""
    max_age_days: int = DEFAULT_MAX_AGE_DAYS
    threshold: Severity = Severity.MODERATE
    accepted: tuple[Accepted, ...] = ()
    licences: Licences | None = None
    name: str = "audit"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def run(self, context: GateContext) -> Verdict:
        given = context.environment.get(ADVISORIES_VARIABLE) or self.advisories
        copy = load_copy((context.root / Path(given).expanduser()).absolute()) if given else None
        if copy is not None and (refusal := _refusal(copy, context.clock(), self.max_age_days)):
            raise refusal
        if self.service and not is_safe_address(self.service):
            raise UsageError(
                "security.audit.service is no https address, so nobody could believe what it answers",
                next_step="give an https address, or an offline copy by security.audit.advisories",
            )
        with tempfile.TemporaryDirectory(prefix="deploykit-audit-") as folder, contextlib.ExitStack() as stack:
            subjects = find_subjects(self.locks, context, Path(folder))
            server = stack.enter_context(AdvisoryServer(copy)) if copy is not None else None
            scanners = _Scanners(context, server.url if server else self.service, offline=server is not None)
            answers = [(subject, scanners.ask(subject)) for subject in subjects]
            asked = {name for name, _ in server.asked} if server else set()
        names = {name for subject, _ in answers for name in subject.names}
        licences = judge_licences(self.licences, names, context) if self.licences else None
        verdict = interpret(
            answers,
            accepted=self.accepted,
            today=datetime.fromtimestamp(context.clock(), UTC).date(),
            version=", ".join(scanners.versions.values()),
            source=_describe(copy, context.clock(), self.max_age_days, self.service),
            max_age_days=self.max_age_days,
            unasked=names - asked if server else set(),
            threshold=self.threshold,
            look_up=copy.by_id.get if copy is not None else online(self.service or OSV),
            tool=" and ".join(scanners.versions),
            more=licences.findings if licences else (),
            doubts=licences.doubts if licences else (),
        )
        evidence = verdict.evidence
        if licences:
            evidence = replace(evidence, notes=(*evidence.notes, *licences.notes))
        if copy is not None:  # what is known online may change at any moment: such a verdict is never cached
            settings = {**evidence.settings, GOOD_UNTIL: _good_until(copy, context.clock(), self.max_age_days)}
            evidence = replace(evidence, settings=settings)
        return replace(verdict, evidence=evidence)


class _Scanners:
    """Asks the scanner that a subject wants; `versions` are those that were asked.

    `url` is an OSV service, empty: their own.
    """

    def __init__(self, context: GateContext, url: str, *, offline: bool) -> None:
        self._context = context
        self._url = url
        self._offline = offline
        self.versions: dict[str, str] = {}

    def ask(self, subject: Subject) -> Mapping[str, Any]:
        """The answer of the scanner that the subject wants. Raises InconclusiveError when there is none."""
        if subject.scanner == "uv audit":
            answer = self._answered("uv audit", lambda: ask_uv(subject, self._context, self._url))
            self.versions["uv audit"] = uv_version(self._context)
            return answer
        return self._answered("pip-audit", lambda: self._ask_pip_audit(subject))

    def _answered(self, scanner: str, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return ask()
        except InconclusiveError as error:
            if self._offline:
                raise
            raise InconclusiveError(
                f"{scanner} got no answer from its advisory source", details=error.details, next_step=OFFLINE
            ) from error

    def _ask_pip_audit(self, subject: Subject) -> Mapping[str, Any]:
        pip_audit = [*self._context.toolbox.tool("pip-audit")]
        environment = shielded("pip-audit", tool_environment(self._context.environment))
        if "pip-audit" not in self.versions:
            version = run_tool(
                [*pip_audit, "--version"], root=self._context.root, environment=environment, answers=(0,)
            )
            self.versions["pip-audit"] = version.stdout.split()[-1] if version.stdout.split() else ""
        source = ["-s", "osv", "--osv-url", f"{self._url.rstrip('/')}/v1/query"] if self._url else []
        what = ["-r", str(subject.path), "--disable-pip", *([] if subject.hashed else ["--no-deps"])]
        completed = run_tool(
            [*pip_audit, *_WORDS, *source, *what],
            root=self._context.root,
            environment=environment,
            timeout=_SECONDS,
        )
        answer: Mapping[str, Any] = parse_json(completed)
        return answer


def _good_until(copy: AdvisoryCopy, now: float, limit: int) -> int:
    """Until the copy is too old, and at most to the end of the day (UTC), since what is accepted ends with a day."""
    return int(min(copy.modified + limit * _DAY, (now // _DAY + 1) * _DAY))


def _refusal(copy: AdvisoryCopy, now: float, limit: int) -> InconclusiveError | None:
    age = copy.age_days(now)
    if age > limit:
        return InconclusiveError(
            f"the copy of advisories is {int(age)} days old, {limit} are allowed",
            details=[f"{copy.source}: newest record of {_day(copy.modified)}"],
            next_step="fetch a newer copy, or raise security.audit.max_age_days in [tool.deploykit]",
        )
    if age < -1:
        return InconclusiveError(
            f"the copy of advisories is dated {_day(copy.modified)}, which is yet to come",
            next_step="check the clock of this machine and where the copy came from",
        )
    return None


def _describe(copy: AdvisoryCopy | None, now: float, limit: int, service: str) -> str:
    if copy is None:
        return f"advisories: asked online{f' at {service}' if service else ''}"
    raised = "" if limit <= DEFAULT_MAX_AGE_DAYS else f", raised from the default of {DEFAULT_MAX_AGE_DAYS}"
    return (
        f"advisories: offline copy {copy.source} of {_day(copy.modified)}, {max(0, int(copy.age_days(now)))} days old "
        f"(at most {limit} allowed{raised}); {len(copy.by_id)} in force, {copy.withdrawn} withdrawn"
    )


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
