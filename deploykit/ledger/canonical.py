"""The one way in which the ledger writes JSON, and the hash that chains its entries.

Canonical JSON has keys sorted by code point, no whitespace, and UTF-8 without escapes beyond those that JSON demands.
Numbers are written as by Python's `json`: the shortest decimal that reads back as the same double. NaN and infinities
are refused.

The hash of an entry is the lower-case hexadecimal SHA-256 over the canonical JSON of this array:

    ["deploykit-ledger-1", app, environment, sequence, at, kind, release, payload, previous]

where `at` is a number with a decimal point (UTC epoch seconds). `payload` is the canonical JSON of the payload *as a
string*, so that every stored byte counts. `previous` is the hash of the entry before, `""` for the first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from deploykit.model import Secret

__all__ = ["clean", "digest", "dumps", "entry_hash", "plain"]

_FORM = "deploykit-ledger-1"


def clean(text: str) -> str:
    """Replace what no database stores as text: NUL, and the lone surrogates that undecodable output leaves behind."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def plain(value: Any) -> Any:
    """A copy of `value` made of dict, list, str, int, float, bool and None alone.

    Raises TypeError for everything else; a Secret is detected, since it must never be written into the ledger.
    """
    if isinstance(value, Secret):
        raise TypeError("a Secret is never written to the ledger")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _finite(float(value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    raise TypeError(f"the ledger stores JSON, and {type(value).__name__} is no JSON type")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the ledger stores JSON objects, and their keys are strings, not {type(key).__name__}")
    return clean(key)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TypeError(f"the ledger stores JSON, which has no word for {number}")
    return number


def dumps(value: Any) -> str:
    """Canonical JSON of a value that `plain` has seen."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    # Text that a tampered database hands back may hold lone surrogates; it has a hash too, only never the right one.
    return hashlib.sha256(dumps(value).encode("utf-8", "surrogatepass")).hexdigest()


def entry_hash(  # noqa: PLR0913 (these are the fields that the hash covers)
    *, app: str, environment: str, sequence: int, at: float, kind: str, release: str, payload: str, previous: str
) -> str:
    """The hash of one entry; `payload` is its canonical JSON."""
    return digest([_FORM, app, environment, sequence, float(at), kind, release, payload, previous])
