"""Cached verdicts: a pass on the same inputs is shown again with its age, and its gate does not run.

A file for each verdict records the inputs that it was given for. It is sealed as the verdict itself is, so the cache
never accepts a verdict that was edited, damaged, or copied from another machine or user: its gate runs again.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from deploykit.gates.interface import WORK_FOLDER
from deploykit.gates.test import data_fingerprint
from deploykit.gates.verdict_files import read_verdict, reject_links
from deploykit.model import Outcome, UsageError, Verdict
from deploykit.process.files import write_atomically
from deploykit.process.seal import is_sealed, sealed
from deploykit.settings.paths import state_home

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GOOD_UNTIL", "age", "cached_verdict", "forget", "record_inputs"]

GOOD_UNTIL = "good_until"
"""Evidence setting: seconds since the epoch until which the verdict is valid. An audit without it is never cached."""


def record_inputs(root: Path, verdict: Verdict, inputs: str, *, now: float) -> None:
    """Record the inputs of a pass. If the file can't be written, the gate runs again next time."""
    forget(root, verdict.gate)
    if not inputs or verdict.outcome is not Outcome.PASSED:
        return
    with suppress(OSError, ValueError, UsageError):
        content = {"gate": verdict.gate, "inputs": inputs, "verdict": _digest(verdict), "given_at": now}
        write_atomically(_path(root, verdict.gate), json.dumps(sealed(content, state_home())))


def forget(root: Path, gate: str) -> None:
    with suppress(OSError, UsageError):
        reject_links(root)
        _path(root, gate).unlink(missing_ok=True)


def cached_verdict(root: Path, gate: str, inputs: str, *, now: float) -> tuple[Verdict, float] | None:
    """The pass of `gate` on these inputs and its age in seconds; None if there is none, or any doubt about it."""
    verdict = read_verdict(root, gate) if inputs else None
    if verdict is None or verdict.outcome is not Outcome.PASSED or verdict.gate != gate:
        return None
    try:
        content = json.loads(_path(root, gate).read_text(encoding="utf-8"))
        given_at = float(content["given_at"])
        valid = (
            is_sealed(content, state_home())
            and content["gate"] == gate
            and content["inputs"] == inputs
            and content["verdict"] == _digest(verdict)
        )
        good_until = verdict.evidence.settings.get(GOOD_UNTIL, 0 if gate == "audit" else now + 1)
        valid = valid and given_at <= now < float(good_until)
        # Coverage is judged from the data of the tests: without the data, the tests run again.
        data = verdict.evidence.settings.get("coverage_data")
        if data is not None:
            valid = valid and bool(data) and data == data_fingerprint(root / WORK_FOLDER / "coverage" / gate)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (verdict, now - given_at) if valid else None


def age(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _path(root: Path, gate: str) -> Path:
    return root / WORK_FOLDER / "inputs" / f"{gate}.json"


def _digest(verdict: Verdict) -> str:
    return hashlib.sha256(json.dumps(verdict.as_json(), sort_keys=True).encode()).hexdigest()
