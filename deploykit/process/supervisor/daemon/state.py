"""The state file: all known programs, readable with or without a running supervisor."""

# ruff: noqa: PTH105, PTH118, PTH123 - see `folder`

from __future__ import annotations

import json
import os

from .folder import STATE
from .protocol import PROTOCOL

_RECORD = {"spec", "process", "exit_code", "restarts", "started_at", "stopping"}
_SPEC = {"name", "argv", "log", "labels", "keep_alive"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_state(folder: str) -> list[dict[str, Any]]:
    """The records of the programs, oldest first. Raises ValueError when the file is not what was written."""
    try:
        with open(os.path.join(folder, STATE), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    content = json.loads(text)
    records = content.get("programs") if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(_is_record(record) for record in records):
        raise ValueError("no list of programs")
    return records


def _is_record(record: object) -> bool:
    spec = record.get("spec") if isinstance(record, dict) else None
    return isinstance(record, dict) and isinstance(spec, dict) and record.keys() >= _RECORD and spec.keys() >= _SPEC


def write_state(folder: str, records: list[dict[str, Any]]) -> None:
    """Write the records of all programs, whole or not at all, also in a power cut."""
    path = os.path.join(folder, STATE)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump({"protocol": PROTOCOL, "programs": records}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def status_of(record: dict[str, Any]) -> dict[str, Any]:
    """The status of a program that a client receives, from its record."""
    spec, process = record["spec"], record["process"]
    return {
        "name": spec["name"],
        "pid": process["pid"] if process else None,
        "exit_code": None if process else record["exit_code"],
        "restarts": record["restarts"],
        "started_at": record["started_at"],
        "keep_alive": spec["keep_alive"],
        "argv": spec["argv"],
        "log": spec["log"],
        "labels": spec["labels"],
    }
