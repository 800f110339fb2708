"""`--plan`: the same plan and the same steps as the act, told instead of performed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from deploykit.model import DeploykitError
from deploykit.release.environment.versions import confirmed_spec, present_sources, reject_without_values
from deploykit.release.execution.plan import make_plan
from deploykit.release.reporting.text import filled, width
from deploykit.release.version.instances import instance_names
from deploykit.release.version.recorded import rollback_target, spec_of
from deploykit.release.workflow.method import rollback_method
from deploykit.release.workflow.preflight import preflight
from deploykit.rollout import Action, Kind, Plan, begin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment

__all__ = ["Planned", "plan_release", "plan_rollback", "rehearse", "sentences"]

_SAID = {
    Kind.START: "start {names} next to what runs",
    Kind.HEALTH: "wait until it is healthy at its own address",
    Kind.SMOKE: "try it at its own address, before any user sees it",
    Kind.TRUST: "from then on start it again when it ends by itself",
    Kind.EDGE: "see that the proxy runs",
    Kind.ATTACH: "make {names} known to the proxy, at weight 0",
    Kind.RAISE: "give {names} the traffic",
    Kind.LOWER: "take the traffic from {names}",
    Kind.VERIFY: "judge user requests, or probes",
    Kind.LIVE: "record that the new version is live",
    Kind.DRAIN: "wait until nothing is in flight on {names}",
    Kind.WARM: "keep {names} warm for its window",
    Kind.RETIRE: "end what is older than could be gone back to: {names}",
    Kind.DETACH: "have the proxy forget {names}",
    Kind.STOP: "stop {names}",
    Kind.ROUTES: "send testers, and users who are kept on one version, to their version",
    Kind.UNLEASE: "end the lease",
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


def rehearse(plan: Plan) -> tuple[Action, ...]:
    """The actions of a rollout in which all goes well."""
    return begin(plan).steps


def plan_release(environment: Environment, *, discard_data: bool = False) -> Planned:
    sources = present_sources(environment, make=False)
    spec, problem = sources.spec, None
    try:
        preflight(environment, sources, discard_data=discard_data)
    except DeploykitError as error:
        problem = error
    newest, live = environment.ledger.releases(limit=1), environment.ledger.live()
    number = int(newest[0].id[1:]) + 1 if newest else 1
    plan = make_plan(environment.target, environment.edge, live, instance_names(f"r{number}", spec), spec, judged=True)
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
        steps=(*steps, *sentences(rehearse(plan))),
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
    plan = make_plan(environment.target, environment.edge, live, instance_names(wanted.id, spec), spec, judged=False)
    actions, problem = rehearse(plan), _cannot_run(environment, wanted)
    return Planned(
        title=f"a rollback of {environment.app} in {environment.name} would",
        facts={
            "from": live.version if live is not None else "nothing",
            "to": f"{wanted.version} ({wanted.id})",
            "method": str(rollback_method(environment, wanted, spec)),
        },
        steps=tuple(sentences(actions)),
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


def sentences(actions: Sequence[Action]) -> list[str]:
    """One sentence for each step."""
    return [_sentence(action) for action in actions]


def _sentence(action: Action) -> str:
    given, names = action.parameters, ", ".join(action.instances)
    if action.kind is Kind.MAINTENANCE:
        return "show users the maintenance page" if given["on"] else "let users in again"
    if action.kind is Kind.ROUTES and not given["routes"]:
        return "send everybody by the weights alone"
    if action.kind is Kind.LEASE:
        return f"from then on give {names} the traffic back if this release does not answer for {given['seconds']:g} s"
    if action.kind in {Kind.RAISE, Kind.LOWER} and any(weight not in {0, 100} for weight in given["weights"].values()):
        weights = ", ".join(f"{name} {weight}" for name, weight in given["weights"].items())
        return f"share the traffic by these weights: {weights}"
    if action.kind is Kind.VERIFY and given["stages"] > 1:
        at = f"judge it at {given['share']:g} % of the traffic for {given['bake']:g} s"
        return f"{at}, then wait for: invoke rollout.continue" if given["confirm"] else at
    return _SAID[action.kind].format(names=names)
