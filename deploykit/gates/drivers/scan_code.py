# ruff: noqa: SLF001 - bandit has no other way in
"""Run by the Python that has bandit: bandit's own rules, on just the files and nodes where they could say what ruff doesn't.

bandit asks each of its rules about each node of each file; nearly all of its time goes there. Here a look at the text
chooses the files (`LOOKS`), and a look at a node's name chooses the nodes; what is left is judged by bandit's own code,
with its own configuration, messages and `# nosec`. In a file that has such a comment all its rules look at the nodes that
the comment reaches, so that it is known which findings of ruff it hides. A file that ruff could not read is judged by
the whole of bandit.

Standard input: `{"files": […], "config": "…", "exclude": […], "skips": […], "tests": […], "whole": […], "processes": 2}`.
Standard output: one object, see `main`; `{"refused": why}` for a configuration that bandit refuses, and
`{"plain": […]}` for one with options of single rules, which only the whole of bandit honours.
"""

from __future__ import annotations

import ast
import bisect
import gc
import io
import json
import logging
import multiprocessing
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

import bandit  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in the tool's environment
from bandit.core import config as configs  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import extension_loader, node_visitor, utils  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import manager as managers  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import test_set as test_sets  # type: ignore[import-not-found,import-untyped,unused-ignore]

RUFFS = frozenset({"B101", "B105", "B106", "B107", "B110", "B112"})
"""Rules that are left to ruff in files that only a look has chosen: they would have to see nearly every file."""

UNDERSTOOD = frozenset({"tests", "skips", "exclude_dirs", "targets", "assert_used"})

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


def chosen(content: bytes) -> bool:
    """Whether bandit could say something here that ruff does not."""
    for words, pattern in LOOKS:
        if any(word in content for word in words) and (pattern is None or pattern.search(content)):
            return True
    return _has_bidi(content) or _has_formed_sql(content)


def _has_bidi(content: bytes) -> bool:
    """Whether B613 could find something; in a file of another encoding than UTF-8 it always could."""
    if content.isascii():
        return False
    return any(character in content for character in _BIDI) or (
        b"coding" in content[:400] and b"utf-8" not in content[:400].lower()
    )


def _has_formed_sql(content: bytes) -> bool:
    """Whether a string with SQL is formed of parts. ruff sees those of one line that begin with the SQL word."""
    hits = _sql_words(content.lower())
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


def _sql_words(small: bytes) -> list[int]:
    """Where a word of SQL stands that its second word follows, in text of small letters."""
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


_NOSEC = re.compile(rb"#\s*nosec")
_NAMES = frozenset({
    "exec", "eval", "new", "CommunityData", "UsmUserData", "exec_command", "extra", "RawSQL", "listen", "load", "Environment",
    "Template", "mark_safe", "SafeText", "SafeUnicode", "SafeString", "SafeBytes", "set_missing_host_key_policy", "generate",
    "generate_private_key", "from_pretrained", "load_dataset", "hf_hub_download", "snapshot_download", "repository_id",
    "Markup", "crypt", "mksalt", "wrap_socket", "Context", "__import__", "import_module",
})  # fmt: skip
_REACHED = frozenset({ast.Assert, ast.Call, ast.Constant, ast.ExceptHandler, ast.FunctionDef})
_KINDS = _REACHED | {ast.Import, ast.ImportFrom}
_LEAVES = frozenset(
    {"ctx", "op", "ops", "id", "attr", "name", "arg", "lineno", "kind", "type_comment", "module", "level"}
)
_TYPES = [kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST)]
_CHILDREN = {
    kind: () if kind is ast.Constant else tuple(name for name in kind._fields if name not in _LEAVES) for kind in _TYPES
}
_CHILDLESS = frozenset(kind for kind in _TYPES if not _CHILDREN[kind] and kind not in _KINDS) | {
    type(None), str, bytes, int, float, complex, bool,
}  # fmt: skip
_WHOLE_MODULES = (b"hashlib", b"requests", b"httpx")
_KEYWORDS = frozenset({"shell", "debug", "method", "ssl_version"})
_BAD_VERSIONS = ("SSLv", "TLSv1")


