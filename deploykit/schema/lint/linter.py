"""The lint as a whole: render, parse, judge, join with squawk, and apply acknowledgements."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import InconclusiveError, UsageError
from deploykit.process.run import run
from deploykit.schema.lint.acknowledgements import Allowance, Remarks, read_remarks, sort_out
from deploykit.schema.lint.drift import drift
from deploykit.schema.lint.engine import Engine, Script, statements_of
from deploykit.schema.lint.history import downgrades, edits, heads, phases
from deploykit.schema.lint.other_databases import ANY_DATABASE, note, plain, readable, unread
from deploykit.schema.lint.parser import Text, read_texts
from deploykit.schema.lint.rendered import Rendered, Revision, Step, chosen, parse_rendering
from deploykit.schema.lint.rules import RULES
from deploykit.schema.lint.squawk import ask_squawk, merged
from deploykit.schema.runner import render_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploykit.schema.lint.finding import Finding

    Renderer = Callable[["Options"], Rendered]
    Reader = Callable[[Sequence[str], str], tuple[list[Text], str]]

__all__ = ["OLDEST_SERVER", "Options", "Report", "lint"]

OLDEST_SERVER = 14
"""The server's version if none is given: the oldest that the PostgreSQL project still supports."""
_RENDER_SECONDS = 300.0
_OF_SQL = ("require-lock-timeout", "require-statement-timeout")
"""Rules for files of SQL only: there is no default for these settings, but the kit's upgrade of revisions sets them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a lint.

    - `root` is the tree, `reader` a Python with pglast, `python` the application's (not needed with `sql`).
    - `revs` are the ends of a range, `A:B`; `since` are revisions that are applied everywhere.
    - `server_version` 0 means not given; `ask` queries the database.
    - `dialect` is a database other than PostgreSQL (`mysql`), see `other_databases`.
    """

    root: str
    reader: str
    python: str = ""
    migrations: str = ""
    variable: str = "DATABASE_URL"
    sql: tuple[str, ...] = ()
    revs: str = ""
    since: tuple[str, ...] = ()
    server_version: int = 0
    ask: bool = False
    metadata: str = ""
    enable: tuple[str, ...] = ()
    allow: tuple[Allowance, ...] = ()
    squawk: str = ""
    dialect: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a lint. `unknown` are revisions (path: why) whose effect can't be determined."""

    found: tuple[Finding, ...]
    acknowledged: tuple[tuple[Finding, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    looked_at: int = 0
    judged: int = 0
    statements: int = 0
    server_version: int = 0
    grammar: str = ""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "findings": [item.as_json() for item in self.found],
            "acknowledged": [{**item.as_json(), "reason": reason} for item, reason in self.acknowledged],
            "unknown": [{"path": path, "reason": reason} for path, reason in self.unknown],
            "looked_at": self.looked_at,
            "judged": self.judged,
            "statements": self.statements,
            "server_version": self.server_version,
            "grammar": self.grammar,
            "notes": list(self.notes),
        }


def lint(options: Options, *, render: Renderer | None = None, read: Reader = read_texts) -> Report:
    """Judge the revisions, or files of SQL. `render` and `read` run the two programs involved.

    Raises UsageError and InconclusiveError for anything that can't be judged at all.
    """
    _check_names(options)
    if options.sql:
        return _lint_sql(options, read)
    return _lint_revisions(options, (render or render_revisions)(options), read)


def _check_names(options: Options) -> None:
    for name in (*options.enable, *(item.rule for item in options.allow)):
        if name not in RULES and not name.startswith("squawk/"):
            close = difflib.get_close_matches(name, RULES, 1)
            raise UsageError(
                f"there is no rule {name!r}" + (f", did you mean {close[0]!r}?" if close else ""),
                next_step="see the rules in docs/migrations.md, and fix [tool.deploykit.migrations]",
            )


def _rules(options: Options, *more: str) -> list[str]:
    return [
        rule.id
        for rule in RULES.values()
        if (rule.on or rule.id in options.enable or rule.id in more)
        and (not options.dialect or rule.id in ANY_DATABASE)
    ]


def _lint_sql(options: Options, read_all: Reader) -> Report:
    root = Path(options.root)
    texts = [_read_file(root / name) for name in options.sql]
    read, grammar = read_all(_readable(options, texts), options.reader)
    version = options.server_version or OLDEST_SERVER
    engine = Engine(version=version, rules=_rules(options, *_OF_SQL))
    scripts, unknown, remarks = [], [], []
    for name, text, parsed in zip(options.sql, texts, read, strict=True):
        if parsed.error:
            unknown.append((name, f"PostgreSQL's grammar refuses it: {parsed.error}"))
        remark = read_remarks(text, path=name, revision=name)
        remarks.append(remark)
        statements = statements_of([Step(sql=text)], [parsed], sql_file=True)
        phase = remark.phase or "expand"
        scripts.append(Script(revision=name, path=name, statements=statements, phase=phase, transactional=False))
    found = engine.change(scripts)
    notes = [f"PostgreSQL {version} {'is assumed' if not options.server_version else 'by the settings'}"]
    if options.dialect:
        notes = [note(options.dialect)]
    return _report(
        options, engine, scripts, found, remarks, unknown=unknown, looked_at=len(scripts), grammar=grammar, notes=notes
    )


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} can't be read: {error}", next_step="name a file of SQL in UTF-8") from None


