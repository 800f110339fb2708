"""The `deploykit` command: the tasks of the repository's tasks.py, or the kit's own where there is none.

Words that no task knows are usage errors, here and where `invoke` itself runs the kit's tasks: a sentence, the next
command and exit code 3. Invoke's own answer is 1, which means that something failed.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import CollectionNotFound, Exit, ParseError
from invoke.loader import FilesystemLoader
from invoke.program import Program

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import ModuleType

    from deploykit.model import UsageError

__all__ = ["KitProgram", "main", "take_over"]

# How invoke says it (invoke/parser/parser.py, invoke/program.py).
_UNKNOWN = re.compile(r"""No idea what (['"])(.*)\1 is!""", re.DOTALL)
_NO_VALUE = re.compile(r"Flag <Argument: ([\w-]+).* needed value")
_NO_WORD = re.compile(r"'.*' did not receive required positional arguments: (.*)")
_NO_GROUP = re.compile(r"Sub-collection ('.*') not found!", re.DOTALL)


class _KitLoader(FilesystemLoader):
    """Finds tasks.py as invoke does; the kit's own tasks are the fallback."""

    def load(self, name: str | None = None) -> tuple[ModuleType, str]:
        try:
            return super().load(name)
        except CollectionNotFound:
            from deploykit.tasks import default

            return default, str(Path.cwd())


class KitProgram(Program):
    """Invoke's own program, but for what it says of wrong words."""

    def __init__(self, **options: Any) -> None:
        super().__init__(loader_class=_KitLoader, **options)

    def parse_core(self, argv: list[str] | None) -> None:
        with self._refusing():
            super().parse_core(argv)

    def parse_tasks(self) -> None:
        with self._refusing():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with self._refusing():
            super().parse_cleanup()

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except ParseError as wrong:
            self._refuse(str(wrong), (wrong.context and wrong.context.name) or "")
        except Exit as leaving:
            if not _NO_GROUP.fullmatch(leaving.message or ""):
                raise
            self._refuse(str(leaving.message), "")

    def _refuse(self, said: str, task: str) -> None:
        from deploykit.tasks.command import print_error

        collection = getattr(self, "collection", None)  # the core's words are read before it is there
        error = _usage_error(said, task, groups=collection.collections if collection else ())
        print_error(error, as_json="--json" in self.argv)
        raise Exit(code=error.exit_code) from None


def take_over() -> None:
    """Have `invoke`, where that is what runs, refuse wrong words as `deploykit` does.

    It is under way when it loads tasks.py, and has no setting for how it does so.
    """
    running = sys.modules.get("invoke.main")
    if running is not None and type(running.program) is Program:
        running.program.__class__ = KitProgram


def _usage_error(said: str, task: str, *, groups: Collection[str]) -> UsageError:
    """What invoke has `said` of the words for `task` (empty: before any), as a sentence and the next command."""
    from deploykit.model import UsageError

    command = f"invoke {task}" if task else "invoke"
    found = _UNKNOWN.fullmatch(said)
    word = found[2] if found else ""
    of_options = word.startswith("-") or _NO_VALUE.match(said)
    next_step = f"{command} --help" if task or of_options else "invoke --list"
    if word in groups and not task:
        return UsageError(f"{word} is a group of tasks", next_step=f"invoke --list {word}")
    return UsageError(_unknown(word, task) if found else _missing(said, command), next_step=next_step)


def _unknown(word: str, task: str) -> str:
    if word.startswith("-"):
        return f"invoke {task} has no option {word}" if task else f"invoke has no option {word}"
    return f"invoke {task} takes no '{word}', and no task has that name" if task else f"there is no task '{word}'"


def _missing(said: str, command: str) -> str:
    if match := _NO_VALUE.match(said):
        return f"--{match[1].strip('_').replace('_', '-')} of {command} needs a value"
    if match := _NO_WORD.fullmatch(said):
        return f"{command} needs a value for {match[1]}"
    if match := _NO_GROUP.fullmatch(said):
        return f"there is no group of tasks {match[1]}"
    return said.rstrip("!")


def main() -> None:
    from importlib.metadata import version

    from deploykit.tasks.output import BROKEN_PIPE, silence_broken_streams

    try:
        Path.cwd()  # invoke looks for tasks.py from there
    except FileNotFoundError:
        from deploykit.tasks.command import print_error, removed_folder

        error = removed_folder()
        print_error(error)
        raise SystemExit(error.exit_code) from None
    try:
        KitProgram(name="deploykit", binary="deploykit", version=version("deploykit")).run()
    except BrokenPipeError:
        # The reader closed the pipe: `deploykit --list | head`.
        raise SystemExit(BROKEN_PIPE) from None
    finally:
        silence_broken_streams()
