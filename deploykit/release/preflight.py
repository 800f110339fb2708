"""What an environment wants of a release before anything is changed. Every problem is found before any is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deploykit.artifacts.version import uncommitted, untagged
from deploykit.model import DeploykitError, InconclusiveError, Outcome, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.release.build import Sources
    from deploykit.release.surroundings import Surroundings

__all__ = ["AFTER_BUILD", "preflight"]

# These look at the migrations in the new version's own environment, so they come once it is built.
AFTER_BUILD = frozenset({"migration-heads", "migration-safety"})


def preflight(around: Surroundings, sources: Sources) -> str:
    """Check what the environment's settings name; returns what was checked, in a few words.

    Raises one error with every problem: UsageError, or InconclusiveError when all that is missing is evidence.
    """
    environment = around.environment
    if environment is None:
        raise AssertionError("a preflight needs a repository")
    checks: dict[str, Callable[[Surroundings, Sources], list[Problem]]] = {
        "clean-tree": _clean_tree,
        "version-tag": _version_tag,
        "branch": _branch,
        "evidence": _evidence,
        "target": _target,
    }
    wanted = [name for name in environment.preflight if name not in AFTER_BUILD]
    problems: list[Problem] = []
    if environment.target != "process" and "clean-tree" not in wanted:
        wanted.insert(0, "clean-tree")
    for name in wanted:
        # Settings and variables were read with the sources; what was wrong with them has been told already.
        problems += checks[name](around, sources) if name in checks else []
    if not problems:
        return f"{', '.join(wanted) or 'nothing wanted'}"
    kind: type[DeploykitError] = (
        InconclusiveError if all(problem.kind is InconclusiveError for problem in problems) else UsageError
    )
    if len(problems) == 1:
        raise kind(problems[0].message, next_step=problems[0].next_step)
    raise kind(
        f"{len(problems)} things stand in the way of a release to {around.name}; nothing was changed",
        details=[line for problem in problems for line in (problem.message, f"  -> {problem.next_step}")],
        next_step=problems[0].next_step,
    )


def _clean_tree(_around: Surroundings, sources: Sources) -> list[Problem]:
    reason = uncommitted(sources.tree)
    return [] if reason is None else [Problem(message=reason, next_step='git add -A && git commit -m "…"')]


def _version_tag(_around: Surroundings, sources: Sources) -> list[Problem]:
    reason = None if sources.tree.dirty else untagged(sources.tree)
    return [] if reason is None else [Problem(message=reason, next_step=f"git tag v{_next_version(sources.version)}")]


def _next_version(version: str) -> str:
    """What a tag on this commit would name: `1.0.1` for `1.0.1.dev2+g1234567`."""
    from packaging.version import Version

    base = Version(version).base_version
    return "0.1.0" if base == "0.0.1" else base


def _branch(around: Surroundings, sources: Sources) -> list[Problem]:
    wanted = around.environment.branch if around.environment is not None else ""
    if not wanted or sources.tree.branch == wanted:
        return []
    there = f"on branch {sources.tree.branch}" if sources.tree.branch else "at a detached HEAD"
    return [
        Problem(
            message=f"{around.name} is released from branch {wanted}, and this tree is {there}",
            next_step=f"git switch {wanted}",
        )
    ]


def _evidence(around: Surroundings, sources: Sources) -> list[Problem]:
    """Every gate that is wanted must have passed on this very tree; the newest verdict counts."""
    from deploykit.gates.verdict_files import read_verdict

    environment, problems = around.environment, []
    for gate in environment.evidence if environment is not None else ():
        verdict = around.ledger.evidence(gate, sources.tree.tree)
        found = read_verdict(around.root, gate)
        if found is not None and found.tree == sources.tree.tree and found != verdict:
            around.ledger.add_evidence(found)
            verdict = found
        if verdict is None:
            message = f"there is no evidence that gate {gate} passed on this very tree ({sources.tree.tree[:12]})"
        elif verdict.outcome is not Outcome.PASSED:
            message = f"gate {gate} did not pass on this tree: {verdict.outcome.value}"
        else:
            continue
        problems.append(Problem(message=message, next_step=f"nox -s {gate}", kind=InconclusiveError))
    return problems


def _target(around: Surroundings, sources: Sources) -> list[Problem]:
    problems = [*_shared_place(around, sources), *around.target.preflight(), *around.place.preflight()]
    if around.environment is not None and around.loaded is not None:
        if sources.spec.database.kind == "embedded" and not around.place.shared:
            problems += around.database.preflight()
        problems += around.edge.preflight()
    return problems


def _shared_place(around: Surroundings, sources: Sources) -> list[Problem]:
    """What a place that others can reach wants: a database its containers can reach, and a record that outlives CI."""
    place, environment, loaded = around.place, around.environment, around.loaded
    if not place.shared or environment is None or loaded is None:
        return []
    problems = []
    if sources.spec.database.kind == "embedded":
        problems.append(
            Problem(
                message=f"the database is embedded, which the containers of {around.name} can't reach",
                next_step=f'set database = "env:DATABASE_URL" under [tool.deploykit.environments.{around.name}]',
            )
        )
    if os.environ.get("CI") and not environment.ledger:
        problems.append(
            Problem(
                message=f"the record of {around.name} would be in a file of this CI machine, and gone with it",
                next_step=f'set ledger = "env:DEPLOYKIT_LEDGER" under [tool.deploykit.environments.{around.name}], '
                "and give CI that variable: postgresql://…",
            )
        )
    return problems
