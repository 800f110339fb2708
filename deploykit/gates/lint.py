"""The lint gate: ruff's rules, ruff's format, and import-linter's contracts where the project asks for them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.files import excluded, list_files, python_files
from deploykit.gates.obeyed import shielded
from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_caches, tool_environment
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.process.run import Completed

_IMPORTS_DRIVER = Path(__file__).parent / "drivers" / "check_imports.py"
_NO_RULE = "linter.rules.enabled = []"
_CHECKED = re.compile(r"Checked (\d+) files? in:")
_FORMATTED = re.compile(r"(\d+) files? (?:would be reformatted|already formatted)")

__all__ = [
    "LintGate",
    "contract_findings",
    "files_formatted",
    "format_findings",
    "interpret",
    "left_out_by_ruff",
    "rule_findings",
]


@dataclass(frozen=True, kw_only=True)
class LintGate:
    """`paths` are relative to the tree. `fast` files (a hook's) replace them, and leave the contracts out."""

    paths: tuple[str, ...] = (".",)
    import_contracts: bool = False
    source_folders: tuple[str, ...] = (".",)
    name: str = "lint"

    def run(self, context: GateContext) -> Verdict:
        environment = shielded("ruff", tool_environment(context.environment)) | tool_caches(context.root)
        ruff = context.toolbox.tool("ruff")
        paths = context.arguments or self.paths

        def ask(*words: str, answers: Sequence[int] = (0, 1)) -> Completed:
            return run_tool([*ruff, *words], root=context.root, environment=environment, answers=answers)

        version = ask("--version", answers=(0,)).stdout.strip().removeprefix("ruff ")
        # ruff also lists pyproject.toml, which is no code: a repo of nothing else has not been looked at.
        listed = ask("check", "--show-files", "--force-exclude", *paths).stdout.splitlines()
        files = [line for line in listed if not line.endswith(".toml") and line.strip()]
        if files and _NO_RULE in ask("check", "--show-settings", files[0]).stdout.splitlines():
            raise InconclusiveError(
                "not one rule of ruff is on, so nothing could be found",
                next_step="name rules in [tool.ruff.lint]: select, or leave it out for ruff's own choice",
            )
        # -v: the list above also has what `lint.exclude` leaves out; only the log says how many were really checked.
        checked = ask("check", "-v", "--output-format", "json", "--no-fix", "--force-exclude", *paths)
        findings = rule_findings(parse_json(checked), context.root)
        formatted = ask("format", "--check", "--output-format", "json", "--force-exclude", *paths, answers=(0, 1, 2))
        unformatted = parse_json(formatted)
        if formatted.returncode == 2 and not any(item.get("code") == "invalid-syntax" for item in unformatted):
            raise crashed(formatted)
        findings += format_findings(unformatted, context.root)
        in_format = files_formatted(ask("format", "--check", "--force-exclude", *paths, answers=(0, 1, 2)).stdout)
        in_check = max(0, _checked(checked) - (len(listed) - len(files)))
        notes = [] if context.arguments else left_out_by_ruff(context.root, paths, files)
        notes += [
            f"files that ruff's own {where} leaves out: {len(files) - count}"
            for where, count in (("lint.exclude", in_check), ("format.exclude", in_format))
            if count < len(files)
        ]
        if self.import_contracts and not context.arguments:
            contracts = self._contracts(context)
            broken, count = contract_findings(contracts)
            findings += broken
            notes.append(f"import contracts checked: {count}")
        looked_at = min(len(files), in_check, in_format)
        return interpret(findings=findings, files=looked_at, version=version, paths=paths, notes=notes)

    def _contracts(self, context: GateContext) -> Completed:
        folders = os.pathsep.join(str(context.root / folder) for folder in self.source_folders)
        return run_tool(
            [context.toolbox.tool_python("lint-imports"), "-I", _IMPORTS_DRIVER, folders, "--no-cache", "--no-logo"],
            root=context.root,
            environment=tool_environment(context.environment),
        )


def left_out_by_ruff(root: Path, paths: Sequence[str], shown: Sequence[str]) -> list[str]:
    """A note on the Python files of the tree below `paths` that are not among those that ruff shows."""
    wanted = [
        name
        for name in python_files(list_files(root).files)
        if any(path.rstrip("/") in {"", "."} or excluded(name, (path.removeprefix("./"),)) for path in paths)
    ]
    missed = sorted(set(wanted) - {_relative(line, root) for line in shown})
    if not missed:
        return []
    return [f"Python files that ruff's own exclude, or .gitignore, leaves out: {len(missed)} ({', '.join(missed[:5])})"]


def rule_findings(problems: list[dict[str, Any]], root: Path) -> list[Finding]:
    """Findings from `ruff check --output-format json`. A file that can't be parsed is one, with the rule `syntax`."""
    findings = []
    for problem in problems:
        fix = problem.get("fix") or {}
        findings.append(
            Finding(
                rule=problem.get("code") or "syntax",
                message=problem["message"],
                path=_relative(problem["filename"], root),
                line=(problem.get("location") or {}).get("row", 0),
                severity=Severity.UNKNOWN,
                fix=f"ruff check --fix ({fix['message']})" if fix.get("message") else "",
            )
        )
    return findings


def format_findings(problems: list[dict[str, Any]], root: Path) -> list[Finding]:
    """Findings from `ruff format --check --output-format json`: one a file, and none that the rules name already."""
    names = dict.fromkeys(problem["filename"] for problem in problems if problem.get("code") == "unformatted")
    return [
        Finding(
            rule="format",
            message="the file is not formatted as ruff format would",
            path=_relative(name, root),
            fix="ruff format",
        )
        for name in names
    ]


def files_formatted(said: str) -> int:
    """How many files `ruff format --check` says it looked at; 0 where it says nothing."""
    return sum(int(count) for count in _FORMATTED.findall(said.rstrip().rpartition("\n")[2]))


def _checked(completed: Completed) -> int:
    counted = _CHECKED.search(completed.stderr)
    if counted is None:
        raise crashed(completed, "ruff did not say how many files it checked")
    return int(counted[1])


def contract_findings(completed: Completed) -> tuple[list[Finding], int]:
    """Broken contracts, and how many were checked, from what `lint-imports` prints."""
    summary = re.search(r"Contracts: (\d+) kept, (\d+) broken", completed.stdout)
    if summary is None:
        raise crashed(completed, "lint-imports did not say how many contracts it checked")
    kept, broken = int(summary[1]), int(summary[2])
    if kept + broken == 0:
        raise InconclusiveError(
            "import contracts are asked for, and none is configured",
            next_step="add [tool.importlinter] contracts to pyproject.toml, or drop lint.import_contracts",
        )
    names = re.findall(r"^(.+?) BROKEN(?: .*)?$", completed.stdout, re.MULTILINE)
    chains = [line.strip(" -•") for line in completed.stdout.splitlines() if "->" in line]
    findings = [Finding(rule="import-contract", message=f"broken: {name.strip()}") for name in names]
    findings += [Finding(rule="import-contract", message=chain) for chain in chains]
    if broken and not findings:
        raise crashed(completed, f"lint-imports says that {broken} contracts are broken and names none")
    return findings, kept + broken


def interpret(
    *, findings: Sequence[Finding], files: int, version: str, paths: Sequence[str], notes: Sequence[str] = ()
) -> Verdict:
    """The verdict: nothing looked at is inconclusive, whatever else was said."""
    evidence = Evidence(
        looked_at=files,
        unit="files",
        tool="ruff",
        tool_version=version,
        settings={"paths": " ".join(paths)},
        notes=tuple(notes),
    )
    if findings:
        ordered = tuple(sorted(findings, key=lambda finding: (finding.path, finding.line, finding.rule)))
        return Verdict(
            gate="lint",
            outcome=Outcome.FINDINGS,
            evidence=evidence,
            findings=ordered,
            reason=f"{len(ordered)} problems",
            next_step="ruff check --fix && ruff format, then run the gate again",
        )
    if files == 0:
        return Verdict(
            gate="lint",
            outcome=Outcome.INCONCLUSIVE,
            evidence=evidence,
            reason="ruff found no Python file to look at",
            next_step="check lint.paths in [tool.deploykit] and ruff's own excludes",
        )
    return Verdict(gate="lint", outcome=Outcome.PASSED, evidence=evidence)


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
