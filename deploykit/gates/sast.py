"""The sast gate: ruff's `S` rules over every Python file, and bandit's own rules where they can say more
(docs/sast.md).

Findings of medium severity and above fail the gate; low ones are listed in the verdict and fail nothing. Each file is
passed to the tools by name and accounted for, so none can be missed unnoticed.
"""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.files import excluded, list_files, python_files
from deploykit.gates.obeyed import shielded
from deploykit.gates.sastscan.configuration import Configuration, read_configuration
from deploykit.gates.sastscan.full_scan import run_full_scan
from deploykit.gates.sastscan.judge import TEST_GLOBS, Rules, ScannedFiles, in_tests, merge, verdict_on
from deploykit.gates.sastscan.noqa import hidden_by_noqa
from deploykit.gates.sastscan.rules import SEVERITIES, Found, from_ruff
from deploykit.gates.tooling import crashed, parse_json, run_tool, tool_environment
from deploykit.model import Severity, UsageError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from deploykit.gates.interface import GateContext
    from deploykit.process.run import Completed

__all__ = ["Accepted", "SastGate"]

_DRIVER = Path(__file__).parent / "drivers" / "scan_code.py"
_UNREADABLE = frozenset({"E902", "syntax"})
_RULES = [
    "--isolated",  # lint settings are about style: they must not hide a finding, nor leave out a folder named `build`
    *("--select", "S,E902", "--preview", "--target-version", "py314", "--no-cache", "--output-format", "json-lines"),
    # An assert is the point of a test; bandit's own are left out by `in_tests`.
    *("--per-file-ignores", ",".join(f"{glob}:S101" for glob in TEST_GLOBS)),
]


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Findings of bandit's `rule` in the file `path`, or below the folder, that a person has looked at."""

    rule: str
    path: str
    reason: str

    def covers(self, found: Found) -> bool:
        return found.rule == self.rule and excluded(found.path, (self.path,))


@dataclass(frozen=True, kw_only=True)
class SastGate:
    """`exclude`: files and folders (or shell patterns) whose code never runs in production, such as tests."""

    exclude: tuple[str, ...] = ("tests",)
    accept: tuple[Accepted, ...] = ()
    name: str = "sast"

    def run(self, context: GateContext) -> Verdict:
        listed = list_files(context.root)
        every = python_files(context.arguments or listed.files)
        files = [name for name in every if not excluded(name, self.exclude)]
        configuration = read_configuration(context.root)
        settings = {"exclude": " ".join(self.exclude), "configuration": " ".join(configuration.options) or "none"}
        notes = list(listed.notes)
        if len(every) > len(files):
            notes.append(f"files left out by security.sast_exclude: {len(every) - len(files)}")
        if not files:
            return verdict_on((), ScannedFiles(judged=frozenset()), version="", settings=settings, notes=notes)
        if not configuration.only_bandit:
            fast = _Fast(context, files, configuration)
            if not fast.only_bandit:
                return fast.verdict(settings, notes, self.accept)
            configured = fast.only_bandit
        else:
            configured = configuration.only_bandit
        if self.accept:
            notes.append("security.sast_accept does not hold where bandit judges alone")
        notes.append(f"the whole of bandit judged alone, since it is configured with {', '.join(configured)}")
        return run_full_scan(context, files, configuration, settings=settings, notes=notes)