def _lint_revisions(options: Options, rendered: Rendered, read_all: Reader) -> Report:
    if not rendered.revisions:
        raise InconclusiveError(
            f"there is no revision in {rendered.folder}", next_step="alembic revision -m 'The first tables'"
        )
    version, source = _version(options, rendered)
    judged = _judged(options, rendered)
    down = [item.downgrade.steps if item.revision in judged else () for item in rendered.revisions]
    steps = [step for item in rendered.revisions for step in item.upgrade.steps]
    steps += [step for each in down for step in each]
    models = rendered.models or ()
    declared = sorted({name for item in rendered.revisions for each in item.upgrade.declared for name in each.tables})
    read, grammar = read_all(_readable(options, [*(step.sql for step in steps), *models]), options.reader)
    scripts, unknown, remarks, skipped = _scripts(options, rendered, read, judged)
    known = [name for name in ("lock_timeout", "statement_timeout") if name in rendered.env]
    engine = Engine(version=version, rules=_rules(options), known=known)
    found: list[Finding] = heads(rendered.branches, rendered.folder)
    for change in _changes(scripts, together=bool(options.revs)):
        found += engine.change(change)
    for script in scripts:
        if script.judged:
            found += downgrades(script, _rules(options))
    if options.dialect:
        found += _unread(rendered, read, scripts)
    by_path = {item.path: item.revision for item in rendered.revisions}
    edited, git = edits(Path(options.root), rendered.folder, by_path)
    found += edited
    if rendered.models is not None:
        tail = read[len(steps) :]
        found += drift(tail, engine.catalog, rendered.folder, left_out=frozenset({"alembic_version", *declared}))
    found += phases([item for item in rendered.revisions if item.revision in judged])
    notes = [note(options.dialect) if options.dialect else f"PostgreSQL {version} {source}", git]
    if options.metadata:
        notes += _compared(options.metadata, declared)
    if len(judged) < len(rendered.revisions):
        notes.append(f"judged: {len(judged)}; the others only say what is there")
    if skipped:
        notes.append(f"not rendered, and not judged: {skipped}; what they make is not known")
    return _report(
        options, engine, scripts, found, remarks, unknown=unknown, looked_at=len(scripts), grammar=grammar, notes=notes
    )


def _compared(metadata: str, declared: Sequence[str]) -> list[str]:
    notes = [f"the application's tables, {metadata}, were compared"]
    if declared:
        notes.append(
            f"not compared, since their changes are declared: {', '.join(declared)}; invoke db.revision "
            "--autogenerate compares them"
        )
    return notes


def render_revisions(options: Options) -> Rendered:
    """Return every revision with its SQL, from the application's own environment."""
    argv = render_command(
        options.python,
        options.migrations,
        options.root,
        variable=options.variable,
        ask=options.ask,
        metadata=options.metadata,
        other_database=bool(options.dialect),
    )
    done = run(argv, cwd=options.root, timeout=_RENDER_SECONDS, check=False)
    # Errors before the answer are on standard error.
    return parse_rendering(done.stdout if "@deploykit " in done.stdout else done.stderr)


def _version(options: Options, rendered: Rendered) -> tuple[int, str]:
    if rendered.server_version is not None:
        return rendered.server_version, "as the database says"
    if options.server_version:
        return options.server_version, "by the settings"
    return OLDEST_SERVER, "is assumed: set migrations.server_version, or let the database be asked"


def _judged(options: Options, rendered: Rendered) -> set[str]:
    if not options.revs:
        return chosen(rendered.revisions, options.since, "")
    first, colon, last = options.revs.partition(":")
    if not colon:
        raise UsageError(f"{options.revs!r} is no range", next_step="invoke db.lint --revs A:B, where B may be empty")
    judged = chosen(rendered.revisions, [first] if first and first != "base" else [], last)
    if not judged:
        raise InconclusiveError(
            f"no revision lies in {options.revs}", next_step="invoke db.lint --revs A:B, A before B"
        )
    return judged


