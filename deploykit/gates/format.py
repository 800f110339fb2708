"""The format gate: ruff's format alone.

The lint gate asks the same and more; this one is for who wants only the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.lint import files_formatted, format_findings, left_out_by_ruff
from deploykit.gates.obeyed import shielded
from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_caches, tool_environment
from deploykit.model import Evidence, Finding, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.process.run import Completed

__all__ = ["FormatGate"]


@dataclass(frozen=True, kw_only=True)
class FormatGate:
    """`paths` are relative to the tree."""

    paths: tuple[str, ...] = (".",)
    name: str = "format"

    def run(self, context: GateContext) -> Verdict:
        environment = shielded("ruff", tool_environment(context.environment)) | tool_caches(context.root)
        ruff = context.toolbox.tool("ruff")
        paths = context.arguments or self.paths

        def ask(*words: str, answers: Sequence[int]) -> Completed:
            return run_tool([*ruff, *words], root=context.root, environment=environment, answers=answers)

        version = ask("--version", answers=(0,)).stdout.strip().removeprefix("ruff ")
        check = ("format", "--check", "--force-exclude")
        formatted = ask(*check, "--output-format", "json", *paths, answers=(0, 1, 2))
        problems = parse_json(formatted)
        findings = [*format_findings(problems, context.root), *_unreadable(problems, context.root)]
        if bool(findings) is not (formatted.returncode != 0):
            raise crashed(formatted)
        # The list says nothing of files that are right, and of those that `format.exclude` leaves out.
        looked_at = files_formatted(ask(*check, *paths, answers=(0, 1, 2)).stdout) + len(
            _unreadable(problems, context.root)
        )
        shown = ask("check", "--show-files", "--force-exclude", *paths, answers=(0, 1)).stdout.splitlines()
        evidence = Evidence(
            looked_at=looked_at,
            unit="files",
            tool="ruff",
            tool_version=version,
            settings={"paths": " ".join(paths)},
            notes=() if context.arguments else tuple(left_out_by_ruff(context.root, paths, shown)),
        )
        if findings:
            outcome, reason, next_step = Outcome.FINDINGS, f"{len(findings)} files are not formatted", "ruff format"
        elif not looked_at:
            outcome, reason = Outcome.INCONCLUSIVE, "ruff format found no file to look at"
            next_step = "check lint.paths in [tool.deploykit], and ruff's own exclude and format.exclude"
        else:
            outcome, reason, next_step = Outcome.PASSED, "", ""
        return Verdict(
            gate=self.name,
            outcome=outcome,
            evidence=evidence,
            findings=tuple(findings),
            reason=reason,
            next_step=next_step,
        )


def _unreadable(problems: Sequence[dict[str, Any]], root: Path) -> list[Finding]:
    by_file = {item["filename"]: item for item in problems if item.get("code") == "invalid-syntax"}
    return [
        Finding(
            rule="syntax",
            message=item["message"],
            path=Path(name).relative_to(root).as_posix() if Path(name).is_relative_to(root) else name,
            line=(item.get("location") or {}).get("row", 0),
            severity=Severity.UNKNOWN,
        )
        for name, item in by_file.items()
    ]
