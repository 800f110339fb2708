"""The secrets gate: detect-secrets' rules and the kit's own over every file of the tree, against `.secrets.baseline`.

A secret that is not in the baseline is a finding, and so is one that is labelled as real. An unlabelled one is a
finding in CI, and a note elsewhere. A baseline without any label is never evidence.

Its arguments narrow it: names of files, `--staged` (what the next commit brings: the hook), `--history` (every version
of every file that git has).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.files import excluded, list_files
from deploykit.gates.interface import FORCE_VARIABLE
from deploykit.gates.secretscan.baseline import VERSION, Baseline, parse_baseline, read_baseline
from deploykit.gates.secretscan.detect_secrets import ask_detect_secrets
from deploykit.gates.secretscan.findings import Secret, first_lines
from deploykit.gates.tools import cache_home
from deploykit.model import Evidence, Finding, Outcome, Severity, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.gates.secretscan.rules import Rules
    from deploykit.gates.secretscan.scan import ScanReport

__all__ = ["SecretsGate", "in_ci", "interpret", "scan_tree"]

_MODES = ("--staged", "--history")
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class SecretsGate:
    """`exclude`: files, folders or shell patterns that are not looked at; the verdict contains their number."""

    baseline: str = ".secrets.baseline"
    exclude: tuple[str, ...] = ()
    name: str = "secrets"

    def run(self, context: GateContext) -> Verdict:
        modes = {word for word in context.arguments if word.startswith("-")}
        if unknown := modes - set(_MODES):
            raise UsageError(
                f"the secrets gate knows no {', '.join(sorted(unknown))}",
                details=[f"it takes names of files, {' or '.join(_MODES)}"],
                next_step="deploykit-hook secrets --staged",
            )
        if len(modes) > 1:
            raise UsageError(
                "staged changes or the history: one at a time", next_step="deploykit-hook secrets --staged"
            )
        baseline = self._baseline(context, staged="--staged" in modes)
        known = baseline or Baseline()
        if "--history" in modes:
            return self._history(context, baseline, known.rules())
        looked = self._staged(context, known) if "--staged" in modes else self._tree(context, known)
        return interpret(
            looked,
            baseline=baseline,
            settings=self._settings(baseline),
            ci=in_ci(context.environment),
            narrowed=bool(context.arguments),
        )

    def _baseline(self, context: GateContext, *, staged: bool) -> Baseline | None:
        if not staged:
            return read_baseline(context.root / self.baseline)
        from deploykit.gates.secretscan.git import text_of

        # What is committed is judged by the baseline that is committed with it.
        text = text_of(context.root, self.baseline, of="")
        return None if text is None else parse_baseline(text, self.baseline)

    def _settings(self, baseline: Baseline | None) -> dict[str, Any]:
        return {"baseline": self.baseline if baseline is not None else "none", "exclude": " ".join(self.exclude)}

    def _tree(self, context: GateContext, baseline: Baseline) -> ScannedFiles:
        return scan_tree(
            context.root,
            baseline,
            baseline_name=self.baseline,
            exclude=self.exclude,
            only=context.arguments,
            environment=context.environment,
            python=lambda: context.toolbox.tool_python("detect-secrets"),
        )

    def _staged(self, context: GateContext, baseline: Baseline) -> ScannedFiles:
        from deploykit.gates.secretscan.git import contents, staged_changes
        from deploykit.gates.secretscan.scan import scan_contents

        changes = [change for change in staged_changes(context.root) if change.path != self.baseline]
        wanted = [change for change in changes if change.kind == "file" and not excluded(change.path, self.exclude)]
        blobs = dict(contents(context.root, [change.blob for change in wanted]))
        missing = [change.path for change in wanted if blobs.get(change.blob) is None]
        found = {change.path: content for change in wanted if (content := blobs.get(change.blob)) is not None}
        report = scan_contents(found.items(), baseline.without_foreign().rules())
        notes = ["only what is staged was looked at"]
        if baseline.foreign:
            with tempfile.TemporaryDirectory(prefix="deploykit-") as folder:
                _lay_out(Path(folder), found)
                report = ask_detect_secrets(
                    report,
                    baseline,
                    root=context.root,
                    folder=Path(folder),
                    python=context.toolbox.tool_python("detect-secrets"),
                    environment=context.environment,
                    processes=_cores(),
                )
            notes.append(_by_detect_secrets(baseline))
        counts = {
            kind: len([change for change in changes if change.kind == kind])
            for kind in ("deleted", "link", "submodule")
        }
        notes += [f"staged {_KINDS[kind]}: {count}" for kind, count in counts.items() if count]
        files = len([change for change in changes if change.kind == "file"])
        if files > len(wanted):
            notes.append(f"files left out by security.secrets.exclude: {files - len(wanted)}")
        unreadable = (*report.unreadable, *((path, "git does not have it") for path in missing))
        # A commit that only takes files away, or brings links, has no content that could hold a secret.
        return ScannedFiles(
            report=replace(report, unreadable=unreadable),
            asked=len(wanted),
            notes=tuple(notes),
            without_content=sum(counts.values()),
        )

    def _history(self, context: GateContext, baseline: Baseline | None, rules: Rules) -> Verdict:
        from deploykit.gates.secretscan.history import scan_history, state_path

        state = state_path(cache_home(context.environment) / "secrets", context.root)
        report = scan_history(context.root, rules, state=state)
        accepted = {
            (kind, hashed)
            for (_, kind, hashed), entry in (baseline or Baseline()).entries.items()
            if entry.is_secret is False
        }
        findings = [
            Finding(
                rule=past.secret.type,
                message=f"{past.secret.type}: in commit {past.commit[:12]}",
                path=past.path,
                line=past.secret.line,
                severity=Severity.HIGH,
                fix="change the secret: anyone who has the history has it",
            )
            for past in report.found
            if (past.secret.type, past.secret.hashed) not in accepted
            and past.path != self.baseline
            and not excluded(past.path, self.exclude)
        ]
        notes = [f"commits: {report.commits}; versions looked at by this run: {report.fresh}"]
        notes += _counted({"binary versions not looked into": report.binary})
        notes += _counted({"versions left out by detect-secrets' own filters": report.filtered})
        looked_at = report.versions - report.binary - report.filtered - len(report.missing)
        outcome, reason, next_step = Outcome.PASSED, "", ""
        if findings:
            outcome, reason = Outcome.FINDINGS, f"{len(findings)} possible secrets in the history"
            next_step = "change those secrets; label what is none: invoke secrets.audit"
        elif report.missing:
            outcome, reason = Outcome.INCONCLUSIVE, f"{len(report.missing)} versions of files are not in this clone"
            next_step = "clone without a filter, and run it again"
        elif looked_at <= 0:
            outcome, reason, next_step = Outcome.INCONCLUSIVE, "the history has no text file", "git log"
        return Verdict(
            gate=self.name,
            outcome=outcome,
            evidence=Evidence(
                looked_at=max(0, looked_at),
                unit="versions of files",
                tool="deploykit",
                tool_version=VERSION,
                settings=self._settings(baseline),
                notes=tuple(notes),
            ),
            findings=tuple(findings),
            reason=reason,
            next_step=next_step,
        )


_KINDS = {"deleted": "deletions", "link": "symbolic links, not followed", "submodule": "submodules, not looked into"}


@dataclass(frozen=True, kw_only=True)
class ScannedFiles:
    """What a scan was asked for and what became of it. `without_content`: changes that hold nothing to look into."""

    report: ScanReport
    asked: int
    notes: tuple[str, ...] = ()
    without_content: int = 0


@dataclass
class _Compared:
    findings: list[Finding] = field(default_factory=list)
    unlabelled: list[Finding] = field(default_factory=list)
    labelled: int = 0


def in_ci(environment: Mapping[str, str]) -> bool:
    return environment.get("CI", "").lower() not in {"", "0", "false", "no"}


def scan_tree(  # noqa: PLR0913 - what a scan depends on, by keyword
    root: Path,
    baseline: Baseline,
    *,
    baseline_name: str,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    environment: Mapping[str, str],
    python: Callable[[], Path],
) -> ScannedFiles:
    """Scan the tree's files, or `only` those among them, on all cores, with the cache in the user's cache folder.

    `python` gives the Python that has detect-secrets, which is asked where the baseline wants what only it has.
    """
    from deploykit.gates.secretscan.cache import ScanCache
    from deploykit.gates.secretscan.scan import scan_files

    listed = list_files(root)
    given = set(only)
    every = [name for name in listed.files if (not given or name in given) and name != baseline_name]
    files = [name for name in every if not excluded(name, exclude)]
    notes = list(listed.notes)
    if len(every) > len(files):
        notes.append(f"files left out by security.secrets.exclude: {len(every) - len(files)}")
    absent = sorted(given - set(listed.files))
    report = scan_files(
        root,
        files,
        baseline.without_foreign().rules(),
        processes=_cores(),
        cache=ScanCache(cache_home(environment) / "secrets", root, read=not environment.get(FORCE_VARIABLE)),
        whole=not given,
    )
    if baseline.foreign:
        report = ask_detect_secrets(
            report,
            baseline,
            root=root,
            folder=root,
            python=python(),
            environment=environment,
            processes=_cores(),
        )
        notes.append(_by_detect_secrets(baseline))
    # A file that was named and is not there was not looked at.
    gone = tuple((name, "it is no file of this tree") for name in absent)
    return ScannedFiles(
        report=replace(report, unreadable=(*report.unreadable, *gone)),
        asked=len(files) + len(absent),
        notes=tuple(notes),
    )


def _by_detect_secrets(baseline: Baseline) -> str:
    return f"detect-secrets itself looked, since the baseline asks for {', '.join(baseline.foreign)}"


def _lay_out(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def interpret(
    looked: ScannedFiles, *, baseline: Baseline | None, settings: Mapping[str, Any], ci: bool, narrowed: bool = False
) -> Verdict:
    """The verdict on what a scan saw."""
    report = looked.report
    compared = _compare(report.secrets, baseline or Baseline())
    findings = [*compared.findings, *(compared.unlabelled if ci else ())]
    fates = (report.scanned, report.binary, report.filtered, report.pointers, report.unreadable)
    accounted = sum(len(files) for files in fates)
    looked_at = len(report.scanned) + (looked.without_content if not looked.asked else 0)
    evidence = Evidence(
        looked_at=looked_at,
        unit="files",
        # A verdict without a tool says that nothing could be judged; the hook lets files pass that no gate looks at.
        tool="deploykit" if looked_at or not report.unreadable else "",
        tool_version=f"detect-secrets {VERSION} rules and own formats",
        settings=settings,
        notes=(*looked.notes, *_notes(report), *_counted({_UNLABELLED: len(compared.unlabelled)})),
    )
    if findings:
        outcome, reason = Outcome.FINDINGS, f"{len(findings)} possible secrets"
        next_step = (
            "take the secret out and change it; if it is none, mark the line with `# pragma: allowlist secret`, "
            "or note and label it: invoke secrets.baseline secrets.audit"
        )
    elif report.unreadable or accounted != looked.asked:
        outcome = Outcome.INCONCLUSIVE
        shown = ", ".join(f"{name} ({why})" for name, why in report.unreadable[:_SHOWN])
        reason = f"{max(len(report.unreadable), looked.asked - accounted)} files could not be read: {shown}"
        next_step = "make them readable, or name them in security.secrets.exclude"
    elif not evidence.looked_at:
        outcome, reason = Outcome.INCONCLUSIVE, "there was no text file to look at"
        next_step = "check the folder, and security.secrets.exclude in [tool.deploykit]"
        if narrowed:
            next_step = "name at least one text file, or stage one"
    elif compared.unlabelled and not compared.labelled:
        outcome = Outcome.INCONCLUSIVE
        reason = f"the baseline covers {len(compared.unlabelled)} secrets, and nobody has labelled any of them"
        next_step = "invoke secrets.audit"
    else:
        outcome, reason, next_step = Outcome.PASSED, "", ""
    return Verdict(
        gate="secrets",
        outcome=outcome,
        evidence=evidence,
        findings=tuple(findings),
        reason=reason,
        next_step=next_step,
    )


_UNLABELLED = "entries of the baseline that nobody has labelled (invoke secrets.audit)"


def _notes(report: ScanReport) -> list[str]:
    notes = _counted({"binary files not looked into": len(report.binary)})
    if report.filtered:
        shown = ", ".join(report.filtered[:_SHOWN])
        notes.append(f"files left out by detect-secrets' own filters: {len(report.filtered)} ({shown})")
    notes += _counted({"files whose content is in Git LFS and not here, not looked into": len(report.pointers)})
    notes += _counted({"files that are not UTF-8, read all the same": len(report.recoded)})
    notes += _counted({"files that detect-secrets can't read, looked at by the kit alone": len(report.only_by_kit)})
    notes += _counted({"files known from an earlier scan by their content": report.cached})
    notes += [f"not read: {name}: {why}" for name, why in report.unreadable]
    return notes


def _counted(counts: Mapping[str, int]) -> list[str]:
    return [f"{what}: {count}" for what, count in counts.items() if count]


def _compare(results: Mapping[str, tuple[Secret, ...]], baseline: Baseline) -> _Compared:
    compared = _Compared()
    for name, secrets in results.items():
        for secret in first_lines(secrets):
            entry = baseline.entries.get((name, secret.type, secret.hashed))
            if entry is None:
                compared.findings.append(_finding(name, secret, "not in the baseline"))
            elif entry.is_secret is True:
                compared.findings.append(_finding(name, secret, "labelled as a real secret in the baseline"))
            elif entry.is_secret is None:
                compared.unlabelled.append(_finding(name, secret, "in the baseline, and nobody has labelled it"))
            else:
                compared.labelled += 1
    return compared


def _finding(name: str, secret: Secret, message: str) -> Finding:
    return Finding(
        rule=secret.type, message=f"{secret.type}: {message}", path=name, line=secret.line, severity=Severity.HIGH
    )