class FastVisitor(node_visitor.BanditNodeVisitor):  # type: ignore[misc,unused-ignore]
    """bandit's visitor, taken only to the nodes of which a rule could want to know."""

    quals: frozenset[str] = frozenset()
    lasts: frozenset[str] = frozenset()
    """The last names of `quals`, and `_NAMES`."""
    by_prefix = True
    """Whether a module stands in the file all of whose functions are wanted."""
    sql = True
    """Whether words of SQL stand in the file: only then are strings that are formed of parts looked at."""
    comments: frozenset[int] = frozenset()
    """Lines with `# nosec`: what reaches over one of them is looked at by every rule."""

    def process(self, data: bytes) -> None:
        """Judge one file. The rule about whole files (B613) is asked only where there is a character that it looks for."""
        self.generic_visit(ast.parse(data))
        if _has_bidi(data):
            self.context = {
                "file_data": self.fdata,
                "filename": self.fname,
                "lineno": 0,
                "linerange": [0, 1],
                "col_offset": 0,
            }
            self.tester.run_tests(self.context, "File")

    def generic_visit(self, node: ast.AST) -> None:
        # A node's line of parents is one chain of pairs, and is written on the nodes, as bandit wants it, only for those
        # that are looked at: trees without circles are gone when they are dropped.
        stack: list[tuple[Any, Any]] = [(node, None)]
        named: list[Any] = []
        while stack:
            pair = stack.pop()
            parent = pair[0]
            kind = type(parent)
            if kind in _KINDS and self._is_wanted(parent, kind, pair[1]):
                self._look_at(parent, pair[1], named)
            children: list[tuple[Any, Any]] = []
            for name in _CHILDREN[kind]:
                value: Any = getattr(parent, name, None)
                if type(value) is list:
                    children += [(item, pair) for item in value if type(item) not in _CHILDLESS]
                elif type(value) not in _CHILDLESS:
                    children.append((value, pair))
            children.reverse()
            stack += children
        for known in named:
            vars(known).pop("_bandit_parent", None)

    def _is_wanted(self, node: Any, kind: type, above: Any) -> bool:
        wanted = False
        if kind is ast.Call:
            wanted = self._wants_call(node)
        elif kind is ast.Constant:
            wanted = isinstance(node.value, str) and self._wants_string(node, above[0])
        elif kind is ast.Import or kind is ast.ImportFrom:
            return True
        elif kind is ast.FunctionDef:
            defaults = node.args.defaults
            wanted = any(isinstance(default, ast.Attribute) and "v" in default.attr.lower() for default in defaults)
        return wanted or bool(self.comments and kind in _REACHED and self._reaches_comment(node, above[0]))

    def _look_at(self, node: Any, above: Any, named: list[Any]) -> None:
        child, rest = node, above
        while rest is not None and "_bandit_parent" not in vars(child):
            vars(child)["_bandit_parent"] = rest[0]
            named.append(child)
            child, rest = rest
        node._bandit_sibling = None
        self.pre_visit(node)
        self.visit(node)
        self.post_visit(node)

    def _reaches_comment(self, node: Any, parent: Any) -> bool:
        # bandit takes the lines of a string's parent for the string's own.
        whole = parent if isinstance(node, ast.Constant) and hasattr(parent, "lineno") else node
        return any(whole.lineno <= line <= whole.end_lineno for line in self.comments)

    def _wants_call(self, node: Any) -> bool:
        if any(keyword.arg in _KEYWORDS for keyword in node.keywords):
            return True
        # Most calls are told by their last name alone, which an alias can only change when it is all of the name.
        called = node.func
        last = getattr(called, "attr", None)
        if last is not None and not self.by_prefix and last not in self.lasts and not _odd(last):
            return False
        qual = utils.get_call_name(node, self.import_aliases)
        name = qual.rpartition(".")[2]
        return (
            name in _NAMES
            or qual in self.quals
            or "chmod" in name
            or "extractall" in name
            or "hashlib" in qual
            or qual.startswith(("requests", "httpx"))
        )

    def _wants_string(self, node: Any, parent: Any) -> bool:
        if node.value.startswith(("0.0.0.0", "/")):  # noqa: S104 - what B104 looks for
            return True
        if not self.sql:
            return False
        formed = isinstance(parent, ast.Attribute) and parent.attr in {"format", "replace"}
        return formed or isinstance(parent, (ast.BinOp, ast.JoinedStr))


