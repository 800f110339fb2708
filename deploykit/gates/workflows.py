"""The workflows gate: zizmor over the GitHub workflows of the tree: their schema, and what in them lets strangers in.

It asks nobody on the network (`--offline`), so it says the same everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.gates.file_gates import require_files, verdict_on_files
from deploykit.gates.files import list_files
from deploykit.gates.obeyed import shielded
from deploykit.gates.tooling import crashed, last_lines, parse_json, run_tool, tool_environment
from deploykit.model import Finding, InconclusiveError, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploykit.gates.interface import GateContext

__all__ = ["WorkflowsGate", "finding_of", "workflows"]

_PLACE = re.compile(r"(?:^|/)(?:\.github/workflows/[^/]+\.ya?ml|action\.ya?ml)$")
_CONFIGURATIONS = ("zizmor.yml", "zizmor.yaml", ".github/zizmor.yml", ".github/zizmor.yaml")
_FLAGS = ("--offline", "--no-progress", "--strict-collection", "--collect=all", "--no-exit-codes", "--format=json")
_SEVERITIES = {
    "Informational": Severity.LOW,
    "Low": Severity.LOW,
    "Medium": Severity.MODERATE,
    "High": Severity.HIGH,
}
_COMPLETED = re.compile(r"\bcompleted (?:file://)?(?:\./)?(\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class WorkflowsGate:
    """Findings of medium severity and above fail it; lower ones are listed."""

    name: str = "workflows"

    def run(self, context: GateContext) -> Verdict:
        listed = list_files(context.root)
        files = require_files(
            workflows(context.arguments or listed.files), gate=self.name, what="workflow (.github/workflows/*.yml)"
        )
        environment = {
            name: value
            for name, value in shielded("zizmor", tool_environment(context.environment)).items()
            if name not in {"GH_TOKEN", "GITHUB_TOKEN", "RUST_LOG"}
        }
        zizmor = context.toolbox.tool("zizmor")
        version = run_tool([*zizmor, "--version"], root=context.root, environment=environment, answers=(0,))
        completed = run_tool(
            [*zizmor, *_FLAGS, *(f"./{name}" for name in files)],
            root=context.root,
            environment=environment,
            answers=(0, 1),
        )
        if completed.returncode:
            said = completed.stderr.partition("Stack backtrace")[0].rstrip()
            raise InconclusiveError(
                "zizmor could not look at all the workflows",
                details=said.splitlines()[-10:] or last_lines(completed),
                next_step="fix the file that it names: GitHub could not run it either",
            )
        problems = parse_json(completed)
        looked = set(_COMPLETED.findall(completed.stderr))
        if missed := [name for name in files if name not in looked]:
            raise crashed(completed, f"zizmor did not say that it looked at {missed[0]}")
        findings = [finding_of(item) for item in problems if not item.get("ignored")]
        hidden = sum(bool(item.get("ignored")) for item in problems)
        own = next((name for name in _CONFIGURATIONS if (context.root / name).exists()), "none")
        return verdict_on_files(
            self.name,
            files=files,
            findings=findings,
            tool="zizmor",
            version=version.stdout.split()[-1] if version.stdout.split() else "",
            settings={"configuration": own, "network": "not asked"},
            notes=(*listed.notes, *((f"findings hidden by comments or configuration: {hidden}",) if hidden else ())),
            next_step="fix the lines above; for one that is right: `# zizmor: ignore[RULE]` on it",
        )


def workflows(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the files that GitHub runs: workflows, and actions of the repository's own."""
    return tuple(name for name in names if _PLACE.search(name))


def finding_of(item: dict[str, Any]) -> Finding:
    """One result of zizmor's JSON, at its primary location. Its rows count from 0."""
    places = item["locations"]
    place = next((one for one in places if one["symbolic"].get("kind") == "Primary"), places[0])
    local = place["symbolic"]["key"]["Local"]
    said = place["symbolic"].get("annotation", "")
    return Finding(
        rule=item["ident"],
        message=f"{item['desc']}: {said}" if said else item["desc"],
        path=local["verbatim_path"].removeprefix("./"),
        line=place["concrete"]["location"]["start_point"]["row"] + 1,
        severity=_SEVERITIES.get(item["determinations"]["severity"], Severity.UNKNOWN),
    )
