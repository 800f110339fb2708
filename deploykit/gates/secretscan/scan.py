"""Scan files of a tree on all cores, and account for each: scanned, binary, left out by a filter, or not readable.

Files that are not in the cache are distributed by size to worker processes. Each is a fresh Python that receives its
files on standard input. They are not forked: the caller may have threads.
"""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.budget import SECONDS, OverBudget, can_limit, within
from deploykit.gates.secretscan.cache import ScanCache, content_key, settings_key
from deploykit.gates.secretscan.filetype import is_named_as_text
from deploykit.gates.secretscan.findings import Secret, find_secrets
from deploykit.gates.secretscan.reading import bytes_as_text, decoded, read_file
from deploykit.gates.secretscan.rules import Rules, rules_of
from deploykit.gates.tooling import parse_json, run_tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["ScanReport", "scan_contents", "scan_files", "work"]

_WORTH_A_PROCESS = 3_000_000  # bytes to look at; below, starting a Python costs more than it brings
_PROBE = 8192
_FILE_COST = 2000  # bytes that could be looked at in the time in which a file is opened

_POINTER_FORM = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v\d+\n(?:ext-\d-[\w-]+ sha256:[0-9a-f]{64}\n)*"
    rb"oid sha256:[0-9a-f]{64}\nsize \d+\n"
)
"""A whole file, by the specification of Git LFS. One that only begins so is looked into."""
_POINTER = "pointer"

