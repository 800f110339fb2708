"""Count tests from the JUnit XML that pytest writes, without a plug-in in the project's own pytest."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import Finding, InconclusiveError, Severity

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Counts", "read_counts"]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the tests. `ran` are those whose body was executed: passed, failed, or failed as expected.

    `skipped` are names with their reasons; `failures` are findings, one for each failure or error. `repeated` are the
    names that the report has more than once (a test that was tried again, or one with subtests); each counts once.
    """

    ran: int
    skipped: tuple[str, ...]
    failures: tuple[Finding, ...]
    repeated: tuple[str, ...] = ()
    expected_failures: int = 0
    """Of those that ran, how many failed as their mark `xfail` expects."""


def read_counts(report: Path) -> Counts:
    """Read pytest's JUnit XML. Raises InconclusiveError when it is missing, cut off, or contradicts itself."""
    try:
        # pytest wrote this file a moment ago, so it is not somebody else's XML.
        root = ET.parse(report).getroot()  # noqa: S314  # nosec B314
    except (OSError, ET.ParseError) as error:
        raise InconclusiveError(
            "pytest left no readable report of what it ran", details=[str(error)], next_step="look at pytest's output"
        ) from error
    ran: Counter[str] = Counter()
    skipped, failures, expected = [], [], set()
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}".strip(":")
        problems = [child for child in case if child.tag in {"failure", "error"}]
        skip = case.find("skipped")
        if problems:
            failures += [_finding(name, case, problem) for problem in problems]
        if skip is not None and skip.get("type") != "pytest.xfail":
            skipped.append(f"{name} ({skip.get('message', '')})")
        else:
            ran[name] += 1
            if skip is not None:
                expected.add(name)
    announced = sum(int(suite.get("tests", "0")) for suite in root.iter("testsuite"))
    if announced and not ran and not skipped:
        raise InconclusiveError(
            f"pytest's report announces {announced} tests and lists none", next_step="look at pytest's output"
        )
    repeated = tuple(name for name, times in ran.items() if times > 1)
    return Counts(
        ran=len(ran),
        skipped=tuple(skipped),
        failures=tuple(failures),
        repeated=repeated,
        expected_failures=len(expected),
    )


def _finding(name: str, case: ET.Element, problem: ET.Element) -> Finding:
    first = (problem.get("message") or (problem.text or "").strip() or problem.tag).splitlines()[0]
    path = case.get("file", "") or _path(case.get("classname", ""))
    return Finding(
        rule="test-error" if problem.tag == "error" else "test-failed",
        message=f"{name}: {first[:300]}",
        path=path,
        line=int(case.get("line", "-1")) + 1,
        severity=Severity.UNKNOWN,
    )


def _path(classname: str) -> str:
    """The file of `tests.unit.test_x.TestThing`: the dotted name up to the module."""
    parts = classname.split(".")
    module = [index for index, part in enumerate(parts) if part.startswith("test_") or part.endswith("_test")]
    return "/".join(parts[: module[-1] + 1]) + ".py" if module else ""