class _Fast:
    """One run of ruff and of bandit's rules in parallel, and one more of bandit for files that ruff could not read."""

    def __init__(self, context: GateContext, files: Sequence[str], configuration: Configuration) -> None:
        self._context = context
        self._files = files
        self._configuration = configuration
        self._environment = shielded("ruff", tool_environment(context.environment))
        self._names: dict[str, str] = {}
        ruff = context.toolbox.tool("ruff")
        self._version = self._run([*ruff, "--version"], answers=(0,)).stdout.strip().removeprefix("ruff ")
        # The tool's environment may have to be made, which nox sessions do in their main thread.
        python = context.toolbox.tool_python("bandit")
        with tempfile.TemporaryDirectory(prefix="deploykit-") as folder, ThreadPoolExecutor(1) as beside:
            names = Path(folder) / "files"
            names.write_text("".join(f"./{name}\n" for name in files if "\n" not in name), encoding="utf-8")
            checking = beside.submit(self._ruff, ruff, names)
            self._bandit = self._ask_bandit(python, files, whole=())
            shown, self._problems = checking.result()
        self.only_bandit: tuple[str, ...] = tuple(self._bandit.get("plain", ()))
        if self.only_bandit:
            return
        self._unread = {
            name: problem["message"] for name, problem in self._by_file(lambda code: code in _UNREADABLE)
        } | {name: "ruff did not look at it" for name in files if name not in shown}
        again = [name for name in self._unread if self._bandit["files"][name]["fate"] != "excluded"]
        if again:
            self._bandit["files"] |= self._ask_bandit(python, again, whole=again)["files"]

    def verdict(self, settings: Mapping[str, Any], notes: Sequence[str], accept: Sequence[Accepted]) -> Verdict:
        answers: Mapping[str, Mapping[str, Any]] = self._bandit["files"]
        rules = Rules(
            tests=frozenset(self._bandit["tests"]),
            skips=frozenset(self._bandit["skips"]),
            assert_skips=tuple(self._bandit["assert_skips"]),
        )
        looked = _scanned_files(self._files, answers)
        by_bandit = self._from_bandit("results")
        seen = list(self._without_noqa(by_bandit))
        by_ruff = [
            from_ruff(
                problem["code"],
                problem["message"],
                path=name,
                first=problem["location"]["row"],
                last=problem["end_location"]["row"],
            )
            for name, problem in self._by_file(lambda code: code.startswith("S"))
            if name in looked.judged and name not in self._unread
        ]
        merged, by_nosec = merge(by_ruff, seen, self._from_bandit("hidden"))
        found = [item for item in merged if rules.want(item) and not (item.rule == "B101" and in_tests(item.path))]
        accepted = [
            f"accepted: {count} findings of {item.rule} in {item.path}, because {item.reason}"
            if (count := sum(item.covers(one) for one in found))
            else f"accepted, and not there: {item.rule} in {item.path}"
            for item in accept
        ]
        found = [one for one in found if not any(item.covers(one) for item in accept)]
        details = {
            "files in which bandit's own rules looked too": sum(a["fate"] == "judged" for a in answers.values()),
            "findings hidden by nosec": by_nosec,
            "findings of bandit hidden by noqa": len(by_bandit) - len(seen),
        }
        return verdict_on(
            found,
            looked,
            version=f"{self._version} and {self._bandit['version']}",
            settings={**settings, "python": self._bandit["python"]},
            notes=[*notes, *accepted, *(f"{what}: {count}" for what, count in details.items() if count)],
        )

    def _ruff(self, ruff: Sequence[str], names: Path) -> tuple[frozenset[str], list[dict[str, Any]]]:
        """The files that ruff looks at, and its findings."""
        listed = self._run([*ruff, "check", "--isolated", "--show-files", f"@{names}"])
        completed = self._run([*ruff, "check", *_RULES, f"@{names}"])
        try:
            problems = [json.loads(line) for line in completed.stdout.splitlines()]
            for name in {problem["filename"] for problem in problems}:
                self._names[name] = self._relative(name)
        except (ValueError, TypeError, KeyError) as error:
            raise crashed(completed, "ruff printed something else than findings") from error
        if bool(problems) is not (completed.returncode == 1):
            raise crashed(completed, f"ruff answers {completed.returncode} and lists {len(problems)} findings")
        return frozenset(self._relative(line) for line in listed.stdout.splitlines() if line.strip()), problems

    def _ask_bandit(self, python: Path, files: Sequence[str], *, whole: Sequence[str]) -> dict[str, Any]:
        task = {
            "files": [f"./{name}" for name in files],
            "config": self._configuration.file,
            "exclude": self._configuration.exclude,
            "skips": self._configuration.skips,
            "tests": self._configuration.tests,
            "whole": [f"./{name}" for name in whole],
            "processes": _processes(),
        }
        completed = self._run([python, str(_DRIVER)], answers=(0,), stdin=json.dumps(task))
        answer = parse_json(completed)
        if not isinstance(answer, dict):
            raise crashed(completed, "bandit's rules gave no answer that can be read")
        if "refused" in answer:
            where = self._configuration.file or self._configuration.ini or "none"
            raise UsageError(
                f"bandit refuses its configuration ({where}): {answer['refused']}",
                next_step=f"fix {where}",
            )
        if "plain" not in answer:
            answer["files"] = {name.removeprefix("./"): fate for name, fate in answer["files"].items()}
            if missing := [name for name in files if name not in answer["files"]]:
                raise crashed(completed, f"bandit's rules left {len(missing)} files out, such as {missing[0]}")
        return answer

    def _run(
        self, argv: Sequence[str | os.PathLike[str]], *, answers: Sequence[int] = (0, 1), stdin: str = ""
    ) -> Completed:
        return run_tool(argv, root=self._context.root, environment=self._environment, answers=answers, stdin=stdin)

    def _relative(self, name: str) -> str:
        for base in (self._context.root, self._context.root.resolve()):
            if name.startswith(f"{base}{os.sep}"):
                return Path(name[len(str(base)) + 1 :]).as_posix()
        return name

    def _by_file(self, want: Callable[[str], bool]) -> Iterable[tuple[str, dict[str, Any]]]:
        for problem in self._problems:
            if want(problem.get("code") or "syntax"):
                yield self._names[problem["filename"]], problem

    def _from_bandit(self, kind: str) -> list[Found]:
        return [
            Found(
                path=name,
                line=item["line"],
                rule=item["rule"],
                message=item["message"],
                severity=SEVERITIES.get(item["severity"], Severity.UNKNOWN),
                confidence=item["confidence"],
                first=item["first"],
                last=item["last"],
            )
            for name, answer in self._bandit["files"].items()
            for item in answer.get(kind, ())
        ]

    def _without_noqa(self, every: Sequence[Found]) -> Iterable[Found]:
        for path in dict.fromkeys(found.path for found in every):
            text = (self._context.root / path).read_text(encoding="utf-8", errors="replace")
            lines = text.splitlines() if "noqa" in text.lower() else []
            yield from (found for found in every if found.path == path and not (lines and hidden_by_noqa(found, lines)))


def _scanned_files(files: Sequence[str], answers: Mapping[str, Mapping[str, Any]]) -> ScannedFiles:
    by_fate: dict[str, list[str]] = {}
    for name in files:
        by_fate.setdefault(answers[name]["fate"], []).append(name)
    judged = frozenset((*by_fate.pop("judged", ()), *by_fate.pop("left", ())))
    return ScannedFiles(
        judged=judged,
        left_out=frozenset(by_fate.pop("excluded", ())),
        errors={name: answers[name].get("reason", "") for name in by_fate.pop("error", ())},
        missed=tuple(name for names in by_fate.values() for name in names),  # a fate that nobody knows
        lines=sum(answers[name].get("lines", 0) for name in judged),
    )


def _processes() -> int:
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
