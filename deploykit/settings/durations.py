"""Spans of time in settings: numbers of seconds, or texts such as "10s"."""

from __future__ import annotations

import re

__all__ = ["DURATION_PATTERN", "IS_DURATION", "parse_duration"]

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
IS_DURATION = "x-duration"
"""Key of a node in a JSON Schema: this number of seconds may also be written as a text."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_duration(value: object) -> object:
    """Seconds from a text such as "400ms", "10s", "5m", "2h" or "1d". Anything else is returned as it is."""
    if isinstance(value, str) and re.match(DURATION_PATTERN, value):
        number = value.rstrip("msdh")
        return float(number) * _UNITS[value[len(number) :]]
    return value