def _odd(name: str) -> bool:
    return "chmod" in name or "extractall" in name


class Scan:
    """bandit's configuration and rules, made once in each process."""

    def __init__(self, task: dict[str, Any]) -> None:
        logging.disable(logging.CRITICAL)  # it reports what it skipped, and the answer says that too
        self.config = configs.BanditConfig(config_file=task["config"] or None)
        self.tests = set(task["tests"]) | set(self.config.get_option("tests") or [])
        self.skips = set(task["skips"]) | set(self.config.get_option("skips") or [])
        self.globs = [*(self.config.get_option("exclude_dirs") or []), *task["exclude"]]
        self.whole = frozenset(task["whole"])
        profile = {"include": set(self.tests), "exclude": set(self.skips)}
        # bandit warns of a rule that there is not, and goes on without it.
        if unknown := sorted(rule for rule in self.tests | self.skips if not extension_loader.MANAGER.check_id(rule)):
            raise ValueError(f"there is no rule {', '.join(unknown)}")
        extension_loader.MANAGER.validate_profile(profile)
        self.manager = managers.BanditManager(self.config, "file", profile=profile)
        few = {"include": self.tests - RUFFS, "exclude": self.skips | RUFFS}
        if self.tests and not few["include"]:
            few["include"] = {"B613"}  # an empty set would mean all
        self.few = test_sets.BanditTestSet(self.config, few)
        self.quals = _qualified_names(self.few)
        self.lasts = _NAMES | {name.rpartition(".")[2] for name in self.quals}

    def look(self, name: str) -> dict[str, Any]:
        """What became of one file: excluded, unreadable, left to ruff, or judged with these results."""
        if not managers._is_file_included(name, ["*"], self.globs, enforce_glob=False):
            return {"fate": "excluded"}
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            return {"fate": "error", "reason": error.strerror or "unreadable"}
        answer: dict[str, Any] = {"lines": content.count(b"\n") + (not content.endswith(b"\n") and bool(content))}
        if name in self.whole:
            return answer | self._judge_wholly(name, content)
        comments = _nosec_comments(content) if b"nosec" in content and _NOSEC.search(content) else {}
        if not comments and not chosen(content):
            return answer | {"fate": "left"}
        return answer | self._judge(name, content, comments)

    def _judge(self, name: str, content: bytes, comments: dict[int, set[str]]) -> dict[str, Any]:
        stream = io.BytesIO(content)
        tests = self.manager.b_ts if comments else self.few
        visitor = FastVisitor(name, stream, None, tests, False, {}, self.manager.metrics)
        visitor.quals, visitor.comments = self.quals, frozenset(comments)
        visitor.lasts = self.lasts
        visitor.by_prefix = any(module in content for module in _WHOLE_MODULES)
        visitor.sql = bool(_sql_words(content.lower()))
        try:
            visitor.process(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return {"fate": "error", "reason": f"{type(error).__name__}: {error}"}
        visitor.tester.nosec_lines = comments
        kept: list[dict[str, Any]] = []
        hidden: list[dict[str, Any]] = []
        for issue in visitor.tester.results:
            (hidden if _is_hidden(visitor.tester, issue) else kept).append(_result(issue))
        return {"fate": "judged", "results": kept, "hidden": hidden}

    def _judge_wholly(self, name: str, content: bytes) -> dict[str, Any]:
        manager = self.manager
        manager.results, manager.skipped = [], []
        manager._parse_file(name, io.BytesIO(content), [name])
        if manager.skipped:
            return {"fate": "error", "reason": manager.skipped[0][1]}
        return {"fate": "judged", "whole": True, "results": [_result(issue) for issue in manager.results]}


def _nosec_comments(content: bytes) -> dict[int, set[str]]:
    """The lines with a `# nosec`, and the rules that each names: none means all."""
    found: dict[int, set[str]] = {}
    try:
        for token in tokenize.tokenize(io.BytesIO(content).readline):
            if token.type == tokenize.COMMENT and "nosec" in token.string:
                rules = managers._parse_nosec_comment(token.string)
                if rules is not None:
                    found[token.start[0]] = rules
    except (tokenize.TokenError, SyntaxError):
        pass  # as bandit does: what comes after the fault is not read, and the parser will say so
    return found


def _is_hidden(tester: Any, issue: Any) -> bool:
    """The decision of bandit (`BanditTester.run_tests`), made after the fact."""
    rules = tester._get_nosecs_from_contexts({"linerange": issue.linerange}, test_result=issue)
    return rules is not None and (not rules or issue.test_id in rules)


def _qualified_names(tests: Any) -> frozenset[str]:
    names: set[str] = {"exec", "ssl.wrap_socket", "importlib.__import__"}
    for plugin in tests.tests.get("Call", ()):
        config = getattr(plugin, "_config", None) or {}
        if plugin.__name__ == "blacklist":
            names |= {name for check in config.get("Call", ()) for name in check["qualnames"]}
        elif isinstance(config, dict):
            names |= {name for value in config.values() if isinstance(value, list) for name in value}
    return frozenset(names)


def _result(issue: Any) -> dict[str, Any]:
    lines = issue.linerange or [issue.lineno]
    return {
        "rule": issue.test_id,
        "line": issue.lineno,
        "first": min(lines),
        "last": max(lines),
        "severity": issue.severity,
        "confidence": issue.confidence,
        "message": issue.text,
    }


_SCAN: list[Scan] = []


def _start(task: dict[str, Any]) -> None:
    if _SCAN:
        return  # a process that was forked has it already
    gc.disable()  # trees are made and dropped whole, without circles; looking for those takes a third of the time
    _SCAN[:] = [Scan(task)]


def _look_at(name: str) -> tuple[str, dict[str, Any]]:
    return name, _SCAN[0].look(name)


def main() -> None:
    """Answer `{version, python, rules, tests, skips, files: {name: {fate, lines, results, hidden, reason}}}`."""
    task = json.load(sys.stdin)
    try:
        config = configs.BanditConfig(config_file=task["config"] or None)
        options = sorted(set(config.config) - UNDERSTOOD) if task["config"] else []
        if options:
            json.dump({"plain": options}, sys.stdout)
            return
        _start(task)
    except (utils.ConfigError, ValueError, AttributeError, TypeError) as error:
        json.dump({"refused": f"{getattr(error, 'message', '') or error}"}, sys.stdout)
        return
    files = task["files"]
    if task["processes"] > 1 and len(files) > 200:
        with multiprocessing.Pool(task["processes"], _start, (task,)) as pool:
            answers = dict(pool.imap_unordered(_look_at, files, chunksize=32))
    else:
        answers = dict(map(_look_at, files))
    json.dump(
        {
            "version": bandit.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "tests": sorted(_SCAN[0].tests),
            "skips": sorted(_SCAN[0].skips),
            "assert_skips": ((config.get_option("assert_used") or {}).get("skips") or []),
            "files": answers,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
