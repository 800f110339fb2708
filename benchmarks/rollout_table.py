"""What a release under load did to its users, from the clients' answers and the release's journal, and the table of
that. Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.load import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.load import Answer

__all__ = ["Case", "Moments", "Row", "Step", "lines", "moments_of", "row_of"]

_GIVEN_BACK = frozenset({"restore", "withdraw", "unroute", "reopen"})
"""The steps after which the old version has all users again."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A version that is released. `behaviour` are variables of the tiny app. `late`: it is well for a minute, so a
    release that ends before that can't notice anything.
    """

    name: str
    behaviour: Mapping[str, object]
    bad: bool = False
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a release's journal. `result` is "done", "failed", … Times are seconds of any one clock."""

    name: str
    result: str
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Moments:
    """When a release set the new version's last share, when it gave up, and when the old version had all users again.
    None: it did not. Seconds.
    """

    full: float | None = None
    aborted: float | None = None
    back: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What users got during one release, and the rollback after it. Counts are requests; None: there is nothing to say.

    `new` are those that the new version answered, `noticed` the seconds from the first of them to the abort. `switch`:
    milliseconds from the new version's last share to the old one's last request. `back`: from the abort to the old
    version at 100 %. `rollback`: from typing `invoke rollback` to the last request that somebody else than the old
    version got. `page`: requests that got the maintenance page, `page_seconds` for how long.
    """

    strategy: str
    target: str
    case: Case
    sent: int
    lost: int
    failed: int
    new: int
    noticed: float | None
    switch: float | None
    back: float | None
    rollback: float | None
    page: int
    page_seconds: float
    exit_code: int
    rollback_exit_code: int | None
    reason: str = ""
    problems: Mapping[str, int]

    @property
    def is_missed(self) -> bool:
        """A bad version has passed that its strategy watches for long enough."""
        return self.case.bad and not self.exit_code and (self.strategy == "canary" or not self.case.late)

    @property
    def is_aborted(self) -> bool:
        """A good version has not passed, or it has and no user got it."""
        return not self.case.bad and (self.exit_code != 0 or not self.new)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "case": self.case.name}


def moments_of(steps: Sequence[Step]) -> Moments:
    raises = [step.began for step in steps if step.name.partition("-")[0] == "raise"]
    failed = [step.ended for step in steps if step.result == "failed"]
    back = [step.ended for step in steps if step.name in _GIVEN_BACK and step.result == "done"]
    return Moments(
        full=raises[-1] if raises else None,
        aborted=failed[0] if failed else None,
        back=back[-1] if back else None,
    )


def row_of(  # noqa: PLR0913 - what was released and what came of it: a row of the table, by keyword
    case: Case,
    answers: Sequence[Answer],
    moments: Moments,
    *,
    strategy: str,
    target: str,
    old: str,
    new: str,
    exit_code: int,
    rollback: tuple[float, int] | None = None,
    reason: str = "",
) -> Row:
    """`old` and `new` are what the versions say. `rollback`: when it was typed, and its exit code."""
    kinds = [kind_of(answer) for answer in answers]
    counts = Counter(kinds)
    of_new = [answer.sent for answer in answers if answer.by_app and answer.text == new]
    pages = [answer.sent for answer, kind in zip(answers, kinds, strict=True) if kind is Kind.MAINTENANCE]
    typed, rollback_exit_code = rollback or (None, None)
    aborted = moments.aborted if exit_code else None
    return Row(
        strategy=strategy,
        target=target,
        case=case,
        sent=len(answers),
        lost=counts[Kind.LOST],
        failed=counts[Kind.FAILED],
        new=len(of_new),
        noticed=max(0.0, aborted - min(of_new)) if aborted is not None and of_new else None,
        switch=None if exit_code or pages else _switch(answers, moments, old, typed),
        back=_millis(aborted, [moments.back, *of_new]) if aborted is not None and moments.back is not None else None,
        rollback=None if typed is None else _millis(typed, [*of_new, *pages]),
        page=len(pages),
        page_seconds=_spans(answers, kinds),
        exit_code=exit_code,
        rollback_exit_code=rollback_exit_code,
        reason=reason,
        problems=Counter(answer.problem for answer, kind in zip(answers, kinds, strict=True) if kind is Kind.LOST),
    )


def _switch(answers: Sequence[Answer], moments: Moments, old: str, typed: float | None) -> float | None:
    of_old = [answer.sent for answer in answers if answer.text == old and (typed is None or answer.sent < typed)]
    return None if moments.full is None else _millis(moments.full, of_old)


def _millis(since: float, moments: Sequence[float]) -> float:
    """To the last of the moments; 0 where all were before."""
    return max([0.0, *(1000 * (moment - since) for moment in moments)])


def _spans(answers: Sequence[Answer], kinds: Sequence[Kind]) -> float:
    """Seconds for which users got the maintenance page, over all times that it was shown."""
    total, first, last = 0.0, None, 0.0
    for sent, kind in sorted((answer.sent, kind.value) for answer, kind in zip(answers, kinds, strict=True)):
        if kind == Kind.MAINTENANCE.value:
            first, last = sent if first is None else first, sent
        elif first is not None:
            total, first = total + last - first, None
    return total if first is None else total + last - first


_COLUMNS = (
    ("", "", 12),
    ("sent", "", 7),
    ("lost", "", 5),
    ("failed", "", 7),
    ("new", "", 7),
    ("noticed", "s", 8),
    ("switch", "ms", 7),
    ("back", "ms", 6),
    ("rollback", "ms", 9),
    ("page", "s", 5),
    ("exit", "", 5),
)
"""Title, unit, width."""


def lines(rows: Sequence[Row]) -> list[str]:
    """The table, 78 columns wide, with a headline for each strategy on each target."""
    found = [_joined([title for title, _, _ in _COLUMNS]), _joined([unit for _, unit, _ in _COLUMNS])]
    headline = ""
    for row in rows:
        if (said := f"{row.strategy}, {row.target}") != headline:
            headline = said
            found.append(headline)
        found.append(_joined(_cells(row)))
    return found


def _joined(cells: Sequence[str]) -> str:
    widths = [width for _, _, width in _COLUMNS]
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "".join([cells[0].ljust(widths[0]), *others]).rstrip()


def _cells(row: Row) -> list[str]:
    codes = f"{row.exit_code}" if not row.rollback_exit_code else f"{row.exit_code}, {row.rollback_exit_code}"
    return [
        f" {row.case.name}",
        f"{row.sent:,}",
        f"{row.lost:,}",
        f"{row.failed:,}",
        f"{row.new:,}",
        _noticed(row),
        _number(row.switch),
        _number(row.back),
        _number(row.rollback),
        f"{row.page_seconds:.1f}" if row.page else "",
        codes,
    ]


def _noticed(row: Row) -> str:
    """ "before": no user had it."""
    if row.noticed is not None:
        return f"{row.noticed:.1f}"
    if row.exit_code:
        return "before"
    return "no" if row.case.bad else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
