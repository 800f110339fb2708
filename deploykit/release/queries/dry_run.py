"""`--plan`: the same plan and the same strategy as the act, with every action answered by 'done' instead of
performed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from deploykit.model import DeploykitError
from deploykit.release.environment.versions import confirmed_spec, present_sources, reject_without_values
from deploykit.release.execution.plan import make_plan
from deploykit.release.reporting.text import filled, width
from deploykit.release.version.instances import instance_names
from deploykit.release.version.recorded import rollback_target, spec_of
from deploykit.release.workflow.preflight import preflight
from deploykit.rollout import Action, Observation, Plan, Result, begin, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment

__all__ = ["Planned", "plan_release", "plan_rollback", "rehearse"]

_SAID = {
    "start": "start {names} next to what runs",
    "health": "wait until it is healthy at its own address",
    "smoke": "try it at its own address, before any user sees it",
    "trust": "from then on start it again when it ends by itself",
    "edge": "see that the proxy runs",
    "attach": "make {names} known to the proxy, at weight 0",
    "raise": "give the traffic to {names}",
    "lower": "take the traffic from {names}",
    "verify": "judge user requests, or probes",
    "live": "record that the new version is live",
    "drain": "wait until nothing is in flight on {names}",
    "warm": "keep {names} warm for its window",
    "retire": "end what is older than could be gone back to: {names}",
}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What would be done. `problem` is what prevents it, empty where nothing does."""

    title: str
    facts: dict[str, str]
    steps: tuple[str, ...]
    actions: tuple[dict[str, Any], ...]
    problem: str = ""
    problem_details: tuple[str, ...] = ()
    next_step: str = ""
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self, stream: TextIO) -> list[str]:
        def put(text: str, first: str, rest: str = "") -> None:
            lines.extend(filled(text, width(stream), first=first, rest=rest or " " * len(first)))

        lines = filled(self.title, width(stream))
        for name, value in self.facts.items():
            put(value, f"  {name:<10} ")
        lines.append("")
        for number, step in enumerate(self.steps, 1):
            put(step, f"  {number:>2}. ")
        if self.problem:
            lines.append("")
            put(self.problem, "  but: ")
            for detail in self.problem_details:
                indent = " " * (7 + len(detail) - len(detail.lstrip()))
                put(detail.lstrip(), indent, indent + "  ")
        lines.append("")
        put(self.next_step, "  nothing was changed; next: ", "    ")
        return lines


def rehearse(plan: Plan) -> list[Action]:
    """The actions of a rollout in which all goes well."""
    state, actions = begin(plan), []
    while not state.ended and state.pending is not None:
        actions.append(state.pending)
        state, _ = decide(state, Observation(action=state.pending.name, result=Result.DONE))
    return actions


def plan_release(environment: Environment, *, discard_data: bool = False) -> Planned:
    sources = present_sources(environment, make=False)
    spec, problem = sources.spec, None
    try:
        preflight(environment, sources, discard_data=discard_data)
    except DeploykitError as error:
        problem = error
    newest, live = environment.ledger.releases(limit=1), environment.ledger.live()
    number = int(newest[0].id[1:]) + 1 if newest else 1
    plan = make_plan(environment.target, environment.edge, live, instance_names(f"r{number}", spec), judged=True)
    steps = [f"take the lock of {environment.name}, in the ledger and on the target"]
    unfinished = environment.ledger.unfinished()
    if unfinished is not None:
        steps.append(f"settle {unfinished.id} ({unfinished.version}), which has not ended")
    steps += [
        f"build {sources.version} from tree {sources.tree.tree[:12]}"
        + (" (uncommitted changes included)" if sources.tree.dirty else ""),
    ]
    if spec.database.migrations:
        steps.append(f"run the migrations in {spec.database.migrations}, in the new version's own environment")
    return Planned(
        title=f"a release of {environment.app} to {environment.name} would",
        facts={
            "version": sources.version,
            "over": live.version if live is not None else "nothing",
            "command": " ".join(spec.argv),
            "replicas": str(spec.replicas),
            "verified": (
                f"at least {spec.thresholds.requests} requests: errors at most {spec.thresholds.error_rate:.1%}, "
                f"p95 at most {spec.thresholds.p95_ms:g} ms"
            ),
        },
        steps=(*steps, *_sentences(rehearse(plan))),
        actions=tuple(action.as_json() for action in rehearse(plan)),
        problem=problem.message if problem is not None else "",
        problem_details=problem.details if problem is not None else (),
        next_step=(problem.next_step if problem is not None else "") or f"invoke release --env {environment.name}",
        exit_code=problem.exit_code if problem is not None else 0,
    )


def plan_rollback(environment: Environment, to: str) -> Planned:
    unfinished = environment.ledger.unfinished()
    if unfinished is not None and not to:
        return Planned(
            title=(
                f"a rollback in {environment.name} would undo {unfinished.id} ({unfinished.version}), which has not"
                " ended"
            ),
            facts={},
            steps=("give the traffic to the version before, if it is not there already", "end what was started"),
            actions=(),
            next_step=f"invoke rollback --env {environment.name}",
        )
    wanted = rollback_target(environment.ledger, environment.name, to, environment.paths.values)
    live = environment.ledger.live()
    spec = spec_of(environment.ledger, wanted, environment.name)
    plan = make_plan(environment.target, environment.edge, live, instance_names(wanted.id, spec), judged=False)
    actions, problem = rehearse(plan), _cannot_run(environment, wanted)
    return Planned(
        title=f"a rollback of {environment.app} in {environment.name} would",
        facts={
            "from": live.version if live is not None else "nothing",
            "to": f"{wanted.version} ({wanted.id})",
            "warm": "yes: it runs still" if plan.kept else "no: it is started again from its artefact",
        },
        steps=tuple(_sentences(actions)),
        actions=tuple(action.as_json() for action in actions),
        problem=problem.message if problem is not None else "",
        problem_details=problem.details if problem is not None else (),
        next_step=(problem.next_step if problem is not None else "")
        or f"invoke rollback --env {environment.name}" + (f" --to {to}" if to else ""),
        exit_code=problem.exit_code if problem is not None else 0,
    )


def _cannot_run(environment: Environment, record: ReleaseRecord) -> DeploykitError | None:
    """Why that version can't be started again, if it can't: what it needs is not kept any more, or only the ledger says
    how it is run.
    """
    try:
        environment.hosting.load(record.digest)
        confirmed_spec(environment, record)
        if not environment.hosting.shared:
            reject_without_values(environment, record)
    except DeploykitError as error:
        return error
    return None


def _sentences(actions: Sequence[Action]) -> list[str]:
    return [_SAID[action.name].format(names=", ".join(action.instances)) for action in actions]
