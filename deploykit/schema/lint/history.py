"""Findings about revisions together: heads, edits, downgrades that lose data."""

from __future__ import annotations

import ast
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from deploykit.model.errors import DeploykitError
from deploykit.process.git import run_git
from deploykit.schema.lint.actions import actions
from deploykit.schema.lint.engine import Script, at
from deploykit.schema.lint.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deploykit.schema.lint.finding import Finding
    from deploykit.schema.lint.rendered import Revision
    from deploykit.schema.lint.values import Action

__all__ = ["downgrades", "edits", "heads", "phases"]


def heads(branches: Mapping[str, tuple[str, ...]], folder: str) -> list[Finding]:
    script = Script(revision="", path=folder)
    return [
        at(RULES["multiple-heads"], f"{label or 'the branch without a label'} has {len(found)} heads: "
                                    f"{', '.join(found)}", script)
        for label, found in branches.items()
        if len(found) > 1
    ]  # fmt: skip


def phases(revisions: Iterable[Revision]) -> list[Finding]:
    """Find expands in the contract branch, and contracts outside it: a release would run them, or never would."""
    found = []
    for item in revisions:
        script, ends = Script(revision=item.revision, path=item.path), "contract" in item.labels
        for operation in item.upgrade.declared:
            if (operation.kind == "contract") != ends:
                where = (
                    "in the branch contract, which a release leaves alone"
                    if ends
                    else "outside the branch contract, so a release runs it"
                )
                found.append(
                    at(RULES["phase-forbidden"], f"op.{operation.kind} is {where}", script, line=operation.line)
                )
    return found


def downgrades(script: Script, names: Iterable[str]) -> list[Finding]:
    """Find what the downgrade of a revision loses. `names` are the rules that apply."""
    made, gone = _made_and_gone(script)
    found = []
    for number, statement in enumerate(script.downgrade):
        for action in actions(statement.parsed):
            thing = _named(action)
            drops = action.kind in {"drop_table", "drop_column"}
            brings_back = action.kind in {"create_table", "add_column"} and thing in gone
            if brings_back:
                rule, message = "downgrade-loses-data", f"the downgrade brings {thing} back, without what was in it"
            elif (drops and thing not in made and action.on[1] not in made) or action.kind in {"truncate", "delete"}:
                rule, message = (
                    "downgrade-loses-data",
                    f"the downgrade deletes from {thing}, which its upgrade did not make",
                )
            elif drops:
                rule, message = "downgrade-drops-new-data", f"the downgrade drops {thing} with what was written since"
            else:
                continue
            if rule in names:
                found.append(
                    at(RULES[rule], message, script, line=statement.line, statement=-2 - number, action=action)
                )
    return found


def _made_and_gone(script: Script) -> tuple[set[str], set[str]]:
    made, gone = set(), set()
    for statement in script.statements:
        for action in actions(statement.parsed):
            if action.kind in {"create_table", "add_column", "rename_table", "rename_column"}:
                made.add(_named(action))
                made.add(str(action.also.get("to", "")) or _named(action))
                if action.kind == "rename_column":
                    made.add(f"{action.on[1]}.{action.also['to']}")
            elif action.kind in {"drop_table", "drop_column"}:
                gone.add(_named(action))
            elif action.kind == "insert":
                made.add(action.on[1])
    return made, gone - made


def _named(action: Action) -> str:
    return ".".join(filter(None, (action.on[1], action.column)))


def edits(root: Path, folder: str, judged: Mapping[str, str]) -> tuple[list[Finding], str]:
    """Find revisions that differ from the newest version tag, and note what was compared.

    A version tag marks a release, so its revisions have been applied. Comments may change, since they acknowledge
    findings. `judged` are the revisions' ids by path.
    """
    tag = _git(root, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    if not tag:
        return [], "no version tag says which revisions were released, so edits of them can't be seen"
    folders = {folder, *(str(PurePath(path).parent) for path in judged)}
    inside = sorted(name for name in folders if not name.startswith(".."))
    listed = _git(
        root, "diff", "--name-status", "--no-renames", "--ignore-submodules", "-z", tag.strip(), "--", *inside
    )
    words = [word for word in listed.split("\0") if word]
    prefix = _git(root, "rev-parse", "--show-prefix").strip()
    found = []
    for status, name in zip(words[::2], words[1::2], strict=False):
        path = name.removeprefix(prefix)
        if not path.endswith(".py") or path.endswith(("env.py", "__init__.py")) or status not in {"M", "D"}:
            continue
        if status == "M" and _code((root / path).read_text("utf-8", "replace")) == _code(
            _git(root, "show", f"{tag.strip()}:{name}")
        ):
            continue
        how = "is gone" if status == "D" else "is another one"
        script = Script(revision=judged.get(path, ""), path=path)
        found.append(
            at(
                RULES["edited-revision"],
                f"{path} {how} than in {tag.strip()}, which was released"
                if status == "M"
                else f"{path} {how}, and was released with {tag.strip()}",
                script,
            )
        )
    return found, f"compared with the revisions of {tag.strip()}"


def _git(root: Path, *words: str) -> str:
    try:
        done = run_git(root, *words)
    except (DeploykitError, OSError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _code(text: str) -> str:
    """Return the code without comments and docstrings; the text itself if it is not Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and node.body and isinstance(node.body[0], ast.Expr):
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