Found = tuple[str, str, tuple[Secret, ...]]
"""The key of a content, the encoding that it was read in (empty: binary; `pointer`: not here), and its secrets."""


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What became of every file that was asked for. `unreadable` says why; `recoded` files are text, but not UTF-8.

    `pointers` are files whose content is in Git LFS, and not here. `only_by_kit` are those that detect-secrets could
    not read, where it was asked.
    """

    secrets: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)
    scanned: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    recoded: tuple[str, ...] = ()
    only_by_kit: tuple[str, ...] = ()
    cached: int = 0


def scan_files(  # noqa: PLR0913 - what a scan depends on, by keyword
    root: Path,
    files: Sequence[str],
    rules: Rules,
    *,
    processes: int = 1,
    cache: ScanCache | None = None,
    whole: bool = False,
    seconds: float = SECONDS,
) -> ScanReport:
    """Scan `files` (relative to `root`). `whole`: these are all files of the tree, so the cache forgets the others.

    `seconds` of processor time are what a file may take (and one more for each megabyte); one past it is unreadable.
    Raises InconclusiveError when a worker process does not answer.
    """
    settings = settings_key(rules)
    answers: dict[str, Found] = {}
    unreadable: list[tuple[str, str]] = []
    waiting: list[tuple[int, str]] = []
    for name in files:
        read = read_file(root / name)
        if read.problem:
            unreadable.append((name, read.problem))
            continue
        if rules.filters_file(name):
            # Most files that no rule looks into are images and the like: they are counted as what they are.
            answers[name] = ("", "" if b"\0" in read.content[:_PROBE] else "filtered", ())
            continue
        key = content_key(settings, name, read.content)
        known = cache.get(key) if cache is not None else None
        if known is not None:
            answers[name] = (key, *known)
        else:
            waiting.append((len(read.content), name))
    cached = len([name for name in answers if answers[name][0]])
    found = _scan_in_parallel(root, waiting, rules, processes, seconds)
    for name, answer in found.items():
        if isinstance(answer, str):
            unreadable.append((name, answer))
        else:
            answers[name] = answer
    if cache is not None:
        fresh = {
            key: (encoding, secrets) for key, encoding, secrets in map(answers.__getitem__, found.keys() & answers)
        }
        cache.put(fresh, keep=[answer[0] for answer in answers.values()] if whole else None)
    filtered = [name for name, answer in answers.items() if answer[1] == "filtered"]
    return _report(answers, filtered, unreadable, cached)


def scan_contents(contents: Iterable[tuple[str, bytes]], rules: Rules, *, seconds: float = SECONDS) -> ScanReport:
    """Scan contents that are in no file (what is staged, what was once committed), by path. `seconds`: as above."""
    answers: dict[str, Found] = {}
    filtered: list[str] = []
    unreadable: list[tuple[str, str]] = []
    for name, content in contents:
        if rules.filters_file(name):
            filtered.append(name)
            answers[name] = ("", "filtered", ())
        else:
            answer = _look(name, content, rules, "", seconds)
            if isinstance(answer, str):
                unreadable.append((name, answer))
            else:
                answers[name] = answer
    return _report(answers, filtered, unreadable, 0)


def _report(
    answers: Mapping[str, Found], filtered: Sequence[str], unreadable: Sequence[tuple[str, str]], cached: int
) -> ScanReport:
    looked = {name: answer for name, answer in answers.items() if answer[1] not in {"filtered", _POINTER}}
    return ScanReport(
        secrets={name: looked[name][2] for name in sorted(looked) if looked[name][2]},
        scanned=tuple(sorted(name for name, answer in looked.items() if answer[1])),
        binary=tuple(sorted(name for name, answer in looked.items() if not answer[1])),
        filtered=tuple(sorted(filtered)),
        pointers=tuple(sorted(name for name, answer in answers.items() if answer[1] == _POINTER)),
        unreadable=tuple(sorted(unreadable)),
        recoded=tuple(sorted(name for name, answer in looked.items() if answer[1] not in {"", "utf-8"})),
        cached=cached,
    )


def _scan_in_parallel(
    root: Path, waiting: Sequence[tuple[int, str]], rules: Rules, processes: int, seconds: float
) -> dict[str, Found | str]:
    total = sum(size for size, _ in waiting)
    parts = min(processes, 1 + total // _WORTH_A_PROCESS)
    if parts < 2:
        names = [name for _, name in waiting]
        return _look_at(root, names, rules, seconds) if can_limit() else _in_worker(root, names, rules, seconds)
    shares: list[list[str]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for size, name in sorted(waiting, reverse=True):
        least = loads.index(min(loads))
        loads[least] += size + _FILE_COST
        shares[least].append(name)
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(_in_worker, root, names, rules, seconds) for names in shares[1:]]
        look = _look_at if can_limit() else _in_worker
        found = look(root, shares[0], rules, seconds)
        for other in others:
            found.update(other.result())
    return found


def _in_worker(root: Path, names: Sequence[str], rules: Rules, seconds: float) -> dict[str, Found | str]:
    task = {"files": list(names), "plugins": rules.plugins, "filters": rules.filters, "formats": rules.formats}
    task["seconds"] = seconds
    package = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONUTF8": "1"}
    completed = run_tool(
        [sys.executable, "-P", "-m", "deploykit.gates.secretscan.worker"],
        root=root,
        environment=environment,
        answers=(0,),
        stdin=json.dumps(task),
    )
    return {name: _from_json(answer) for name, answer in parse_json(completed).items()}


def _from_json(answer: Any) -> Found | str:
    if isinstance(answer, str):
        return answer
    key, encoding, secrets = answer
    return key, encoding, tuple(Secret(*secret) for secret in secrets)


def work(task: Mapping[str, Any], root: Path) -> dict[str, Found | str]:
    """What a worker process does: look at the files of its share."""
    rules = rules_of(task["plugins"], task["filters"], formats=task["formats"])
    return _look_at(root, task["files"], rules, task["seconds"])


def _look_at(root: Path, names: Sequence[str], rules: Rules, seconds: float) -> dict[str, Found | str]:
    settings = settings_key(rules)
    found: dict[str, Found | str] = {}
    for name in names:
        read = read_file(root / name)
        key = content_key(settings, name, read.content)
        found[name] = read.problem or _look(name, read.content, rules, key, seconds)
    return found


def _look(name: str, content: bytes, rules: Rules, key: str, seconds: float) -> Found | str:
    """What was found, or that there was no end of it."""
    if not can_limit():
        return _find(name, content, rules, key)
    seconds += len(content) / 1_000_000
    try:
        return within(seconds, lambda: _find(name, content, rules, key))
    except OverBudget:
        return f"it takes longer than {seconds:.3g} s of processor time to look into it"


def _find(name: str, content: bytes, rules: Rules, key: str) -> Found:
    if _POINTER_FORM.fullmatch(content):
        return key, _POINTER, ()
    text = decoded(content, named_as_text=is_named_as_text(name))
    if text is None:
        return key, "", ()
    secrets = find_secrets(name, text[0], rules)
    if text[1] not in {"utf-8", "latin-1"}:
        known = {(secret.type, secret.hashed) for secret in secrets}
        others = find_secrets(name, bytes_as_text(content), rules)
        secrets = tuple(sorted({*secrets, *(other for other in others if (other.type, other.hashed) not in known)}))
    return key, text[1], secrets
