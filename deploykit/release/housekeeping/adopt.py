"""`invoke ledger.adopt`: restore a lost ledger from what runs.

A ledger can be lost with a disk, or be a file on another machine. The labels of the instances have the release, its
version and image, and how it is run; the edge knows who has the traffic. What neither knows (who released it, from
which commit, what was before) is not made up.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploykit.ledger.check import ADOPT
from deploykit.ledger.interface import WARM, StepState
from deploykit.model import DeploykitError, ReleaseOutcome, UsageError
from deploykit.release.environment.lock import TargetLocked, environment_lock
from deploykit.release.environment.owner import actor
from deploykit.release.environment.running import Running, running_releases
from deploykit.release.environment.trust import ledger_problems, remember_head
from deploykit.release.housekeeping.claims import claim, restore_claims
from deploykit.release.version.released import read_released
from deploykit.release.version.spec import ReleaseSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.release.environment import Environment

__all__ = ["Adopted", "adopt", "adopt_lines", "adopt_now"]


_PROBLEMS = 20
"""So many of what did not hold are written into the new ledger."""


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What was taken into the ledger: the live release, the others that run, and what had to be assumed.

    `live` and `version` are empty where nothing runs.
    """

    live: str
    version: str
    others: tuple[str, ...]
    assumed: tuple[str, ...]
    restarted_at_entry: int = 0
    """The entry of the ledger from which on it counts, where it did not hold before; else 0."""

    def as_json(self) -> dict[str, Any]:
        return {"outcome": "done", **asdict(self)}


def adopt_now(environment: Environment, *, replace: bool = False) -> Adopted:
    """Restore the ledger, under the environment's lock. Nothing that runs is touched. Raises as `adopt` does.

    `replace`: one that does not hold starts again first. Raises UsageError where it holds.
    """
    restarted_at_entry = _restart(environment) if replace else 0
    with environment_lock(environment.ledger, environment.target, "ledger.adopt") as held:
        if restarted_at_entry and not running_releases(environment):
            adopted = Adopted(live="", version="", others=(), assumed=(), restarted_at_entry=restarted_at_entry)
        else:
            adopted = dataclasses.replace(adopt(environment, token=held.token), restarted_at_entry=restarted_at_entry)
        remember_head(environment)
        return adopted


def _restart(environment: Environment) -> int:
    name = environment.name
    if not (problems := ledger_problems(environment)):
        raise UsageError(
            f"the ledger of {name} holds, so it is not replaced", next_step=f"invoke history --env {name} --check"
        )
    if (holder := environment.target.lock_holder()) is not None:
        raise TargetLocked(holder)  # the ledger's own lock is a part of what does not hold
    return environment.ledger.restart(actor(), problems[:_PROBLEMS])


def adopt(environment: Environment, *, token: int) -> Adopted:
    """Take what runs into an empty ledger. Call it with the environment's lock held.

    Raises UsageError when nothing runs or the ledger is not empty, DeploykitError when it is not clear who has the
    traffic.
    """
    name = environment.name
    if environment.ledger.releases(limit=1):
        raise UsageError(
            f"the ledger of {name} is not lost: it has releases",
            next_step=f"invoke history --env {name} --check   (compares it with what runs)",
        )
    found = running_releases(environment)
    if not found:
        raise UsageError(
            f"nothing of {environment.app} runs in {name}, so there is nothing to take into the ledger",
            next_step=f"invoke release --env {name}",
        )
    live = _with_the_traffic(environment, found)
    assumed: list[str] = []
    specs = {running.labels.release: _spec(environment, running, assumed) for running in found}
    others = [running for running in found if running is not live]
    for running in (*others, live):
        _record(
            environment, running, specs[running.labels.release], previous=_before(live, others, running), token=token
        )
    environment.ledger.set_live(live.labels.release)
    if environment.repository is not None:
        claim(environment)
    else:
        restore_claims(environment)
    for running in others:
        due = time.time() + specs[running.labels.release].warm_for
        environment.ledger.add_timer(WARM, running.labels.release, due, {"instances": list(running.instances)})
    return Adopted(
        live=live.labels.release,
        version=live.labels.version,
        others=tuple(running.labels.release for running in others),
        assumed=tuple(assumed),
    )


