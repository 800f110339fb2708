"""Which weights give a version its share of the traffic, and which routes keep a user on one version. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FULL_WEIGHT", "TESTER", "USERS", "routes", "share_of", "weights"]

FULL_WEIGHT = 100
"""The weight of each instance of a version that has all of the traffic."""
_MAX_WEIGHT = 256
"""HAProxy's highest weight."""
TESTER = "tester"
"""The key of the route for testers; the others are `USERS`."""
USERS = 100
"""A user who is kept on one version has a number from 0 to 99."""


def weights(share: float, candidate: Sequence[str], stable: Sequence[str]) -> dict[str, int]:
    """The weight of each instance, so that the candidate's get `share` percent of the traffic, or the next less that
    whole weights allow.

    Where there are so many of them that weight 1 each would be more, only some of them get traffic. Raises ValueError
    for a share that is not above 0 and at most 100, and for one that is too small for any weight.
    """
    wanted = Fraction(share).limit_denominator(1_000) / 100
    if not 0 < wanted <= 1 or not candidate:
        raise ValueError(f"a share is above 0 and at most 100 percent: {share}")
    if wanted == 1 or not stable:
        return {**dict.fromkeys(candidate, FULL_WEIGHT), **dict.fromkeys(stable, 0)}
    for count in range(len(candidate), 0, -1):
        if (pair := _pair(wanted, count, len(stable))) is not None:
            new, old = pair
            given = {name: new if place < count else 0 for place, name in enumerate(candidate)}
            return {**given, **dict.fromkeys(stable, old)}
    raise ValueError(f"{share:g} % is less than the smallest share that weights can give")


def _pair(wanted: Fraction, new_count: int, old_count: int) -> tuple[int, int] | None:
    """The weights of each new and each old instance that come nearest to the share without exceeding it."""
    best: tuple[Fraction, int, int] | None = None
    # Of pairs that are as good, the one that reads like percentages: 5 and 95.
    for old in (*range(FULL_WEIGHT - 1, 0, -1), *range(FULL_WEIGHT, _MAX_WEIGHT + 1)):
        new = min(int(wanted * old_count * old / ((1 - wanted) * new_count)), _MAX_WEIGHT)
        share = Fraction(new_count * new, new_count * new + old_count * old)
        if new and (best is None or share > best[0]):
            best = (share, new, old)
    return best[1:] if best is not None else None


def share_of(names: Sequence[str], given: Mapping[str, int]) -> float:
    """The percentage of the traffic that the named instances get by these weights of all; 0 where nobody gets any."""
    total = sum(given.values())
    return 100 * sum(given.get(name, 0) for name in names) / total if total else 0.0


def routes(
    share: float, candidate: Sequence[str], stable: Sequence[str], *, sticky: bool, testers: bool
) -> dict[str, str]:
    """The routes at this share: the instance that testers get, and that of each user's number.

    Users with the lowest numbers get the candidate. So a larger share moves users to it, and none away from it.
    """
    found = {TESTER: candidate[0]} if testers else {}
    if not sticky:
        return found
    moved = int(share) if stable else USERS
    numbers = {
        str(user): candidate[user % len(candidate)] if user < moved else stable[user % len(stable)]
        for user in range(USERS)
    }
    return {**found, **numbers}
