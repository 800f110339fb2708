"""What an environment requires of a release before anything is changed. All problems are reported at once."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING

from deploykit.artifacts.git import files_of, judged_tree
from deploykit.artifacts.version import uncommitted, untagged
from deploykit.model import DeploykitError, InconclusiveError, Outcome, Problem, UsageError, Verdict
from deploykit.release.environment.tree_data import persistent_problems, written_problems
from deploykit.settings.other_migrations import is_decided, other_migrations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploykit.release.environment import Environment
    from deploykit.release.version.sources import Sources

__all__ = ["AFTER_BUILD", "preflight"]

# These look at the migrations in the new version's own environment, so they come once it is built.
AFTER_BUILD = frozenset({"migration-heads", "migration-safety"})
_NAMED_FILES = 5


def preflight(environment: Environment, sources: Sources, *, discard_data: bool = False) -> str:
    """Check what the environment's settings name; returns what was checked, in a few words. `discard_data`: what the
    live version wrote into its tree may be lost.

    Raises one error with every problem: UsageError, or InconclusiveError when all that is missing is evidence.
    """
    settings = environment.require_repository().environment
    checks: dict[str, Callable[[Environment, Sources], list[Problem]]] = {
        "clean-tree": _clean_tree,
        "version-tag": _version_tag,
        "branch": _branch,
        "evidence": _evidence,
        "variables": _smoke_variables,
        "target": _target,
    }
    wanted = [name for name in settings.preflight if name not in AFTER_BUILD]
    problems: list[Problem] = []
    if settings.target != "process" and "clean-tree" not in wanted:
        wanted.insert(0, "clean-tree")
    for name in wanted:
        # Settings and the app's variables were read with the sources, which has raised what was wrong with them.
        problems += checks[name](environment, sources) if name in checks else []
    problems += _other_migrations(environment, sources)
    problems += persistent_problems(sources)
    if not discard_data:
        problems += written_problems(environment, sources)
    if not problems:
        return f"{', '.join(wanted) or 'nothing wanted'}"
    kind: type[DeploykitError] = (
        InconclusiveError if all(problem.kind is InconclusiveError for problem in problems) else UsageError
    )
    if len(problems) == 1:
        raise kind(problems[0].message, next_step=problems[0].next_step)
    raise kind(
        f"{len(problems)} things are missing for a release to {environment.name}; nothing was changed",
        details=[line for problem in problems for line in (problem.message, f"  -> {problem.next_step}")],
        next_step=problems[0].next_step,
    )


def _clean_tree(_environment: Environment, sources: Sources) -> list[Problem]:
    reason = uncommitted(sources.tree)
    if reason is None:
        return []
    changed = sources.tree.changed
    files = "FILES" if len(changed) > _NAMED_FILES else " ".join(map(shlex.quote, changed))
    return [Problem(message=reason, next_step=f'git add {files} && git commit -m "…"')]


def _version_tag(_environment: Environment, sources: Sources) -> list[Problem]:
    reason = None if sources.tree.dirty else untagged(sources.tree)
    return [] if reason is None else [Problem(message=reason, next_step=f"git tag v{_next_version(sources.version)}")]


def _next_version(version: str) -> str:
    """What a tag on this commit would name: `1.0.1` for `1.0.1.dev2+g1234567`."""
    from packaging.version import Version

    base = Version(version).base_version
    return "0.1.0" if base == "0.0.1" else base


def _branch(environment: Environment, sources: Sources) -> list[Problem]:
    wanted = environment.require_repository().environment.branch
    if not wanted or sources.tree.branch == wanted:
        return []
    there = f"on branch {sources.tree.branch}" if sources.tree.branch else "at a detached HEAD"
    return [
        Problem(
            message=f"{environment.name} is released from branch {wanted}, and this tree is {there}",
            next_step=f"git switch {shlex.quote(wanted)}",
        )
    ]


def _evidence(environment: Environment, sources: Sources) -> list[Problem]:
    """Every gate that is wanted must have passed on exactly this tree; the newest sealed verdict counts."""
    from deploykit.gates.verdict_files import reject_foreign_evidence

    wanted = environment.require_repository().environment.evidence
    if not wanted:
        return []
    try:
        reject_foreign_evidence(environment.root)
    except UsageError as error:
        return [Problem(message=error.message, next_step=error.next_step)]
    problems: list[Problem] = []
    judged = judged_tree(sources.tree)
    for gate in wanted:
        verdict = _newest_verdict(environment, gate, judged)
        if verdict is None:
            message = f"there is no evidence that gate {gate} passed on exactly this tree ({judged[:12]})"
        elif verdict.outcome is not Outcome.PASSED:
            message = f"gate {gate} did not pass on this tree: {verdict.outcome.value}"
        else:
            continue
        problems.append(Problem(message=message, next_step=f"nox -s {gate}", kind=InconclusiveError))
    return problems


def _newest_verdict(environment: Environment, gate: str, tree: str) -> Verdict | None:
    """Of the tree's work folder or of the ledger, which then has it. What this machine has not sealed is nothing."""
    from deploykit.gates.verdict_files import read_recorded, sealed_verdict

    in_ledger = environment.ledger.evidence(gate, tree)
    known = sealed_verdict(in_ledger, gate)
    if known is not None and known.tree != tree:
        known = None
    recorded = read_recorded(environment.root, gate)
    if recorded is None or recorded[0].tree != tree:
        return known
    verdict, content = recorded
    if known is not None and in_ledger is not None and content["recorded_at"] <= in_ledger["recorded_at"]:
        return known
    environment.ledger.add_evidence(content)
    return verdict


