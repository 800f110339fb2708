"""Run one gate by name on any tree. Every error becomes a verdict: never a pass, and never a traceback."""

from __future__ import annotations

import difflib
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deploykit.gates.catalog import GATE_NAMES, build_gate, project_needs
from deploykit.gates.combined_verdict import SECURITY_GATES, combine
from deploykit.gates.files import reject_overlooked
from deploykit.gates.inputs import inputs_of, state_of
from deploykit.gates.interface import FORCE_VARIABLE, Gate, GateContext, Toolbox
from deploykit.gates.obeyed import hidden_configuration
from deploykit.gates.project_environment import ProjectNeeds, managed_project_environment
from deploykit.gates.tools import ManagedToolbox
from deploykit.gates.verdict_cache import age, cached_verdict, forget, record_inputs
from deploykit.gates.verdict_files import record_verdict, reject_links, with_what_is_not_written
from deploykit.model import DeploykitError, Evidence, Outcome, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deploykit.settings.models import Settings

    ToolboxMaker = Callable[[Path, Settings, Mapping[str, str]], Toolbox]

__all__ = ["GATE_NAMES", "PROJECT_GATES", "cached_verdicts", "judge", "managed_toolbox", "run_gate"]

PROJECT_GATES = ("typing", "test", "coverage")
"""Gates that run in the project's own environment."""


def publish(root: Path, verdict: Verdict, **how: Any) -> None:
    """`reports.publish`, imported when there is something to publish: the hooks on a few files write no reports."""
    from deploykit.gates.reports import publish as write

    write(root, verdict, **how)


def _to_standard_error(line: str) -> None:
    # GitHub reads both streams, and standard output may be one JSON object.
    sys.stderr.write(f"{line}\n")


def run_gate(  # noqa: C901, PLR0913 - what surrounds a gate, all by keyword
    name: str,
    root: Path,
    *,
    tree: str | Callable[[], str] = "",
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    base: str = "",
    force: bool = False,
    make_toolbox: ToolboxMaker | None = None,
    build: Callable[[Settings], Gate] | None = None,
    record: Callable[[Verdict], object] | None = None,
    on_line: Callable[[str], None] = lambda _line: None,
    annotate: Callable[[str], None] = _to_standard_error,
) -> Verdict:
    """Run the gate `name` (or `security`, which is three) on the tree at `root`.

    `tree` is, or gives, the tree's hash, uncommitted changes included, and is empty outside git; a function is called
    when the environments are made, since making one may add files to the tree. `record` receives the verdict of a whole
    run; by default the verdict is written under `.deploykit/verdicts`. `arguments` narrow the run; a narrowed run is
    not evidence, so it is not recorded. `base` is the revision that changes are counted from. Reports for machines are
    written under `.deploykit/reports` first; annotations go to `annotate`. `build` makes a gate of another name from
    the settings, such as a second test gate.

    A pass on the same inputs (`inputs_of`) comes from the cache, with its evidence and a note of its age. Nothing is
    made or run then, unless `force` or the variable DEPLOYKIT_FORCE is set. Raises UsageError for an unknown name, and
    for a path that is not a folder.
    """
    root = root.absolute()
    if build is None:
        _check(name, root)
    hash_of_tree: Callable[[], str] = tree if callable(tree) else lambda: tree
    environment = dict(os.environ if environment is None else environment)
    keep: Callable[[Verdict], object] = record or (lambda verdict: record_verdict(root, verdict))
    if name == "security":
        verdicts = [
            run_gate(
                part,
                root,
                tree=tree,
                environment=environment,
                base=base,
                force=force,
                make_toolbox=make_toolbox,
                record=keep,
                on_line=on_line,
                annotate=annotate,
            )
            for part in SECURITY_GATES
        ]
        combined = combine("security", verdicts, tree=hash_of_tree())
        return with_what_is_not_written(
            combined,
            lambda verdict: publish(root, verdict, environment=environment, say=annotate, annotate=False),
            keep,
        )

    if force:
        environment = {**environment, FORCE_VARIABLE: "1"}  # a gate's own cache must not answer either
    force = bool(environment.get(FORCE_VARIABLE)) or bool(arguments)
    cached: list[Verdict] = []
    inputs_seen: list[str] = []

    def run() -> Verdict:
        from deploykit.settings.loader import load

        reject_links(root)
        settings = load(root, environ=environment).settings
        gate = build(settings) if build is not None else build_gate(name, settings, root)

        def inputs(present: str) -> str:
            state = state_of(root, tree=present, environment=environment)
            return inputs_of(gate, root, settings, state=state, environment=environment, base=base)

        if not force and (
            found := cached_verdict(root, name, inputs(hash_of_tree()), environment=environment, now=time.time())
        ):
            verdict, seconds = found
            cached.append(verdict)
            return _from_cache(verdict, seconds)
        toolbox = (make_toolbox or managed_toolbox)(root, settings, environment)
        if name in PROJECT_GATES or build is not None:
            toolbox.python()
        context = GateContext(
            root=root,
            toolbox=toolbox,
            environment=environment,
            clock=time.time,
            tree=hash_of_tree(),
            arguments=tuple(arguments),
            base=base,
            on_line=on_line,
        )
        if arguments:
            return replace(gate.run(context), tree=context.tree)
        if context.tree:
            reject_overlooked(root)
        forget(root, name)
        before = inputs(context.tree)
        verdict = replace(gate.run(context), tree=context.tree)
        if context.tree:
            notes = (*verdict.evidence.notes, *hidden_configuration(root))
            verdict = replace(verdict, evidence=replace(verdict.evidence, notes=notes))
        # If somebody edits the tree while the gate runs, the verdict belongs to no inputs.
        if inputs(hash_of_tree()) == before:
            inputs_seen.append(before)
        return verdict

    def report(verdict: Verdict) -> None:
        publish(root, verdict, environment=environment, say=annotate)

    verdict = judge(name, run, tree=hash_of_tree)
    if cached:
        verdict = replace(verdict, evidence=replace(verdict.evidence, seconds=cached[0].evidence.seconds))
        verdict = with_what_is_not_written(verdict, lambda _verdict: keep(cached[0]), report)
    elif not arguments:
        kept = with_what_is_not_written(verdict, report, keep)
        record_inputs(root, verdict, inputs_seen[0] if inputs_seen else "", environment=environment, now=time.time())
        return kept
    return verdict


