"""detect-secrets' default filters: which files, lines and values are no findings (Yelp detect-secrets 1.5, Apache-2.0).

The rules and their quirks are detect-secrets' own, `filters/heuristic.py` and `filters/allowlist.py`; here each is a
plain function, called only where a detector matched.
"""

from __future__ import annotations

import os.path
import re
import string
from functools import lru_cache

__all__ = [
    "FILE_FILTERS",
    "LINE_FILTERS",
    "VALUE_FILTERS",
    "allowlisted",
    "is_likely_id",
    "nextline_regex",
]

_NON_TEXT = frozenset(
    [
        ".7z",
        ".bin",
        ".bmp",
        ".bz2",
        ".class",
        ".css",
        ".dmg",
        ".doc",
        ".eot",
        ".exe",
        ".gif",
        ".gz",
        ".ico",
        ".iml",
        ".ipr",
        ".iws",
        ".jar",
        ".jpg",
        ".jpeg",
        ".lock",
        ".map",
        ".mo",
        ".pdf",
        ".png",
        ".prefs",
        ".psd",
        ".rar",
        ".realm",
        ".s7z",
        ".sum",
        ".svg",
        ".tar",
        ".tif",
        ".tiff",
        ".ttf",
        ".webp",
        ".woff",
        ".xls",
        ".xlsx",
        ".zip",
    ]
)
_LOCK_FILES = frozenset({
    "Brewfile.lock.json", "Cartfile.resolved", "composer.lock", "Gemfile.lock", "Package.resolved", "package-lock.json",
    "Podfile.lock", "yarn.lock", "Pipfile.lock", "poetry.lock", "Cargo.lock", "packages.lock.json",
})  # fmt: skip
_SEQUENCES = (
    string.ascii_uppercase * 2 + string.digits + "+/",
    string.digits + string.ascii_uppercase * 2 + "+/",
    (string.digits + string.ascii_uppercase) * 2,
    string.digits * 2,
    string.hexdigits.upper() * 2,
    string.ascii_uppercase + "=/",
)
_UUID = re.compile(r"[a-f0-9]{8}\-[a-f0-9]{4}\-[a-f0-9]{4}\-[a-f0-9]{4}\-[a-f0-9]{12}", re.IGNORECASE)
_ID = re.compile(r"(^(id|myid|userid)|_id)s?[^a-z0-9]", re.IGNORECASE)
_INDIRECT = re.compile(r"([^\v=!:]*)\s*(:=?|[!=]{1,3})\s*([\w.-]+[\[\(][^\v]*[\]\)])")
_INDIRECT_LIMIT = 1000  # characters of a line; the regex takes for ever on longer ones
_COMMENTS = (("#", ""), ("//", ""), (r"/\*", r" *\*/"), ("'", ""), ("--", ""), (r"<!--[# \t]*?", " *?-->"))


def is_non_text(path: str) -> bool:
    return os.path.splitext(path)[1] in _NON_TEXT  # noqa: PTH122 - a million calls, and no Path


def is_lock_file(path: str) -> bool:
    return path.rpartition("/")[2] in _LOCK_FILES


def is_swagger(path: str) -> bool:
    return "swagger" in path


def is_sequential(value: str) -> bool:
    upper = value.upper()
    return any(upper in sequence for sequence in _SEQUENCES)


def is_uuid(value: str) -> bool:
    return _UUID.search(value) is not None


def is_templated(value: str) -> bool:
    """`{secret}`, `<secret>`, `${secret}`; and, as detect-secrets has it, any value of one character, or of none."""
    try:
        return (
            (value[0] == "{" and value[-1] == "}")
            or (value[0] == "<" and value[-1] == ">")
            or (value[0] == "$" and value[1] == "{" and value[-1] == "}")
        )
    except IndexError:
        return True


def has_dollar_prefix(value: str) -> bool:
    return value.startswith("$")


def has_no_letter(value: str) -> bool:
    return not set(string.ascii_letters) & set(value)


def is_indirect_reference(line: str) -> bool:
    """`secret = get_secret()`, `secret = request.headers["key"]`."""
    return len(line) <= _INDIRECT_LIMIT and _INDIRECT.search(line) is not None


def is_likely_id(value: str, line: str) -> bool:
    """`user_id = "…"`. Asked only of detectors that are not made of regular expressions for one provider's tokens."""
    index = line.find(value)
    return index >= 0 and _ID.search(line, 0, index) is not None


@lru_cache
def _pragma(comment: tuple[str, str], *, nextline: bool) -> re.Pattern[str]:
    start, end = comment
    before, word, after = ("^", "allowlist", "[ -]nextline") if nextline else ("", "(allow|white)list", "")
    return re.compile(rf"{before}{start}[ \t]*{end} *pragma: ?{word}{after}[ -]secret.*?{end}[ \t]*$")


def nextline_regex(start: str) -> re.Pattern[str]:
    """What a line looks like that allows the line after it, in a language whose comments begin with `start`."""
    return _pragma((start, ""), nextline=True)


def allowlisted(line: str, previous: str, *, yaml: bool) -> bool:
    """Whether the line contains `# pragma: allowlist secret`, or its `nextline` form is the line before.

    `yaml`: the file's extension is `.yaml`, where only `#` begins a comment.
    """
    comments = _COMMENTS[:1] if yaml else _COMMENTS
    if "pragma:" in line and any(_pragma(comment, nextline=False).search(line) for comment in comments):
        return True
    return "pragma:" in previous and any(_pragma(comment, nextline=True).search(previous) for comment in comments)


_HEURISTIC = "detect_secrets.filters.heuristic."
FILE_FILTERS = {
    f"{_HEURISTIC}is_non_text_file": is_non_text,
    f"{_HEURISTIC}is_lock_file": is_lock_file,
    f"{_HEURISTIC}is_swagger_file": is_swagger,
}
VALUE_FILTERS = {
    f"{_HEURISTIC}is_sequential_string": is_sequential,
    f"{_HEURISTIC}is_potential_uuid": is_uuid,
    f"{_HEURISTIC}is_templated_secret": is_templated,
    f"{_HEURISTIC}is_prefixed_with_dollar_sign": has_dollar_prefix,
    f"{_HEURISTIC}is_not_alphanumeric_string": has_no_letter,
}
LINE_FILTERS = {f"{_HEURISTIC}is_indirect_reference": is_indirect_reference}
