"""The user that HAProxy runs as when the kit runs as root: a program that parses untrusted input needs
no privileges.
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

__all__ = ["unprivileged"]

_SETGID, _SETUID = 6, 7
"""Linux capabilities, capabilities(7)."""


def unprivileged(status: Path = Path("/proc/self/status")) -> tuple[int, int] | None:
    """(uid, gid) of `nobody` for root, None for anybody else, or where root may not change its identity."""
    if os.geteuid() != 0:
        return None
    try:
        mask = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
        if mask is not None and int(mask[1], 16) & (1 << _SETGID | 1 << _SETUID) != 1 << _SETGID | 1 << _SETUID:
            return None
        nobody = pwd.getpwnam("nobody")
    except (OSError, KeyError):
        return None
    return nobody.pw_uid, nobody.pw_gid