def cached_verdicts(
    names: Sequence[str], root: Path, *, tree: str, environment: Mapping[str, str] | None = None
) -> dict[str, Verdict]:
    """The passes among the gates `names` that need not run again, by name. Nothing is made, run or written.

    `coverage` is only cached together with `test`, which measures its data.
    """
    from deploykit.settings.loader import load

    root = root.absolute()
    environment = dict(os.environ if environment is None else environment)
    found: dict[str, Verdict] = {}
    if not tree or environment.get(FORCE_VARIABLE):
        return found
    try:
        settings = load(root, environ=environment).settings
    except DeploykitError:
        return found  # each gate says so itself
    state = state_of(root, tree=tree, environment=environment)
    for name in names:
        inputs = inputs_of(build_gate(name, settings, root), root, settings, state=state, environment=environment)
        if hit := cached_verdict(root, name, inputs, environment=environment, now=time.time()):
            found[name] = _from_cache(*hit)
    if "test" not in found:
        found.pop("coverage", None)
    return found


def _from_cache(verdict: Verdict, seconds: float) -> Verdict:
    note = f"not run again: nothing changed since it passed {age(seconds)} ago"
    return replace(verdict, evidence=replace(verdict.evidence, notes=(note, *verdict.evidence.notes)))


def _check(name: str, root: Path) -> None:
    names = (*GATE_NAMES, "security")
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        raise UsageError(
            f"there is no gate {name!r}" + (f", did you mean {close[0]!r}?" if close else ""),
            details=[f"gates: {', '.join(names)}"],
            next_step=f"invoke gate {close[0] if close else names[0]}",
        )
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}", next_step="check --path")


def managed_toolbox(root: Path, settings: Settings, environment: Mapping[str, str]) -> ManagedToolbox:
    """Tools and project environments from the user's cache."""
    needs = project_needs(settings)
    application = ProjectNeeds(locks=tuple(filter(None, [settings.service.requirements])))
    return ManagedToolbox(
        environment=environment,
        make_project=lambda: managed_project_environment(root, needs, environment=environment),
        make_application=lambda: managed_project_environment(root, application, environment=environment, families=()),
    )


def judge(name: str, run: Callable[[], Verdict], *, tree: Callable[[], str]) -> Verdict:
    """The verdict of `run`, timed. An error becomes a verdict too, bound to the tree as it is now."""
    started = time.monotonic()
    try:
        verdict = run()
    except DeploykitError as error:
        outcome = Outcome.USAGE if isinstance(error, UsageError) else Outcome.INCONCLUSIVE
        verdict = _unjudged(name, outcome, error.message, error.details, error.next_step, tree())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # An unexpected answer of a tool, or a file that disappeared: not a pass, and not a crash.
        reason = f"the gate could not make sense of what it saw: {type(error).__name__}: {error}"
        verdict = _unjudged(name, Outcome.INCONCLUSIVE, reason, (), f"run it again: invoke gate {name}", tree())
    return replace(verdict, evidence=replace(verdict.evidence, seconds=round(time.monotonic() - started, 3)))


def _unjudged(name: str, outcome: Outcome, reason: str, details: Sequence[str], next_step: str, tree: str) -> Verdict:
    return Verdict(
        gate=name,
        outcome=outcome,
        evidence=Evidence(
            looked_at=0, unit="files", tool="", tool_version="", notes=tuple(f"| {line}" for line in details)
        ),
        reason=reason,
        next_step=next_step,
        tree=tree,
    )
