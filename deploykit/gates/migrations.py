"""The migrations gate: every revision rendered without a database, judged by the kit's rules, and by squawk where
asked.

The rules are a program of their own, `python -m deploykit.schema.lint`, which is asked as any other tool is. Its
arguments narrow it: `--revs A:B` (a range that is applied together), `--sql FILE` (plain SQL, no revisions).
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploykit.gates.files import list_files
from deploykit.gates.tooling import last_lines, parse_json, run_tool, tool_environment
from deploykit.model import Evidence, Finding, InconclusiveError, Outcome, Severity, UsageError, Verdict
from deploykit.settings.other_migrations import other_migrations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.gates.interface import GateContext

__all__ = ["Allowed", "MigrationsGate", "interpret"]

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """A rule that is acknowledged with its reason, in one revision or, where that is empty, in all."""

    rule: str
    reason: str
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class MigrationsGate:
    """`server_version` 0 is not said; `ask`: the database in `variable` is asked. `driver` is SQLAlchemy's, empty: not
    said; on another database than PostgreSQL the rules that hold on any are asked, and that is said.

    `since` are revisions that are applied everywhere: they and those before them are not judged. `decided`: that there
    are no migrations is said by the settings, not only by their silence.
    """

    migrations: str = ""
    decided: bool = True
    variable: str = "DATABASE_URL"
    driver: str = ""
    server_version: int = 0
    ask: bool = False
    since: tuple[str, ...] = ()
    allow: tuple[Allowed, ...] = ()
    enable: tuple[str, ...] = ()
    metadata: str = ""
    squawk: bool = False
    name: str = "migrations"

    def run(self, context: GateContext) -> Verdict:
        revs, files = _narrowed(context.arguments)
        if not files:
            self._need_migrations(context)
        dialect = self.driver.partition("+")[0]
        dialect = "" if dialect.startswith("postgres") else dialect
        options: dict[str, Any] = {
            "root": str(context.root),
            "reader": str(context.toolbox.tool_python("pglast")),
            "server_version": self.server_version,
            "enable": self.enable,
            "allow": [asdict(item) for item in self.allow],
            "squawk": context.toolbox.tool("squawk")[0] if self.squawk and not dialect else "",
            "dialect": dialect,
        }
        if files:
            options["sql"] = files
        else:
            options |= {
                "python": str(context.toolbox.application_python()),
                "migrations": self.migrations,
                "variable": self.variable,
                "ask": self.ask and not dialect,
                "since": self.since,
                "metadata": self.metadata,
                "revs": revs,
            }
        environment = tool_environment(context.environment, project=context.work)
        # What runs in the application's environment writes no byte code into the tree by itself.
        del environment["PYTHONPYCACHEPREFIX"]
        completed = run_tool(
            [sys.executable, "-P", "-m", "deploykit.schema.lint"],
            root=context.root,
            environment=environment,
            answers=(0, 2, 3),
            stdin=json.dumps(options),
        )
        try:
            answer = parse_json(completed)
        except InconclusiveError as error:
            raise InconclusiveError(
                "the migrations could not be judged", details=last_lines(completed), next_step=error.next_step
            ) from error
        if failure := answer.get("error"):
            kind = UsageError if completed.returncode == 3 else InconclusiveError
            raise kind(failure["message"], details=failure["details"], next_step=failure["next_step"])
        return interpret(answer, settings=self._settings(revs, files), unit="files" if files else "revisions")

    def _need_migrations(self, context: GateContext) -> None:
        if self.migrations:
            return
        if not self.decided and (other := other_migrations(context.root, list_files(context.root).files)) is not None:
            raise UsageError(other.message, next_step=other.next_step)
        raise InconclusiveError(
            "there are no migrations to look at",
            next_step='say where they are: migrations = "FOLDER" under [tool.deploykit.database]',
        )

    def _settings(self, revs: str, files: Sequence[str]) -> dict[str, str]:
        shown = {
            "migrations": "" if files else self.migrations,
            "since": ",".join(self.since),
            "revs": revs,
            "enable": ",".join(self.enable),
            "squawk": "on" if self.squawk else "",
        }
        return {name: value for name, value in shown.items() if value}


def _narrowed(arguments: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The range and the files that the arguments name. Raises UsageError for others, and for both."""
    words, revs, files = list(arguments), "", []
    while words:
        word = words.pop(0)
        if word not in {"--revs", "--sql"} or not words:
            raise UsageError(
                f"the migrations gate does not know what to do with {word!r}",
                details=["it takes --revs A:B or --sql FILE"],
                next_step="invoke db.lint --revs A:B",
            )
        if word == "--revs":
            revs = words.pop(0)
        else:
            files.append(words.pop(0))
    if revs and files:
        raise UsageError("revisions or files of SQL: one at a time", next_step="invoke db.lint --revs A:B")
    return revs, tuple(files)


def interpret(answer: Mapping[str, Any], *, settings: Mapping[str, str], unit: str) -> Verdict:
    """The verdict on the lint's answer: findings are sure, whatever else could not be read."""
    findings = tuple(
        Finding(
            rule=item["rule"],
            message=_message(item),
            path=item["path"],
            line=item["line"],
            severity=Severity.UNKNOWN,
            fix=item["rewrite"],
        )
        for item in answer["findings"]
    )
    unknown = answer["unknown"]
    lines = [f"| {item['path']}: {item['reason']}" for item in unknown[:_SHOWN]]
    lines += [f"| … and {len(unknown) - _SHOWN} more"] if len(unknown) > _SHOWN else []
    evidence = Evidence(
        looked_at=answer["looked_at"],
        unit=unit,
        tool="deploykit's rules on PostgreSQL's grammar",
        tool_version=answer["grammar"],
        settings=settings,
        notes=(f"statements: {answer['statements']}", *answer["notes"], *lines),
    )
    if findings:
        more = f", and {len(unknown)} could not be read whole" if unknown else ""
        return Verdict(
            gate="migrations",
            outcome=Outcome.FINDINGS,
            evidence=evidence,
            findings=findings,
            reason=f"{len(findings)} finding{'s' * (len(findings) > 1)}{more}",
            next_step="rewrite as shown, or acknowledge in the revision: # deploykit: allow RULE because …",
        )
    if unknown:
        return Verdict(
            gate="migrations",
            outcome=Outcome.INCONCLUSIVE,
            evidence=evidence,
            reason=f"nobody can say what {len(unknown)} of {answer['looked_at']} {unit} do",
            next_step="move what asks the database out of the revision, such as into a backfill script",
        )
    return Verdict(gate="migrations", outcome=Outcome.PASSED, evidence=evidence)


def _message(item: Mapping[str, Any]) -> str:
    lock = f" ({item['lock']}: {item['how_long']})" if item["lock"] else ""
    why = f"; {item['why']}" if item["why"] and item["why"] != item["message"] else ""
    return f"{item['message']}{lock}{why}"
