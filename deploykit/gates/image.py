"""The image gate: hadolint over every Dockerfile of the tree.

It lints what is written; images themselves it does not scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deploykit.gates.file_gates import require_files, verdict_on_files
from deploykit.gates.files import list_files
from deploykit.gates.obeyed import OBEYED, shielded
from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_environment
from deploykit.model import Finding, InconclusiveError, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploykit.gates.interface import GateContext

__all__ = ["ImageGate", "dockerfiles"]

_SEVERITIES = {"error": Severity.HIGH, "warning": Severity.MODERATE, "info": Severity.LOW, "style": Severity.LOW}


@dataclass(frozen=True, kw_only=True)
class ImageGate:
    """Errors and warnings fail it; what hadolint calls `info` and `style` is listed."""

    name: str = "image"

    def run(self, context: GateContext) -> Verdict:
        listed = list_files(context.root)
        files = require_files(dockerfiles(context.arguments or listed.files), gate=self.name, what="Dockerfile")
        if empty := [name for name in files if not (context.root / name).read_bytes().strip()]:
            raise InconclusiveError(
                f"{empty[0]} is empty, and hadolint finds nothing wrong with that", next_step="write it"
            )
        environment = shielded("hadolint", tool_environment(context.environment))
        hadolint = context.toolbox.tool("hadolint")
        version = run_tool([*hadolint, "--version"], root=context.root, environment=environment, answers=(0,))
        completed = run_tool(
            [*hadolint, "--format", "json", "--", *(f"./{name}" for name in files)],
            root=context.root,
            environment=environment,
        )
        if completed.stderr.strip():
            # hadolint goes on without a configuration that it can't read, and answers 0.
            raise crashed(completed, "hadolint complained, so it is not sure what it looked at")
        problems = parse_json(completed)
        findings = [
            Finding(
                rule=item["code"],
                message=item["message"],
                path=item["file"].removeprefix("./"),
                line=item["line"],
                severity=_SEVERITIES.get(item["level"], Severity.UNKNOWN),
            )
            for item in problems
        ]
        if completed.returncode == 1 and not findings:
            raise crashed(completed, "hadolint answers that something is wrong and names nothing")
        if strange := {finding.path for finding in findings} - set(files):
            raise crashed(completed, f"hadolint speaks of a file that it was not asked about: {min(strange)}")
        own = next((name for name in OBEYED["hadolint"].names if (context.root / name).exists()), "none")
        return verdict_on_files(
            self.name,
            files=files,
            findings=findings,
            tool="hadolint",
            version=version.stdout.split()[-1] if version.stdout.split() else "",
            settings={"configuration": own},
            notes=listed.notes,
            next_step="fix the lines above; for one that is right: `# hadolint ignore=RULE` above it",
        )


def dockerfiles(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the files that are written for an image builder: `Dockerfile`, `NAME.Dockerfile`, `Dockerfile.NAME`,
    `Containerfile`.
    """

    def is_one(name: str) -> bool:
        base = PurePosixPath(name).name
        ignored = base.endswith(".dockerignore")
        starts = base in {"Dockerfile", "Containerfile"} or base.startswith(("Dockerfile.", "Containerfile."))
        return not ignored and not base.endswith((".md", ".txt", ".j2")) and (starts or base.endswith(".Dockerfile"))

    return tuple(name for name in names if is_one(name))
