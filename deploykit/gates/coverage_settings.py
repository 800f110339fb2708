"""What the repo's own coverage configuration says, so that the kit honours it instead of talking over it.

coverage itself is asked: which of its files it reads, and in which order, differs from version to version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.gates.tooling import parse_json, run_tool, tool_environment
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from deploykit.gates.interface import GateContext

__all__ = ["CoverageSettings", "read_coverage_settings"]

_ASK = """
import json, coverage
try:
    config = coverage.Coverage().config
    names = ("source", "source_pkgs", "source_dirs", "run_include")
    answer = {"has_source": any(getattr(config, name, None) for name in names), "fail_under": float(config.fail_under)}
except coverage.CoverageException as error:
    answer = {"refused": str(error)}
print(json.dumps(answer))
"""


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """`has_source`: the repo says itself what is measured. `fail_under` is its own minimum in percent, 0 if none."""

    has_source: bool = False
    fail_under: float = 0.0


def read_coverage_settings(context: GateContext) -> CoverageSettings:
    """Ask the coverage of the project's environment. Raises InconclusiveError when it can't read its configuration."""
    completed = run_tool(
        [context.toolbox.python(), "-P", "-c", _ASK],
        root=context.root,
        environment=tool_environment(context.environment, project=context.work),
        answers=(0,),
        timeout=60,
    )
    answer = parse_json(completed)
    if "refused" in answer:
        raise InconclusiveError(
            "coverage can't read its configuration",
            details=answer["refused"].splitlines(),
            next_step="fix the file that it names",
        )
    return CoverageSettings(has_source=answer["has_source"], fail_under=answer["fail_under"])
