"""What every command says that can't do what was typed."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["refused"]


def refused(ran: Any, code: int, *words: str, next_step: str) -> None:
    """One error, in a sentence, with what to type next; nothing on standard output, and no traceback."""
    assert ran.code == code, ran.both
    assert "Traceback" not in ran.both
    assert ran.out == ""
    assert len(re.findall(r"^error: ", ran.err, re.MULTILINE)) == 1, ran.err
    said = " ".join(ran.err.split())
    for word in words:
        assert word in said, f"{word!r} is not in\n{ran.err}"
    _, found, after = said.rpartition("next: ")
    assert found, ran.err
    assert next_step in after, ran.err
