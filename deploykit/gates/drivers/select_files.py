"""Chooses the files in which bandit could say something that ruff doesn't, by a look at their text.

Part of `scan_code.py`, and apart from it since it needs no bandit: where it chooses no file, bandit is not even
imported, which is most of what a hook waits for. Only the standard library is here: it is run by the Python that has
bandit.
"""

from __future__ import annotations

import bisect
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_BIDI = [character.encode() for character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f"]


def _look(words: tuple[bytes, ...], pattern: bytes | None = None) -> tuple[tuple[bytes, ...], re.Pattern[bytes] | None]:
    return words, re.compile(pattern) if pattern else None


LOOKS = [
    # A parameter, a function or an import of that name: ruff knows better, bandit goes by the name.
    _look((b"eval(", b"exec("), rb"\bdef (?:eval|exec)\(|[(,]\s*(?:exec|eval)\s*[=,:)]|import[^\n]*\b(?:eval|exec)\b"),
    _look((b".chmod(",), rb"(?<!\bos)\.chmod\([^\n]*,\s*0"),
    _look((b"tempfile",), rb"[\"'](?:/tmp|/var/tmp|/dev/shm)"),
    _look((b"mark_safe", b"SafeText", b"SafeString", b"SafeUnicode", b"SafeBytes"), rb"(?:mark_safe|Safe[A-Z]\w+)\("),
    _look((b"urlopen", b"urlretrieve", b"URLopener"), rb"(?:urlopen|urlretrieve|URLopener)\("),
    _look((b"xmlrpc", b"telnetlib", b"ftplib", b"twcgi", b"wsgiref", b"pyghmi")),
    _look((b"xml.",), rb"\bxml\.(?:etree|sax|dom)"),
    _look((b"Crypto",), rb"\bCrypto(?:dome)?\."),
    _look((b"SSLv", b"TLSv1_METHOD", b"TLSv1_1", b"PROTOCOL_TLSv1")),
    _look((b"yaml",), rb"\bload\("),
    _look((b"exec_command", b"set_missing_host_key_policy"), rb"paramiko"),
    _look((b"jinja2",), rb"\bEnvironment\("),
    _look((b"mako",), rb"\bTemplate\("),
    _look((b"shell",), rb"\bshell\s*=(?!=)"),
    _look((b"random.",), rb"\brandom\.(?:sample|getrandbits)\("),
    _look((b"torch",), rb"\bload\("),
    _look(
        (b"transformers", b"datasets", b"huggingface_hub"),
        rb"from_pretrained|load_dataset|hf_hub_download|snapshot_download|repository_id",
    ),
    _look((b"flask",), rb"\bdebug\s*="),
    _look((b"extractall",), rb"tarfile"),
    _look((b"pysnmp",)),
]
_LITERAL = re.compile(
    rb"""#[^\n]*|([rbuft]{0,2})("{3}(?:[^"\\]|\\.|"(?!""))*"{3}|'{3}(?:[^'\\]|\\.|'(?!''))*'{3}"""
    rb"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""",
    re.IGNORECASE | re.DOTALL,
)
_SQL = (
    (b"select", re.compile(rb"(?<=select)(?:\s|\\n|[\"'])[^;]*?(?:\b|\\[nt])from(?:\s|\\n)")),
    (b"delete", re.compile(rb"(?<=delete)\s+from\s")),
    (b"insert", re.compile(rb"(?<=insert)\s+into\s")),
    (b"update", re.compile(rb"(?<=update)(?:\s|\\n|[\"'])[^;]*?(?:\b|\\[nt])set(?:\s|\\n)")),
)
_SQL_AT_START = re.compile(rb"[rbuft]{0,2}[\"']+(?:\s|\\n)*(?:select|delete|update)\s", re.IGNORECASE)
_FORMED = re.compile(rb"[\s)\\]*(?:%(?!=)|\.format\b|\.replace\b|\+)")
_GLUED = re.compile(rb"[+%]\s*\(?\s*$")
_WINDOW = 3000
_FEW = 50


def chosen(content: bytes) -> bool:
    """Whether bandit could say something here that ruff does not."""
    for words, pattern in LOOKS:
        if any(word in content for word in words) and (pattern is None or pattern.search(content)):
            return True
    return has_bidi(content) or _has_formed_sql(content)


def has_bidi(content: bytes) -> bool:
    """Whether B613 could find something; in a file of another encoding than UTF-8 it always could."""
    if content.isascii():
        return False
    return any(character in content for character in _BIDI) or (
        b"coding" in content[:400] and b"utf-8" not in content[:400].lower()
    )


def _has_formed_sql(content: bytes) -> bool:
    """Whether a string with SQL is formed of parts. ruff sees those of one line that begin with the SQL word."""
    hits = sql_words(content.lower())
    if not hits:
        return False
    last = hits[-1]
    for found in _LITERAL.finditer(content):
        start, end = found.span()
        if start > last:
            return False
        at = bisect.bisect_left(hits, start)
        if found[2] is None or hits[at] >= end:
            continue
        if _is_formed(content, start, end, found[1]) and not (
            _SQL_AT_START.match(content, start) and b"\n" not in found[2] and not _continues(content, start, end)
        ):
            return True
    return False


def sql_words(small: bytes) -> list[int]:
    """Where a word of SQL is that its second word follows, in text of small letters."""
    hits = []
    for word, rest in _SQL:
        at = small.find(word)
        while at >= 0:
            begins = not small[at - 1 : at].isalpha() or small[at - 2 : at] in {b"\\n", b"\\t"}
            if begins and rest.match(small, at + len(word), at + _WINDOW):
                hits.append(at)
            at = small.find(word, at + len(word))
    return sorted(hits)


def _is_formed(content: bytes, start: int, end: int, prefix: bytes) -> bool:
    if b"f" in prefix.lower() or _GLUED.search(content, max(0, start - 40), start):
        return True
    while not _FORMED.match(content, end):
        rest = re.compile(rb"[\s\\]*").match(content, end)
        following = _LITERAL.match(content, rest.end() if rest else end)
        if following is None:
            return False
        if following[2] is not None and b"f" in following[1].lower():
            return True
        end = following.end()
    return True


def _continues(content: bytes, start: int, end: int) -> bool:
    """Whether the expression goes on over lines, where ruff and bandit name different ones."""
    before = content.rfind(b"\n", 0, start)
    after = content.find(b"\n", end)
    return (
        content[before + 1 : start].strip() == b""
        or content[end : after if after >= 0 else None].strip(b" )\t") in {b"", b"+", b"%"}
    )  # fmt: skip


NOSEC = re.compile(rb"#\s*nosec")


def lines_of(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n") and bool(content))


def answer_without_bandit(task: dict[str, Any]) -> dict[str, Any] | None:
    """The whole answer to a task of which no file is chosen and nothing is configured; None: bandit has to be asked."""
    if (
        task["config"]
        or task["exclude"]
        or task["skips"]
        or task["tests"]
        or task["whole"]
        or len(task["files"]) > _FEW
    ):
        return None
    answers = {}
    for name in task["files"]:
        try:
            content = Path(name).read_bytes()
        except OSError:
            return None
        if NOSEC.search(content) or chosen(content):
            return None
        answers[name] = {"lines": lines_of(content), "fate": "left"}
    return {
        "version": version("bandit"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "tests": [],
        "skips": [],
        "assert_skips": [],
        "files": answers,
    }
