"""`invoke secrets.audit` and `secrets.baseline`: the known secrets of the secrets gate, and their labels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploykit.tasks.command import command, repository
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from invoke.context import Context

    from deploykit.gates.secretscan.baseline import Baseline, Key
    from deploykit.gates.secretscan.merge import Merged
    from deploykit.gates.secretscan.scan import ScanReport

__all__ = ["NAME", "TASKS"]

NAME = "secrets"
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


@command(help={"all": "ask about entries again that somebody has labelled"})
def audit(_context: Context, all: bool = False) -> int | None:  # noqa: A002 - the name of the flag
    """Label the secrets baseline's entries, one by one, in the terminal.

    y: a real secret; n: no secret; s: skip it; q: quit. Each answer is saved.
    """
    from deploykit.model import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            "labelling secrets needs somebody at a terminal, and standard input is none",
            next_step="run invoke secrets.audit in a terminal, or set is_secret in the baseline by hand",
        )
    root = repository()
    path, baseline, report = _scan(root)
    if baseline is None:
        raise UsageError(f"there is no {path.name} to label", next_step="invoke secrets.baseline")
    waiting = [
        (key, line)
        for name, secrets in report.secrets.items()
        for key, line in {(name, secret.type, secret.hashed): secret.line for secret in reversed(secrets)}.items()
        if key in baseline.entries and (all or baseline.entries[key].is_secret is None)
    ]
    if not waiting:
        say("Every entry is labelled.")
        return None
    return _ask(root, path, baseline, waiting)


@command(help={"json": "one JSON object on standard output"})
def baseline(_context: Context, json: bool = False) -> int | None:
    """Write the secrets baseline for what is in the tree now.

    Labels stay, what is new has no label yet, and what is gone leaves. Where
    a merge left two sides, it has the entries and labels of both.
    """
    from deploykit.gates.secretscan.baseline import Baseline, parse_baseline, refreshed
    from deploykit.gates.secretscan.git import text_of
    from deploykit.model import InconclusiveError

    root = repository()
    conflict = _conflict(root)
    path, known, report = _scan(root, conflict.baseline if conflict else None)
    if report.unreadable:
        raise InconclusiveError(
            f"{len(report.unreadable)} files could not be read, so the baseline would forget what is in them",
            details=[f"{name}: {why}" for name, why in report.unreadable[:20]],
            next_step="make them readable, or name them in security.secrets.exclude",
        )
    committed = text_of(root, path.relative_to(root).as_posix())
    try:
        previous = parse_baseline(committed) if committed else None
    except InconclusiveError:
        previous = None
    fresh = refreshed(known or Baseline(), report.secrets, previous=previous)
    _write(path, fresh)
    unlabelled = len([entry for entry in fresh.entries.values() if entry.is_secret is None])
    if json:
        print_json({"path": str(path), "entries": len(fresh.entries), "unlabelled": unlabelled})
    else:
        say(f"{path.name}: {len(fresh.entries)} entries, {unlabelled} of them without a label")
        if conflict:
            say(f"merged: the entries and labels of both sides; git add {path.name}")
            for name, kind, _ in conflict.disputed:
                say(f"labelled differently by the sides, so without a label: {name}: {kind}")
        if unlabelled:
            say("next: invoke secrets.audit")
    return None


def _conflict(root: Path) -> Merged | None:
    import os

    from deploykit.gates.secretscan.merge import merge_conflict
    from deploykit.settings.loader import load

    return merge_conflict(root, load(root, environ=os.environ).settings.security.secrets.baseline)


def _scan(root: Path, known: Baseline | None = None) -> tuple[Path, Baseline | None, ScanReport]:
    """The baseline (`known`: where it is known already) and what is in the tree."""
    import os

    from deploykit.gates.secrets import scan_tree
    from deploykit.gates.secretscan.baseline import Baseline, read_baseline
    from deploykit.gates.tools import managed_tool
    from deploykit.model import UsageError
    from deploykit.settings.loader import load

    settings = load(root, environ=os.environ).settings.security.secrets
    path = root / settings.baseline
    if not path.is_relative_to(root):
        raise UsageError(
            f"security.secrets.baseline is {settings.baseline}, which is not in the repository",
            next_step="name a file of the repository, such as .secrets.baseline",
        )
    known = known or read_baseline(path)
    looked = scan_tree(
        root,
        known or Baseline(),
        baseline_name=settings.baseline,
        exclude=settings.exclude,
        environment=os.environ,
        python=lambda: managed_tool("detect-secrets", environment=os.environ) / "bin" / "python",
    )
    return path, known, looked.report


def _ask(root: Path, path: Path, baseline: Baseline, waiting: list[tuple[Key, int]]) -> int | None:
    """Ask about one entry after another; every answer is saved at once, so an interruption loses nothing."""
    for index, (key, line) in enumerate(waiting, 1):
        name, kind, _ = key
        say("", f"{index} of {len(waiting)}: {kind}", f"{name}:{line}")
        for shown in _context_lines(root / name, line):
            say(shown)
        while True:
            try:
                answer = input("A real secret? [y]es, [n]o, [s]kip, [q]uit: ").strip().lower()
            except (EOFError, KeyboardInterrupt):
                answer = "q"
                say("")
            if answer in _ANSWERS:
                baseline = baseline.with_label(key, is_secret=_ANSWERS[answer])
                _write(path, baseline)
                break
            if answer in {"s", "skip"}:
                break
            if answer in {"q", "quit"}:
                say(f"{index - 1} looked at, {len(waiting) - index + 1} left.")
                return None
    say("", "Done.")
    return None


def _context_lines(path: Path, line: int) -> list[str]:
    """The line and its neighbours. The secret is shown: the person who labels it has the file anyway."""
    from deploykit.gates.secretscan.reading import decoded, read_file

    text = decoded(read_file(path).content, named_as_text=True)
    lines = text[0].split("\n") if text else []
    return [
        f"{'>' if number == line else ' '} {number:5} {lines[number - 1][:200]}"
        for number in range(max(1, line - 2), min(len(lines), line + 2) + 1)
    ]


def _write(path: Path, baseline: Baseline) -> None:
    from deploykit.model import UsageError
    from deploykit.process.files import write_atomically

    try:
        write_atomically(path, baseline.render())
    except OSError as error:
        raise UsageError(
            f"{path.name} can't be written: {error.strerror}", next_step="make the tree writable, and run it again"
        ) from error


TASKS = (audit, baseline)
