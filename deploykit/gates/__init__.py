"""Gates: each looks at one property of a tree and answers with a Verdict, green only when it has evidence.

`run_gate` runs one by name, `join` makes one outcome of several, `render` is what a terminal shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploykit.gates.joined import join
    from deploykit.gates.report import render
    from deploykit.gates.run import GATE_NAMES, run_gate
    from deploykit.gates.verdict_files import read_verdict, record_verdict

__all__ = ["GATE_NAMES", "join", "read_verdict", "record_verdict", "render", "run_gate"]

_HOMES = {
    "GATE_NAMES": "run",
    "join": "joined",
    "read_verdict": "verdict_files",
    "record_verdict": "verdict_files",
    "render": "report",
    "run_gate": "run",
}


def __getattr__(name: str) -> object:
    # `invoke --list` and `nox -l` import this package; only what is used is loaded.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"deploykit.gates.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
