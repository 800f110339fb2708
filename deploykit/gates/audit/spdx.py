"""Licence expressions (https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/): whether a list of wanted ones
covers one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CLASSIFIERS", "canonical", "covers", "names_of"]

_TOKEN = re.compile(r"\(|\)|[^\s()]+")

CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PostgreSQL License": "PostgreSQL",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
}
"""PyPI's classifiers (their last part) as SPDX identifiers. "BSD License" does not say which: the usual one is taken,
and the verdict names the classifier.
"""


def canonical(text: str) -> str | None:
    """The expression as SPDX writes it, None when it is none."""
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def names_of(expression: str) -> list[str]:
    """The licences that a canonical expression names, each with its exception."""
    words = [word for word in _TOKEN.findall(expression) if word not in {"(", ")"}]
    return [name for name in re.split(r" (?:AND|OR) ", " ".join(words)) if name]


def _matches(licence: str, pattern: str) -> bool:
    """Whether one identifier is what a setting names: the same, or of the family that a trailing `*` leaves open
    (`GPL-*`).
    """
    licence, pattern = licence.lower(), pattern.lower()
    return licence.startswith(pattern[:-1]) if pattern.endswith("*") else licence == pattern


def covers(expression: str, wanted: Sequence[str]) -> bool:
    """Whether the expression can be met by licences of the list alone: of `OR` one side is enough, of `AND` both are
    needed.

    `A WITH exception` is met by `A` as by itself. The expression must be canonical.
    """
    tokens = _TOKEN.findall(expression)

    def is_wanted(name: str) -> bool:
        plain = name.split(" WITH ", maxsplit=1)[0]
        return any(_matches(name, one) or _matches(plain, one) for one in wanted)

    value, rest = _either(tokens, is_wanted)
    return value and not rest


def _either(tokens: list[str], is_wanted: Callable[[str], bool]) -> tuple[bool, list[str]]:
    value, rest = _both(tokens, is_wanted)
    while rest and rest[0] == "OR":
        other, rest = _both(rest[1:], is_wanted)
        value = value or other
    return value, rest


def _both(tokens: list[str], is_wanted: Callable[[str], bool]) -> tuple[bool, list[str]]:
    value, rest = _one(tokens, is_wanted)
    while rest and rest[0] == "AND":
        other, rest = _one(rest[1:], is_wanted)
        value = value and other
    return value, rest


def _one(tokens: list[str], is_wanted: Callable[[str], bool]) -> tuple[bool, list[str]]:
    if tokens[0] == "(":
        value, rest = _either(tokens[1:], is_wanted)
        return value, rest[1:]  # the closing one, which a canonical expression has
    if tokens[1:2] == ["WITH"]:
        return is_wanted(" ".join(tokens[:3])), tokens[3:]
    return is_wanted(tokens[0]), tokens[1:]