def _scripts(
    options: Options, rendered: Rendered, read: Sequence[Text], judged: set[str]
) -> tuple[list[Script], list[tuple[str, str]], list[Remarks], int]:
    upgrades, at = [], 0
    for item in rendered.revisions:
        upgrades.append(read[at : at + len(item.upgrade.steps)])
        at += len(item.upgrade.steps)
    scripts: list[Script] = []
    unknown: list[tuple[str, str]] = []
    remarks: list[Remarks] = []
    skipped = 0
    for item, up in zip(rendered.revisions, upgrades, strict=True):
        is_judged = item.revision in judged
        size = len(item.downgrade.steps) if is_judged else 0
        down = read[at : at + size]
        at += size
        reasons = [*_doubts(item, up, "upgrade"), *(_doubts(item, down, "downgrade") if is_judged else ())]
        if options.dialect:  # what can't be read is a finding there
            reasons = [*_doubts(item, (), "upgrade"), *(_doubts(item, (), "downgrade") if is_judged else ())]
        remark = Remarks()
        if is_judged:
            text = (Path(options.root) / item.path).read_text(encoding="utf-8", errors="replace")
            remark = read_remarks(text, path=item.path, revision=item.revision)
            remarks.append(remark)
            unknown += [(item.path, reason) for reason in reasons]
        skipped += bool(reasons) and not is_judged
        phase = remark.phase or ("contract" if "contract" in item.labels else "expand")
        scripts.append(
            Script(
                revision=item.revision,
                path=item.path,
                statements=statements_of(item.upgrade.steps, up),
                downgrade=statements_of(item.downgrade.steps if is_judged else (), down),
                phase=phase,
                judged=is_judged,
            )
        )
    return scripts, unknown, remarks, skipped


def _doubts(item: Revision, texts: Sequence[Text], name: str) -> list[str]:
    direction = item.upgrade if name == "upgrade" else item.downgrade
    doubts = [f"{name}: {direction.unknown}"] if direction.unknown else []
    doubts += [f"{name}: PostgreSQL's grammar refuses its SQL: {text.error}" for text in texts if text.error]
    return doubts


def _readable(options: Options, texts: Sequence[str]) -> list[str]:
    return [readable(text) for text in texts] if options.dialect else list(texts)


def _unread(rendered: Rendered, read: Sequence[Text], scripts: Sequence[Script]) -> list[Finding]:
    found: list[Finding] = []
    at = 0
    for item, script in zip(rendered.revisions, scripts, strict=True):
        texts = read[at : at + len(item.upgrade.steps)]
        at += len(item.upgrade.steps)
        found += unread(item.upgrade.steps, texts, script) if script.judged else ()
    return found


def _changes(scripts: Sequence[Script], *, together: bool) -> list[list[Script]]:
    """Group the scripts that are applied together.

    Without a range each revision is its own change: the safe assumption.
    """
    if not together:
        return [[script] for script in scripts]
    before = [[script] for script in scripts if not script.judged]
    return [*before, [script for script in scripts if script.judged]]


def _report(  # noqa: PLR0913 - by keyword
    options: Options,
    engine: Engine,
    scripts: Sequence[Script],
    found: list[Finding],
    remarks: Sequence[Remarks],
    *,
    unknown: Sequence[tuple[str, str]],
    looked_at: int,
    grammar: str,
    notes: list[str],
) -> Report:
    judged = [script for script in scripts if script.judged]
    if options.dialect:
        found = [plain(item, options.dialect) for item in found]
    elif options.squawk:
        theirs = ask_squawk(options.squawk, judged, version=engine.version, enabled=options.enable)
        found, counts = merged(found, theirs, engine.free)
        notes.append(
            f"squawk: {counts['both']} findings that the kit has too, {counts['added']} more, {counts['free']} "
            "that other revisions or the same change make free"
        )
    found += [item for remark in remarks for item in remark.refused]
    allowances = [*options.allow, *(one for remark in remarks for one in remark.allowed)]
    by_revision = {name: script.revision for script in judged for name in (script.revision, script.path)}
    allowances = [replace(one, revision=by_revision.get(one.revision, one.revision)) for one in allowances]
    counts_, acknowledged = sort_out(found, allowances)
    if acknowledged:
        times = Counter((item.rule, reason) for item, reason in acknowledged)
        notes += [f"acknowledged {count} times: {rule}, because {reason}" for (rule, reason), count in times.items()]
    order = {script.path: number for number, script in enumerate(scripts)}
    return Report(
        found=tuple(sorted(counts_, key=lambda item: (order.get(item.path, -1), item.line, item.rule))),
        acknowledged=tuple(acknowledged),
        unknown=tuple(unknown),
        looked_at=looked_at,
        judged=len(judged),
        statements=sum(len(script.statements) + len(script.downgrade) for script in judged),
        server_version=0 if options.dialect else engine.version,
        grammar=grammar,
        notes=tuple(notes),
    )
