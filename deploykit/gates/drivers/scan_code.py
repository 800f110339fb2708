# ruff: noqa: SLF001 - bandit has no other way in
"""Run by the Python that has bandit: bandit's own rules, on just the files and nodes where they could say what ruff
doesn't.

bandit applies each of its rules to each node of each file, which takes nearly all of its time. Here a look at the text
selects the files (`LOOKS`), and a look at a node's name selects the nodes. The rest is judged by bandit's own code,
with its own configuration, messages and `# nosec`. In a file with such comments, all rules look at the nodes that they
reach: so it is known which findings of ruff they hide. A file that ruff could not read is judged by the whole of
bandit.

Standard input: `{"files": […], "config": "…", "exclude": […], "skips": […], "tests": […], "whole": […],
"processes": 2}`. Standard output: one object, see `main`. It is `{"refused": why}` for a configuration that bandit
refuses, and `{"plain": […]}` for one with options of single rules, which only the whole of bandit honours.
"""

from __future__ import annotations

import ast
import gc
import io
import json
import logging
import multiprocessing
import sys
import tokenize
from pathlib import Path
from typing import Any

from select_files import (  # type: ignore[import-not-found,unused-ignore]  # beside this script
    NOSEC,
    answer_without_bandit,
    chosen,
    has_bidi,
    lines_of,
    sql_words,
)

_TASK: dict[str, Any] = json.load(sys.stdin) if __name__ == "__main__" else {}
if _TASK and (_ANSWER := answer_without_bandit(_TASK)):
    json.dump(_ANSWER, sys.stdout)
    raise SystemExit(0)

# ruff: noqa: E402 - importing bandit takes longer than all the rest of a hook
import bandit  # type: ignore[import-not-found,import-untyped,unused-ignore]  # in the tool's environment
from bandit.core import config as configs  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import extension_loader, node_visitor, utils  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import manager as managers  # type: ignore[import-not-found,import-untyped,unused-ignore]
from bandit.core import test_set as test_sets  # type: ignore[import-not-found,import-untyped,unused-ignore]

RUFFS = frozenset({"B101", "B105", "B106", "B107", "B110", "B112"})
"""Rules that are left to ruff in files that only a look has chosen: they would have to see nearly every file."""

UNDERSTOOD = frozenset({"tests", "skips", "exclude_dirs", "targets", "assert_used"})

_NAMES = frozenset({
    "exec", "eval", "new", "CommunityData", "UsmUserData", "exec_command", "extra", "RawSQL", "listen", "load",
    "Environment", "Template", "mark_safe", "SafeText", "SafeUnicode", "SafeString", "SafeBytes",
    "set_missing_host_key_policy", "generate", "generate_private_key", "from_pretrained", "load_dataset",
    "hf_hub_download", "snapshot_download", "repository_id",
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


class FastVisitor(node_visitor.BanditNodeVisitor):  # type: ignore[misc,unused-ignore]
    """bandit's visitor, taken only to the nodes of which a rule could want to know."""

    quals: frozenset[str] = frozenset()
    lasts: frozenset[str] = frozenset()
    """The last names of `quals`, and `_NAMES`."""
    by_prefix = True
    """Whether the file names a module all of whose functions are wanted."""
    sql = True
    """Whether the file contains words of SQL. Only then are composed strings examined."""
    comments: frozenset[int] = frozenset()
    """Lines with `# nosec`: what reaches over one of them is looked at by every rule."""

    def process(self, data: bytes) -> None:
        """Judge one file. The rule about whole files (B613) is asked only where there is a character
        that it looks for.
        """
        self.generic_visit(ast.parse(data))
        if has_bidi(data):
            self.context = {
                "file_data": self.fdata,
                "filename": self.fname,
                "lineno": 0,
                "linerange": [0, 1],
                "col_offset": 0,
            }
            self.tester.run_tests(self.context, "File")

    def generic_visit(self, node: ast.AST) -> None:
        # A node's line of parents is one chain of pairs, and is written on the nodes, as bandit wants it, only for
        # those that are looked at: trees without circles are gone when they are dropped.
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
        # Most calls are identified by their last name alone, which an alias can only change when it is all of the name.
        called = node.func
        last = getattr(called, "attr", None)
        if last is not None and not self.by_prefix and last not in self.lasts and not _is_unusual(last):
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


def _is_unusual(name: str) -> bool:
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
        answer: dict[str, Any] = {"lines": lines_of(content)}
        if name in self.whole:
            return answer | self._judge_whole_file(name, content)
        comments = _nosec_comments(content) if b"nosec" in content and NOSEC.search(content) else {}
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
        visitor.sql = bool(sql_words(content.lower()))
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

    def _judge_whole_file(self, name: str, content: bytes) -> dict[str, Any]:
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
    task = _TASK
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
            "assert_skips": (config.get_option("assert_used") or {}).get("skips") or [],
            "files": answers,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
