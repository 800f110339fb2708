"""Who may write and who may read."""

from __future__ import annotations

import base64
import binascii
import hmac

__all__ = ["may_read", "may_write"]


def may_write(authorization: str, token: str) -> bool:
    """Whether `Authorization: Bearer <token>` was sent; compared in constant time."""
    scheme, _, shown = authorization.partition(" ")
    return scheme.lower() == "bearer" and _same(shown.strip(), token)


def may_read(authorization: str, token: str) -> bool:
    """Whether the reader's token was sent, as Bearer or, for browsers, as the password of Basic (any user name)."""
    scheme, _, shown = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(shown.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return False
        return _same(pair.partition(":")[2], token)
    return may_write(authorization, token)


def _same(shown: str, token: str) -> bool:
    return bool(token) and hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode())
