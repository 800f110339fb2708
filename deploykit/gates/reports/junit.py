"""JUnit XML: each failing finding is a failed case, a gate that could not judge is a case with an error."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from deploykit.gates.reports.common import failing, place, was_judged
from deploykit.model.printable import printable

if TYPE_CHECKING:
    from deploykit.model import Verdict

__all__ = ["as_junit"]

_NOT_XML = re.compile("[\ufffe\uffff]")  # what `printable` leaves


def as_junit(verdict: Verdict) -> str:
    """The verdict as one suite. It is never empty, since readers take a suite without cases for a success."""
    suite = ET.Element("testsuite", name=f"deploykit.{verdict.gate}")
    problems = failing(verdict)
    for finding in problems:
        path, line = place(finding)
        case = _case(suite, path, f"{finding.rule} line {line}")
        case.set("file", _plain(path))
        case.set("line", str(line))
        failure = ET.SubElement(case, "failure", type=_plain(finding.rule), message=_plain(finding.message))
        failure.text = _plain(f"{path}:{line}: {finding.rule} {finding.message}", finding.fix)
    if not was_judged(verdict):
        error = ET.SubElement(
            _case(suite, "deploykit", verdict.gate),
            "error",
            type=verdict.outcome.value,
            message=_plain(verdict.reason or verdict.outcome.value),
        )
        error.text = _plain(verdict.reason, *verdict.evidence.notes, verdict.next_step)
    elif not problems:
        _case(suite, "deploykit", verdict.gate).set("time", f"{verdict.evidence.seconds:.3f}")
    evidence = verdict.evidence
    said = ET.SubElement(suite, "system-out")
    seen = f"looked at {evidence.looked_at} {evidence.unit} with {evidence.tool} {evidence.tool_version}".rstrip()
    said.text = _plain(seen, *evidence.notes)
    counts = {
        "tests": len(suite.findall("testcase")),
        "failures": len(problems),
        "errors": len(suite.findall("testcase/error")),
        "skipped": 0,
    }
    suites = ET.Element("testsuites", name="deploykit")
    suites.append(suite)
    for element in (suites, suite):
        for name, count in counts.items():
            element.set(name, str(count))
        element.set("time", f"{evidence.seconds:.3f}")
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _case(suite: ET.Element, where: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_plain(where), name=_plain(name))


def _plain(*lines: str) -> str:
    """Lines without the characters that XML can't carry, whatever a tool printed; empty ones are left out."""
    return "\n".join(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", printable(line, keep="\n\t")) for line in lines if line)
