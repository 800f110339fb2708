"""Seals on JSON: only who reads the key of a state folder can have made one.

A seal is HMAC-SHA-256 (RFC 2104) over the canonical JSON of an object without its `seal`. The key is the file
`seal.key` of the state folder, 32 random bytes, made on first use with mode 0600. Every process that can read
it, those of its owner and of root, can make seals.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shlex
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELD", "is_sealed", "sealed"]

FIELD = "seal"
_KEY = "seal.key"
_KEY_BYTES = 32


def sealed(content: Mapping[str, Any], state: Path) -> dict[str, Any]:
    """The JSON object with its seal by the key of the state folder.

    Raises OSError when the key can't be made or read, UsageError when it is not this user's alone.
    """
    plain: dict[str, Any] = json.loads(json.dumps({key: value for key, value in content.items() if key != FIELD}))
    return {**plain, FIELD: _seal(plain, _key(state, make=True))}


def is_sealed(content: Mapping[str, Any], state: Path) -> bool:
    """Whether the object is as it was when it was sealed by that key. Any doubt is a no."""
    given = content.get(FIELD)
    try:
        plain = {key: value for key, value in content.items() if key != FIELD}
        return isinstance(given, str) and hmac.compare_digest(given, _seal(plain, _key(state, make=False)))
    except (OSError, UsageError, ValueError, TypeError, RecursionError):
        return False


def _seal(content: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(state: Path, *, make: bool) -> bytes:
    """The key. If two processes make it at once, both use the first one."""
    path = state / _KEY
    if make and not path.exists():
        state.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=state)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    with path.open("rb") as stream:
        seen = os.fstat(stream.fileno())
        key = stream.read(_KEY_BYTES + 1)
    private = seen.st_uid == os.geteuid() and not stat.S_IMODE(seen.st_mode) & 0o077
    if not private or len(key) != _KEY_BYTES:
        raise UsageError(
            f"the key {path} is not {'whole' if private else 'readable by you alone'}, so its seals prove nothing",
            next_step=f"rm {shlex.quote(str(path))}   (gates that passed run again)",
        )
    return key
