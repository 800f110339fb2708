"""What is computed from `coverage json`: shares of the whole, of packages and of changed lines, and a page for a pull
request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploykit.model import Finding, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.gates.coverage.diff import Changes

__all__ = ["Share", "as_markdown", "changed_share", "package_shares", "ranges"]

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of something ran, in percent against what is wanted (0: nothing is). `missing` are lines by file."""

    what: str
    covered: int
    total: int
    wanted: float
    missing: Mapping[str, tuple[int, ...]]

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.total if self.total else 100.0

    @property
    def is_enough(self) -> bool:
        return self.percent >= self.wanted

    @property
    def shown(self) -> str:
        """The percentage, never rounded up to what is wanted."""
        return f"{math.floor(self.percent * 100) / 100:.2f} %"

    def findings(self, rule: str) -> list[Finding]:
        """Nothing when it is enough; else what is wrong, and the lines that never ran."""
        if self.is_enough:
            return []
        text = f"{self.what}: {self.shown} of {self.total}, and at least {self.wanted:g} % is wanted"
        places = [
            Finding(rule=rule, message=f"never ran: lines {ranges(lines)}", path=path, line=lines[0])
            for path, lines in sorted(self.missing.items(), key=lambda item: (-len(item[1]), item[0]))[:_SHOWN]
        ]
        return [Finding(rule=rule, message=text), *places]


def changed_share(report: Mapping[str, Any], changes: Changes, *, wanted: float) -> tuple[Share, tuple[str, ...]]:
    """The share of changed statements that ran, and the changed files that coverage does not measure."""
    covered = total = 0
    missing = {}
    unmeasured = []
    for path, lines in sorted(changes.lines.items()):
        measured = report["files"].get(path)
        if measured is None:
            unmeasured.append(path)
            continue
        ran, not_run = lines & set(measured["executed_lines"]), lines & set(measured["missing_lines"])
        covered += len(ran)
        total += len(ran) + len(not_run)
        if not_run:
            missing[path] = tuple(sorted(not_run))
    share = Share(
        what=f"statements changed since {changes.base}", covered=covered, total=total, wanted=wanted, missing=missing
    )
    return share, tuple(unmeasured)


def package_shares(report: Mapping[str, Any], packages: Mapping[str, float]) -> list[Share]:
    """The share of each package (`shop.orders`, or the path of a folder), branches included as coverage counts them.

    Raises UsageError for a package of which no file was measured.
    """
    shares = []
    for name, wanted in packages.items():
        folder = name.strip("/") if "/" in name else name.replace(".", "/")
        places = (f"{folder}/", f"src/{folder}/", f"{folder}.py", f"src/{folder}.py")
        files = {path: file for path, file in report["files"].items() if path.startswith(places)}
        summaries = [file["summary"] for file in files.values()]
        total = sum(summary["num_statements"] + summary.get("num_branches", 0) for summary in summaries)
        if not total:
            raise UsageError(
                f"coverage.packages names {name!r}, and no statement of it was measured",
                next_step="write it as the package's dotted name or its folder's path, and check coverage.source",
            )
        shares.append(
            Share(
                what=f"package {name}",
                covered=sum(summary["covered_lines"] + summary.get("covered_branches", 0) for summary in summaries),
                total=total,
                wanted=wanted,
                missing={path: tuple(file["missing_lines"]) for path, file in files.items() if file["missing_lines"]},
            )
        )
    return shares


def ranges(lines: Sequence[int]) -> str:
    """`3-5, 9` for 3, 4, 5, 9."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def as_markdown(shares: Sequence[Share]) -> str:
    """A table for a pull request, and under it the changed lines that never ran."""
    rows = ["## Coverage", "", "| what | ran | of | wanted | |", "|---|---:|---:|---:|---|"]
    for share in shares:
        wanted = f"{share.wanted:g} %" if share.wanted else ""
        shown = share.shown if share.total else "nothing to run"
        rows.append(
            f"| {_cell(share.what)} | {shown} | {share.total} | {wanted} |"
            f" {'' if share.is_enough else '**too little**'} |"
        )
    for share in shares:
        if share.missing and share.what.startswith("statements changed"):
            rows += ["", "Changed lines that never ran:", ""]
            rows += [f"- `{path}`: {ranges(lines)}" for path, lines in sorted(share.missing.items())[:_SHOWN]]
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