def adopt_lines(adopted: Adopted, environment: str) -> list[str]:
    restarted = [f"the ledger counts from entry {adopted.restarted_at_entry} on; those before are kept"]
    restarted = restarted if adopted.restarted_at_entry else []
    if not adopted.live:
        return [*restarted, f"nothing runs in {environment}, so nothing was taken into it"]
    others = f"; also running: {', '.join(adopted.others)}" if adopted.others else ""
    return [
        *restarted,
        (
            f"the ledger is restored from what runs in {environment}: {adopted.version} ({adopted.live}) has the"
            f" traffic{others}"
        ),
        *(f"assumed: {sentence}" for sentence in adopted.assumed),
        "not proven: labels say so, and whoever reaches the target can write them; the next release is proven again",
    ]


def _with_the_traffic(environment: Environment, found: Sequence[Running]) -> Running:
    if len(found) == 1:
        return found[0]
    weighted = [running for running in found if running.weight > 0]
    if len(weighted) == 1:
        return weighted[0]
    seen = [f"{each.labels.release} ({each.labels.version}): weight {each.weight}" for each in found]
    if not weighted:
        raise DeploykitError(
            f"{len(found)} releases run in {environment.name}, and the edge sends users to none of them",
            details=seen,
            next_step=(
                f"stop those that are not wanted (docker stop NAME), then: invoke ledger.adopt --env {environment.name}"
            ),
        )
    raise DeploykitError(
        f"the traffic of {environment.name} is shared by {len(weighted)} releases: a rollout was under way when the"
        " ledger was lost",
        details=seen,
        next_step=(
            f"stop the one that is not wanted (docker stop NAME), then: invoke ledger.adopt --env {environment.name}"
        ),
    )


def _before(live: Running, others: Sequence[Running], running: Running) -> str:
    """The newest of those that are kept warm is what was live before, as far as can be known."""
    return others[-1].labels.release if running is live and others else ""


def _record(environment: Environment, running: Running, spec: ReleaseSpec, *, previous: str, token: int) -> None:
    ledger, labels = environment.ledger, running.labels
    record = ledger.begin(
        version=labels.version,
        digest=labels.digest,
        commit="",
        tree="",
        actor=actor(),
        kind="release",
        previous=previous,
        token=token,
        release=labels.release,
    )
    what = {"anchor": labels.anchor, "instances": list(running.instances), "started_at": running.started_at}
    for name, action in ((ADOPT, what), ("plan", spec.as_json())):
        step = ledger.intend(record.id, name, action, token=token)
        ledger.result(step, StepState.DONE, {})
    ledger.finish(record.id, ReleaseOutcome.DONE, "restored from what runs; who released it is not known")


def _spec(environment: Environment, running: Running, assumed: list[str]) -> ReleaseSpec:
    """How it is run: by what this machine keeps of it, else by its label."""
    made_here = read_released(environment.paths.released, running.labels.release)
    if made_here is not None and made_here.digest == running.labels.digest:
        return made_here.spec
    return running.spec or _present_spec(environment, running, assumed)


def _present_spec(environment: Environment, running: Running, assumed: list[str]) -> ReleaseSpec:
    """How it would be run by today's settings, where it does not say itself how it is run."""
    release = running.labels.release
    repository = environment.repository
    if repository is None:
        raise DeploykitError(
            f"{release} ({running.labels.version}) does not say how it is run, and there are no settings here",
            next_step=f"type it in the repository: invoke ledger.adopt --env {environment.name}",
        )
    command = repository.command
    if not command and not environment.hosting.shared:
        command = repository.require_command()
    assumed.append(f"{release} is run as the settings here say now")
    return ReleaseSpec.from_settings(repository.settings, environment.name, environment.hosting.argv(command))
