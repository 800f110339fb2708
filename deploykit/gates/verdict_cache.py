"""Cached verdicts: a pass on the same inputs is shown again with its age, and its gate does not run.

A file for each verdict records the inputs that it was given for. The file is signed with a key from this user's cache.
So the cache never accepts a verdict that was edited, damaged, or copied from another user.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.interface import WORK_FOLDER
from deploykit.gates.test import data_fingerprint
from deploykit.gates.tools import cache_home
from deploykit.gates.verdict_files import read_verdict, reject_links
from deploykit.model import Outcome, UsageError, Verdict
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["GOOD_UNTIL", "age", "cached_verdict", "forget", "record_inputs"]

GOOD_UNTIL = "good_until"
"""Evidence setting: seconds since the epoch until which the verdict is valid. An audit without it is never cached."""
_KEY = "evidence.key"
_KEY_BYTES = 32


def record_inputs(root: Path, verdict: Verdict, inputs: str, *, environment: Mapping[str, str], now: float) -> None:
    """Record the inputs of a pass. If the file can't be written, the gate runs again next time."""
    forget(root, verdict.gate)
    if not inputs or verdict.outcome is not Outcome.PASSED:
        return
    with suppress(OSError, ValueError):
        content = {"inputs": inputs, "verdict": _digest(verdict), "given_at": now}
        content = content | {"signature": _signature(content, _key(environment))}
        write_atomically(_path(root, verdict.gate), json.dumps(content))


def forget(root: Path, gate: str) -> None:
    with suppress(OSError, UsageError):
        reject_links(root)
        _path(root, gate).unlink(missing_ok=True)


def cached_verdict(
    root: Path, gate: str, inputs: str, *, environment: Mapping[str, str], now: float
) -> tuple[Verdict, float] | None:
    """The pass of `gate` on these inputs and its age in seconds; None if there is none, or any doubt about it."""
    verdict = read_verdict(root, gate) if inputs else None
    if verdict is None or verdict.outcome is not Outcome.PASSED or verdict.gate != gate:
        return None
    try:
        content = json.loads(_path(root, gate).read_text(encoding="utf-8"))
        signature = content.pop("signature")
        given_at = float(content["given_at"])
        valid = (
            hmac.compare_digest(signature, _signature(content, _key(environment)))
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


def _signature(content: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, json.dumps(content, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _key(environment: Mapping[str, str]) -> bytes:
    """The user's key, created on first use. If two processes create it at once, both use the first one."""
    path = cache_home(environment) / _KEY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(name, path)
        Path(name).unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} is not a key")
    return key
