"""squawk as a second engine: its findings are added to the kit's, without duplicates."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import InconclusiveError
from deploykit.process.run import run
from deploykit.schema.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.schema.lint.engine import Script

__all__ = ["ask_squawk", "merged"]

_SECONDS = 300.0
_ON_REQUEST = ("require-lock-timeout", "require-statement-timeout", "prefer-robust-stmts")
_NARROWER = ("prefer-bigint-over-int", "prefer-bigint-over-smallint")
"""Rules that the kit applies to keys alone."""
_SAME = {
    "adding-field-with-default": ("stored-generated-column", "adding-serial-primary-key-field"),
    "adding-not-nullable-field": ("not-null-in-expand",),
    "adding-serial-primary-key-field": ("prefer-identity", "disallowed-unique-constraint"),
    "constraint-missing-not-valid": ("adding-foreign-key-constraint", "exclusion-constraint"),
    "adding-foreign-key-constraint": ("constraint-missing-not-valid",),
    "disallowed-unique-constraint": ("adding-serial-primary-key-field",),
    "renaming-object": ("renaming-schema",),
    "ban-set-schema": ("renaming-table",),
    "prefer-repack": ("table-rewrite",),
}
"""Rules that the kit has under another name."""
_BETTER_KNOWN = frozenset({
    "adding-not-nullable-field", "ban-drop-constraint", "ban-drop-default",
    "ban-concurrent-index-creation-in-transaction", "ban-drop-column", "ban-drop-not-null", "ban-drop-domain",
    "ban-drop-function", "ban-drop-sequence", "ban-drop-table", "ban-drop-type", "ban-drop-view",
    "changing-column-type", "require-concurrent-index-deletion",
})  # fmt: skip
"""Rules that depend on other revisions (a proven CHECK, the type before, the phase), which squawk does not see."""


def ask_squawk(program: str, scripts: Sequence[Script], *, version: int, enabled: Sequence[str]) -> list[Finding]:
    """Return squawk's findings in the scripts, each as a file. Raises InconclusiveError without an answer."""
    with tempfile.TemporaryDirectory(prefix="deploykit-squawk-") as folder:
        places: dict[str, dict[int, int]] = {}
        for number, script in enumerate(scripts):
            text, lines = _as_file(script)
            (Path(folder) / f"{number}.sql").write_text(text, encoding="utf-8")
            places[f"{number}.sql"] = lines
        without = [name for name in (*_ON_REQUEST, *_NARROWER) if name not in enabled]
        words = ["--reporter", "json", "--pg-version", f"{version}.0", f"--exclude={','.join(without)}"]
        asked = [name.removeprefix("squawk/") for name in enabled if name.startswith("squawk/")]
        if asked:
            words.append(f"--include={','.join(asked)}")
        # A configuration of the repository or above the folder for temporary files would change what is asked.
        (Path(folder) / ".squawk.toml").touch()
        done = run([program, *words, *sorted(places)], cwd=folder, timeout=_SECONDS, check=False)
    try:
        answer: list[Mapping[str, Any]] = json.loads(done.stdout or "null") or []
    except ValueError:
        answer = []
    if done.returncode not in {0, 1} or (done.returncode == 1 and not answer):
        raise InconclusiveError(
            f"squawk gave no answer (exit code {done.returncode})",
            details=(done.stderr.strip() or done.stdout.strip()).splitlines()[-10:],
            next_step="set migrations.squawk = false to judge without it",
        )
    return [_found(item, scripts, places) for item in answer]


def _as_file(script: Script) -> tuple[str, dict[int, int]]:
    """Return the script as a file with explicit transactions, and the statement's index for each line (from 0)."""
    lines: list[str] = []
    numbers: dict[int, int] = {}
    inside = False
    for number, statement in enumerate(script.statements):
        if script.transactional and inside == statement.autocommit:
            lines.append("COMMIT;" if inside else "BEGIN;")
            inside = not inside
        for line in f"{statement.parsed.sql};".splitlines():
            numbers[len(lines)] = number
            lines.append(line)
    if inside:
        lines.append("COMMIT;")
    return "\n".join(lines) + "\n", numbers


def _found(item: Mapping[str, Any], scripts: Sequence[Script], places: Mapping[str, Mapping[int, int]]) -> Finding:
    script = scripts[int(Path(item["file"]).stem)]
    number = places[Path(item["file"]).name].get(int(item["line"]), -1)
    return Finding(
        rule=str(item["rule_name"]),
        message=str(item["message"]),
        revision=script.revision,
        path=script.path,
        line=script.statements[number].line if number >= 0 else 0,
        why=str(item["message"]),
        rewrite=str(item.get("help") or ""),
        engine="squawk",
        statement=number,
    )


def merged(
    own: Sequence[Finding], theirs: Sequence[Finding], free: set[tuple[str, int]]
) -> tuple[list[Finding], dict[str, int]]:
    """Merge squawk's findings into the kit's.

    Returns counts of those that both have, and of those that are harmless here.

    squawk's own findings have `squawk/` before the rule. Those about objects that are new in the same change are
    dropped.
    """
    from dataclasses import replace

    said = {(item.revision, item.statement, item.rule) for item in own}
    added: list[Finding] = []
    counts = {"both": 0, "free": 0, "added": 0}
    for item in theirs:
        place = (item.revision, item.statement)
        if any((*place, name) in said for name in (item.rule, *_SAME.get(item.rule, ()))):
            counts["both"] += 1
        elif place in free or item.rule in _BETTER_KNOWN:
            counts["free"] += 1
        else:
            counts["added"] += 1
            added.append(replace(item, rule=f"squawk/{item.rule}"))
    return [*own, *added], counts
