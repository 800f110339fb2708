"""`invoke ci`: the gates run in parallel, each in its own process; cached passes are only shown."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TextIO

from deploykit.artifacts.git import tree_of
from deploykit.gates.affected import affected_gates
from deploykit.gates.combined_verdict import SECURITY_GATES, combine
from deploykit.gates.files import list_files
from deploykit.gates.image import dockerfiles
from deploykit.gates.interface import FORCE_VARIABLE
from deploykit.gates.report import render, wants_color
from deploykit.gates.run import cached_verdicts
from deploykit.gates.verdict_files import record_verdict, with_what_is_not_written
from deploykit.gates.workflows import workflows
from deploykit.model import DeploykitError, Evidence, Outcome, Verdict
from deploykit.tasks.ci_board import board, summary
from deploykit.tasks.ci_progress import Progress
from deploykit.tasks.output import print_annotations, print_json, print_lines
from deploykit.tasks.terminal import width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

__all__ = ["GATES", "gates_of", "run_ci"]

GATES = ("lint", "typing", "test", "coverage", "sast", "audit", "secrets")
OPTIONAL_GATES = ("migrations", "image", "workflows")
"""Gates that are asked only in a tree that has what they judge."""
_AFTER = {"coverage": ("test",)}
# What takes longest begins first.
_ORDER = ("test", "typing", "lint", "migrations", "sast", "audit", "secrets", "coverage", "image", "workflows")
_MAX_PARALLEL = 4
_POLL_SECONDS = 0.05
_TERMINATE_SECONDS = 10.0


def run_ci(root: Path, *, as_json: bool, force: bool, affected: str = "") -> int:
    """Run or show every gate, print what came of it, and return the worst outcome's exit code.

    `affected` is a base: only gates that the changes since then can reach are asked, and the others named with the
    reason. Raises InconclusiveError for a base that is not there.
    """
    began = time.monotonic()
    stream = sys.stderr if as_json else sys.stdout
    tree = tree_of(root)
    gates, left_out, about = gates_of(root), dict[str, str](), ""
    if affected:
        narrowed = affected_gates(root, affected, gates, test_paths=_test_paths(root))
        gates, left_out = narrowed.gates, dict(narrowed.left_out)
        about = f"{len(narrowed.changed)} files changed since {narrowed.base} ({narrowed.commit[:12]})"
    cached = {} if force else cached_verdicts(gates, root, tree=tree)
    progress = Progress(verdicts=dict(cached), cached=frozenset(cached))
    missing = [name for name in _ORDER if name in gates and name not in cached]
    if missing:
        environment = {**os.environ, **({FORCE_VARIABLE: "1"} if force else {})}
        with _signals_as_exit(), board(gates, progress, stream=stream) as redraw:
            _run_all(missing, root, progress, environment=environment, redraw=redraw)
    verdicts = [progress.verdicts[name] for name in gates]
    outcome = Outcome.worst([verdict.outcome for verdict in verdicts])
    reason = ""
    if outcome is Outcome.PASSED and len({verdict.tree for verdict in verdicts}) > 1:
        outcome, reason = Outcome.INCONCLUSIVE, "the tree changed meanwhile: the gates did not look at the same one"
    if set(SECURITY_GATES) <= set(gates):
        _combine_security(root, progress.verdicts)
    color = wants_color(os.environ, is_terminal=stream.isatty())
    failed = [verdict for verdict in verdicts if verdict.outcome is not Outcome.PASSED]
    lines = [line for verdict in failed for line in render(verdict, color=color, width=width(stream))]
    lines += summary(gates, progress, outcome, reason=reason, seconds=time.monotonic() - began, stream=stream)
    if affected:
        lines += [f"  {about}", *(f"  not asked: {name}: {why}" for name, why in left_out.items())]
    print_lines(lines, stream)
    if as_json:
        print_json(
            {
                "outcome": outcome.value,
                "reason": reason,
                "tree": tree,
                "not_run_again": sorted(cached),
                "not_asked": left_out,
                "verdicts": [verdict.as_json() for verdict in verdicts],
            }
        )
    return outcome.exit_code


def gates_of(root: Path) -> tuple[str, ...]:
    """The gates that judge something of this tree."""
    from deploykit.settings.loader import load
    from deploykit.settings.other_migrations import is_decided, other_migrations

    try:
        files = list_files(root).files
    except DeploykitError:
        return GATES  # each of them says what is wrong
    try:
        settings = load(root, environ=os.environ).settings
        migrations: object = settings.database.migrations
        if not is_decided(settings):
            migrations = other_migrations(root, files)  # the gate says what is wrong with them
    except DeploykitError:
        migrations = ""  # each gate says what is wrong with the settings
    subjects = {"migrations": migrations, "image": dockerfiles(files), "workflows": workflows(files)}
    return (*GATES, *(name for name in OPTIONAL_GATES if subjects[name]))


def _test_paths(root: Path) -> tuple[str, ...]:
    from deploykit.settings.loader import load

    return load(root).settings.tests.paths


@contextlib.contextmanager
def _signals_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the gates as Ctrl-C does; else they would go on alone."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _combine_security(root: Path, verdicts: Mapping[str, Verdict]) -> None:
    """What `nox -s security` would record: releases ask for it by this name."""
    parts = [verdicts[name] for name in SECURITY_GATES]
    # What can't be written is said by each of the three.
    with_what_is_not_written(
        combine("security", parts, tree=parts[0].tree), lambda verdict: record_verdict(root, verdict)
    )


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]


def _run_all(
    names: Sequence[str],
    root: Path,
    progress: Progress,
    *,
    environment: Mapping[str, str],
    redraw: Callable[[], None],
) -> None:
    """Run each gate once those before it have ended, as many at once as there are cores, 4 at most."""
    waiting, running = list(names), dict[str, _Child]()
    places = max(1, min(_MAX_PARALLEL, os.cpu_count() or 1))
    try:
        while waiting or running:
            for name in [name for name in waiting if all(one in progress.verdicts for one in _AFTER.get(name, ()))]:
                if len(running) == places:
                    break
                waiting.remove(name)
                progress.started[name] = time.monotonic()
                running[name] = _start(name, root, environment)
            for name in [name for name, child in running.items() if child.process.poll() is not None]:
                progress.verdicts[name] = _verdict_of(name, running.pop(name), sys.stderr)
            redraw()
            time.sleep(_POLL_SECONDS if running else 0)
    finally:
        _terminate(list(running.values()))


def _start(name: str, root: Path, environment: Mapping[str, str]) -> _Child:
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when the gate has ended
    # -P: the tree's own modules must not replace the kit's.
    argv = [sys.executable, "-P", "-m", "deploykit.tasks.one_gate", name, str(root)]
    process = subprocess.Popen(
        argv,
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,  # Ctrl-C comes to this process, which passes it on
    )
    return _Child(process=process, out=out, err=err)


def _verdict_of(name: str, child: _Child, stream: TextIO) -> Verdict:
    with child.out, child.err:
        child.out.seek(0)
        child.err.seek(0)
        said, noise = child.out.read(), child.err.read().decode(errors="replace").splitlines()
    print_annotations(noise, stream)
    try:
        verdict = Verdict.from_json(json.loads(said))
        if verdict.gate == name and verdict.outcome.exit_code == child.process.returncode:
            return verdict
    except (ValueError, KeyError, TypeError):
        pass
    return Verdict(
        gate=name,
        outcome=Outcome.INCONCLUSIVE,
        evidence=Evidence(
            looked_at=0, unit="files", tool="", tool_version="", notes=tuple(f"| {line}" for line in noise[-10:])
        ),
        reason=f"the gate's process ended with exit code {child.process.returncode} and gave no answer",
        next_step=f"run it alone: invoke gate {name}",
    )


def _terminate(children: Sequence[_Child]) -> None:
    """End what still runs: asked first, so that each ends its own tools, then killed with its group."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.process.wait(_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        child.out.close()
        child.err.close()
