"""An evidence bundle: the passes of one tree in one file, exported where the gates ran and imported before a release.

Each pass has the seal of the state folder in which it was given (`verdict_files`), and counts where that key is: for
another clone of the same user on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from deploykit.gates.interface import WORK_FOLDER
from deploykit.gates.verdict_files import read_recorded, record_verdict, reject_foreign_evidence, sealed_verdict
from deploykit.model import InconclusiveError, Outcome, UsageError, Verdict

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["export_evidence", "import_evidence"]

_FORMAT = "deploykit evidence 1"
_EXPORT_AGAIN = "export it again where the gates ran: invoke evidence.export FILE"
_LIMIT = 64 * 1024 * 1024


def export_evidence(root: Path, file: Path, *, tree: str) -> list[Verdict]:
    """Write every pass on exactly this tree to `file`, and return them.

    Raises InconclusiveError if there is none, and UsageError outside git or if the file can't be written.
    """
    _check_tree(root, tree)
    reject_foreign_evidence(root)
    recorded = [read_recorded(root, path.stem) for path in sorted((root / WORK_FOLDER / "verdicts").glob("*.json"))]
    passes = [
        (verdict, content)
        for verdict, content in filter(None, recorded)
        if verdict.tree == tree and verdict.outcome is Outcome.PASSED
    ]
    if not passes:
        raise InconclusiveError(f"no gate has passed on exactly this tree ({tree[:12]})", next_step="invoke ci")
    content = {
        "format": _FORMAT,
        "tree": tree,
        "exported_at": time.time(),
        "verdicts": [content for _, content in passes],
    }
    try:
        file.write_text(json.dumps(content | {"digest": _digest(content)}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}", next_step="name another file") from error
    return [verdict for verdict, _ in passes]


def import_evidence(root: Path, file: Path, *, tree: str) -> list[Verdict]:
    """Record the passes in `file` for this tree, and return them. It imports all or none.

    Raises UsageError for a missing file, for one about another tree, and for one without this machine's seals. Raises
    InconclusiveError for a damaged file, and if one of the gates did not pass on this tree here.
    """
    _check_tree(root, tree)
    reject_foreign_evidence(root)
    content = _read(file)
    if content["tree"] != tree:
        raise UsageError(
            f"{file.name} is evidence of another tree ({content['tree'][:12]}, this one is {tree[:12]})",
            details=["a file that differs, or is new and not ignored, makes it another tree: git status"],
            next_step="check out what the gates looked at, or run them here: invoke ci",
        )
    try:
        passes = [(Verdict.from_json(item), float(item["recorded_at"])) for item in content["verdicts"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, f"a verdict in it can't be read: {error}") from error
    foreign = [one.gate for one, _ in passes if one.tree != tree or one.outcome is not Outcome.PASSED]
    if foreign or not passes or any(not _is_name(one.gate) for one, _ in passes):
        raise _damaged(file, "it contains something other than passes of its own tree")
    unsealed = [each["gate"] for each in content["verdicts"] if sealed_verdict(each, each["gate"]) is None]
    if unsealed:
        raise UsageError(
            f"{file.name} was not sealed with this machine's key, so it proves nothing here: {', '.join(unsealed)}",
            details=["anybody can write such a file; what another machine judged can't be proven yet"],
            next_step="run the gates here: invoke ci",
        )
    here = {verdict.gate: read_recorded(root, verdict.gate) for verdict, _ in passes}
    failed = [
        gate
        for gate, found in here.items()
        if found and found[0].tree == tree and found[0].outcome is not Outcome.PASSED
    ]
    if failed:
        raise InconclusiveError(
            f"{', '.join(failed)} did not pass on exactly this tree here, and {file.name} can't override that",
            next_step=f"invoke gate {failed[0]}",
        )
    for verdict, recorded_at in passes:
        record_verdict(root, verdict, now=recorded_at, run="imported")
    return [verdict for verdict, _ in passes]


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _LIMIT:
            raise _damaged(file, f"it is larger than {_LIMIT} bytes")
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", next_step=_EXPORT_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(file, "it is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _damaged(file, f"its format is not {_FORMAT!r}")
    digest = content.pop("digest", "")
    if digest != _digest(content) or not isinstance(content.get("tree"), str):
        raise _damaged(file, "its digest does not match its content")
    return content


def _check_tree(root: Path, tree: str) -> None:
    if not tree:
        raise UsageError(
            f"{root} has no tree that evidence could be bound to",
            next_step='git init && git add FILES && git commit -m "First version"',
        )


def _is_name(gate: str) -> bool:
    """Whether a gate may have this name, which becomes the name of a file."""
    return bool(gate) and gate.replace("-", "").replace("_", "").isalnum()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(file: Path, why: str) -> InconclusiveError:
    return InconclusiveError(f"{file.name} is damaged, or not evidence", details=[why], next_step=_EXPORT_AGAIN)
