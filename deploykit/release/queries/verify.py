"""`invoke verify`: judge what is live now, without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from deploykit.model import DeploykitError
from deploykit.release.environment.trust import verify_ledger
from deploykit.release.environment.versions import confirmed_spec, live_record
from deploykit.release.execution.checks import Checks
from deploykit.release.execution.verification import judge_live
from deploykit.release.reporting.text import filled, times, width
from deploykit.release.version.instances import WEB
from deploykit.release.version.values import read_values, secrets_in
from deploykit.rollout.judge import Decision
from deploykit.targets.interface import Instance, InstanceState

if TYPE_CHECKING:
    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.version.spec import ReleaseSpec

__all__ = ["Verified", "verify_live"]

_PATIENCE = 5.0
_LOOK_BACK = 60.0
"""Seconds of users' requests that are judged."""
_EXIT_CODES = {Decision.PROMOTE: 0, Decision.ABORT: 1, Decision.UNDECIDED: 2}
_OUTCOMES = {0: "passed", 1: "failed", 2: "inconclusive"}


@dataclass(frozen=True, kw_only=True)
class Verified:
    environment: str
    version: str
    checks: tuple[tuple[str, bool, str], ...]
    judgement: dict[str, Any]
    exit_code: int

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": _OUTCOMES[self.exit_code],
            "environment": self.environment,
            "version": self.version,
            "checks": [{"name": name, "passed": good, "message": text} for name, good, text in self.checks],
            "judgement": self.judgement,
        }

    def lines(self, stream: TextIO) -> list[str]:
        lines = [f"{self.version} in {self.environment}"]
        for name, good, text in self.checks:
            line = f"{'passed' if good else 'FAILED'}  {name}  {text}".rstrip()
            lines += filled(line, width(stream), first="  ", rest=" " * 10)
        if self.exit_code:
            lines.append(f"  next: invoke rollback --env {self.environment}")
        return lines


def verify_live(environment: Environment) -> Verified:
    """Health and smoke checks of every live instance; then what users got in the last minute, against the thresholds.
    Where they sent too few requests, probes through the edge make up for it.

    Raises UsageError when nothing is live, DeploykitError where the ledger does not hold.
    """
    verify_ledger(environment)
    live = live_record(environment)
    spec = confirmed_spec(environment, live)
    # It was healthy when it was released: what is not so now need not be waited for as at a start.
    spec = replace(spec, start_timeout=min(spec.start_timeout, _PATIENCE))
    values = read_values(environment.paths.values, live.id)
    checks = Checks(
        target=environment.target,
        secrets=secrets_in(values),
        folder=environment.root,
        variable=environment.variable,
    )
    checked: list[tuple[str, bool, str]] = []
    instances = [item for item in environment.target.instances() if item.labels.release == live.id]
    checked.append(("edge", environment.edge.running(), environment.edge.url()))
    if not instances:
        checked.append(("instances", False, f"none of {live.id} runs"))
    for instance in instances:
        checked += _check_instance(checks, instance, live, spec)
    judgement: dict[str, Any] = {}
    code = 0 if all(good for _, good, _ in checked) else 1
    if environment.edge.running():
        since = environment.edge.mark(seconds_ago=_LOOK_BACK)
        verdict, causes = judge_live(environment.edge, live.id, spec, since=since, redact=checks.redact)
        judgement = {**verdict.as_json(), "causes": list(causes)}
        sentence = verdict.reason if verdict.decision is not Decision.UNDECIDED else verdict.sentence
        checked.append(("requests", verdict.decision is Decision.PROMOTE, "; ".join([sentence, *causes])))
        code = code or _EXIT_CODES[verdict.decision]
    return Verified(
        environment=environment.name, version=live.version, checks=tuple(checked), judgement=judgement, exit_code=code
    )


def _check_instance(
    checks: Checks, instance: Instance, live: ReleaseRecord, spec: ReleaseSpec
) -> list[tuple[str, bool, str]]:
    """What is looked at, whether it is good, and a sentence where it is not."""
    if instance.state is InstanceState.EXITED:
        return [(instance.name, False, f"ended, exit code {instance.exit_code}")]
    if live.digest and instance.labels.digest != live.digest:
        sentence = f"runs version {instance.labels.version}, and the ledger has {live.version} as {live.id}"
        return [(instance.name, False, sentence)]
    checked: list[tuple[str, bool, str]] = []
    if instance.restarts:
        sentence = f"ended by itself {times(instance.restarts)} since it was started"
        checked.append((f"{instance.name} restarts", False, sentence))
    try:
        checks.healthy(instance, spec, live.version)
        checked.append((f"{instance.name} health", True, ""))
        if instance.process == WEB:
            checks.smoke(instance, spec)
            checked.append((f"{instance.name} smoke", True, ""))
    except DeploykitError as error:
        failed = "smoke" if checked and checked[-1][0].endswith("health") else "health"
        checked.append((f"{instance.name} {failed}", False, "; ".join([error.message, *error.details])))
    return checked
