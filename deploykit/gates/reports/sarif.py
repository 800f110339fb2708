"""SARIF 2.1.0 (the OASIS standard), as GitHub's code scanning and editors read it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from deploykit.gates.reports.common import fingerprints, place, was_judged
from deploykit.model import Finding, Severity, Verdict
from deploykit.model.printable import printable

__all__ = ["as_sarif"]

_LEVELS = {
    Severity.LOW: "note",
    Severity.MODERATE: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
    Severity.UNKNOWN: "error",
}
# GitHub's bands: critical above 9.0, high from 7.0, medium from 4.0, low below.
_SCORES = {Severity.LOW: "2.0", Severity.MODERATE: "5.5", Severity.HIGH: "8.0", Severity.CRITICAL: "9.5"}


def as_sarif(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a SARIF log with one run. A gate that could not judge says so: `executionSuccessful` is false."""
    rules: dict[str, dict[str, Any]] = {}
    for finding in verdict.findings:
        _describe(rules.setdefault(finding.rule, {"id": finding.rule}), finding)
    order = list(rules)
    names = fingerprints(verdict.gate, verdict.findings)
    evidence = verdict.evidence
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": f"deploykit {verdict.gate}",
                "rules": list(rules.values()),
                "properties": {"tool": evidence.tool, "toolVersion": evidence.tool_version},
            }
        },
        # Uploads of one category replace each other, so each gate is one of its own.
        "automationDetails": {"id": f"deploykit/{verdict.gate}/"},
        "invocations": [_invocation(verdict)],
        "results": [
            _result(finding, order.index(finding.rule), name)
            for finding, name in zip(verdict.findings, names, strict=True)
        ],
        "properties": {
            "outcome": verdict.outcome.value,
            "tree": verdict.tree,
            "lookedAt": evidence.looked_at,
            "unit": evidence.unit,
            "seconds": evidence.seconds,
            "settings": {name: str(value) for name, value in evidence.settings.items()},
            "notes": list(map(printable, evidence.notes)),
        },
    }
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _describe(rule: dict[str, Any], finding: Finding) -> None:
    score = _SCORES.get(finding.severity)
    known = rule.get("properties", {}).get("security-severity", "0")
    if score is not None and float(score) > float(known):
        rule["properties"] = {"security-severity": score}


def _invocation(verdict: Verdict) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": was_judged(verdict),
        "exitCode": verdict.outcome.exit_code,
        "exitCodeDescription": verdict.outcome.value,
    }
    if not was_judged(verdict):
        text = verdict.reason or verdict.outcome.value
        if verdict.next_step:
            text += f"; next: {verdict.next_step}"
        text = printable(text, keep="\n")
        invocation["toolExecutionNotifications"] = [{"level": "error", "message": {"text": text}}]
    return invocation


def _result(finding: Finding, index: int, name: str) -> dict[str, Any]:
    path, line = place(finding)
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": printable(finding.message or finding.rule, keep="\n")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": line},
                }
            }
        ],
        "partialFingerprints": {"deploykit/v1": name},
        "properties": {"severity": finding.severity.value},
    }
    if finding.fix:
        result["properties"]["fix"] = printable(finding.fix)
    return result
