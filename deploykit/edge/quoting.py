"""Text in HAProxy's configuration."""

from __future__ import annotations

import re

__all__ = ["quoted"]

_MEANS_SOMETHING = re.compile(r"[^A-Za-z0-9 <>/=.,:;()!-]")


def quoted(text: str) -> str:
    r"""The text within double quotes, as HAProxy reads it back: what could have a meaning there is written as the
    number of each byte, `\x0a` (HAProxy manual, 2.2). A text with a NUL can't be written.
    """
    return '"' + _MEANS_SOMETHING.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), text) + '"'
