"""A clock that counts the time in which the machine is suspended as well."""

from __future__ import annotations

import time

from .identity import boot_id


def clock() -> tuple[str, float]:
    """Which boot of this machine it is, and the seconds since then. Only those of one boot can be compared.

    Where there is no such clock (macOS): no name, and the seconds of the wall clock.
    """
    try:
        return boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return "", time.time()


def seconds_left(boot: str, until: float) -> float:
    """How long it is until that moment of that boot; 0 or less: it has passed. Another boot's moments have passed."""
    now_boot, now = clock()
    return until - now if boot == now_boot else 0.0