def _smoke_variables(environment: Environment, sources: Sources) -> list[Problem]:
    """What the smoke checks need that is not the application's: variables of requests, and programs."""
    from deploykit.verify.smoke import command_environment, variables_in

    smoke = sources.spec.smoke
    problems = [
        Problem(
            message=f"a smoke check names the variable {name}, which has no value",
            next_step=f"put {name}=… into .env.{environment.name}, or export it",
        )
        for name in sorted(variables_in(smoke))
        if name not in environment.require_repository().environment.generate and not environment.variable(name)
    ]
    programs = sorted({check.command[0] for check in smoke if check.command})
    path = command_environment()["PATH"] if programs else ""
    problems += [
        Problem(
            message=f"a smoke check runs {program}, and there is no such program",
            next_step=f"install it, then run: invoke release --env {environment.name}",
        )
        for program in programs
        if not _is_program(program, environment.root, path)
    ]
    return problems


def _is_program(name: str, folder: Path, path: str) -> bool:
    return shutil.which(folder / name if "/" in name else name, path=path) is not None


def _target(environment: Environment, sources: Sources) -> list[Problem]:
    problems = [
        *_shared_target(environment, sources),
        *environment.target.preflight(),
        *environment.hosting.preflight(),
    ]
    if sources.spec.database.kind == "embedded" and not environment.hosting.shared:
        problems += environment.database.preflight()
    return [*problems, *environment.edge.preflight()]


def _other_migrations(environment: Environment, sources: Sources) -> list[Problem]:
    """Migrations that the kit does not run, and that nobody has said it need not."""
    repository = environment.require_repository()
    if is_decided(repository.settings) or repository.environment.database == "none":
        return []
    found = other_migrations(environment.root, files_of(sources.tree.root))
    return [] if found is None else [Problem(message=found.message, next_step=found.next_step)]


def _shared_target(environment: Environment, sources: Sources) -> list[Problem]:
    """What a target that others reach needs: a database that its containers can reach, and a ledger that outlives
    CI.
    """
    if not environment.hosting.shared:
        return []
    problems = []
    if sources.spec.database.kind == "embedded":
        problems.append(
            Problem(
                message=f"the database is embedded, which the containers of {environment.name} can't reach",
                next_step=f'set database = "env:DATABASE_URL" under [tool.deploykit.environments.{environment.name}]',
            )
        )
    if os.environ.get("CI") and not environment.require_repository().environment.ledger:
        problems.append(
            Problem(
                message=f"the ledger of {environment.name} would be in a file of this CI machine, and gone with it",
                next_step=(
                    f'set ledger = "env:DEPLOYKIT_LEDGER" under [tool.deploykit.environments.{environment.name}], '
                    "and give CI that variable: postgresql://…"
                ),
            )
        )
    return problems
