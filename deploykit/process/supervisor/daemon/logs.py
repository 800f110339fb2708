"""The programs' log files: appended to by the programs, rotated by the supervisor."""

# ruff: noqa: PTH103, PTH105, PTH116, PTH120 - see `folder`

from __future__ import annotations

import contextlib
import os
import traceback


def open_log(path: str) -> int:
    """The descriptor to append by. Raises OSError."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(path: str, message: str) -> None:
    """Append a message to the program's own log."""
    with contextlib.suppress(OSError):
        fd = open_log(path)
        os.write(fd, f"[supervisor] {message}\n".encode())
        os.close(fd)


def rotate(path: str, limit: int) -> None:
    """Copy a log that has grown past `limit` bytes to `<path>.1` and truncate it; its writer appends."""
    import shutil  # a tenth of a start, and seldom needed

    try:
        if os.stat(path).st_size <= limit:
            return
        shutil.copyfile(path, f"{path}.new")
        os.replace(f"{path}.new", f"{path}.1")
        os.truncate(path, 0)
    except OSError:
        traceback.print_exc()
