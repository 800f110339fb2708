"""What every task shares: foreseen errors become a sentence and an exit code, and `--json` keeps
standard output clean.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import math
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from invoke.exceptions import Exit
from invoke.tasks import Task, task

from deploykit.tasks import bytecode
from deploykit.tasks.output import BROKEN_PIPE, print_json, print_lines, silence_broken_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from invoke.parser.argument import Argument

    from deploykit.model import DeploykitError, UsageError
    from deploykit.release.environment import Environment

__all__ = ["Command", "command", "open_from_here", "print_error", "removed_folder", "repository"]

_HELP = ("--help", "-h")
_GREATEST = 2**31 - 1
"""Nothing that an option counts comes near it, and what is greater does not fit into a database's numbers."""
_GC_THRESHOLD = 50_000
"""Objects more than before when Python looks for cyclic garbage; its own 700 fit programs that import less."""


def command(
    *, blank: Mapping[str, Any] | None = None, **options: Any
) -> Callable[[Callable[..., int | None]], Task[Any]]:
    """Make a task of a function that returns an exit code (None: 0). Other keyword arguments are invoke's own.

    `blank` are further keys of the object that `--json` prints for an error. Docstrings are printed verbatim, so
    their lines have at most 78 columns.
    """

    def wrap(body: Callable[..., int | None]) -> Task[Any]:
        @functools.wraps(body)
        @bytecode.written()
        def run(*args: Any, **kwargs: Any) -> None:
            from deploykit.model import DeploykitError

            _relax_garbage_collection()
            bound = inspect.signature(body).bind(*args, **kwargs)
            for name in options.get("positional", ()):
                if bound.arguments.get(name) in _HELP:
                    _show_help(bound.arguments[name])
            try:
                _reject_removed_folder()
                code = body(*args, **kwargs)
            except DeploykitError as error:
                print_error(error, blank, as_json=bool(bound.arguments.get("json")))
                raise Exit(code=error.exit_code) from None
            except BrokenPipeError:
                # The reader closed the pipe (`| head`). The code is not 0, since the rest of the output is lost.
                silence_broken_streams()
                raise Exit(code=BROKEN_PIPE) from None
            except OSError as error:
                if error.filename is None:
                    raise
                unusable = _unusable(error)
                print_error(unusable, blank, as_json=bool(bound.arguments.get("json")))
                raise Exit(code=unusable.exit_code) from None
            if code:
                raise Exit(code=code)

        made = task(run, **{"klass": Command, **options})
        return cast("Task[Any]", made)

    return wrap


class Command(Task[Any]):
    """A task whose options that are numbers refuse a word in a sentence; invoke itself ends with a traceback.

    Those that may be given several times want a value each time; without one invoke takes the option for not given, and
    `db.backfill --change` would fill all changes.
    """

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            if argument.kind is list:
                argument.raw_value = None  # what invoke asks whether there was a value
            if argument.kind in {int, float}:
                argument.kind = functools.update_wrapper(
                    functools.partial(_number, argument.kind, argument.names[0]), argument.kind, updated=()
                )
        return arguments


def _number(kind: type[float], option: str, text: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if abs(number) <= _GREATEST:
        return number
    from deploykit.model import UsageError

    what = "a whole number" if kind is int else "a number"
    what += f" of at most {_GREATEST}" if abs(number) > _GREATEST else ""
    error = UsageError(f"--{option} takes {what}, not {text!r}", next_step="invoke --help TASK says what it is")
    print_error(error)
    raise Exit(code=error.exit_code)


def _show_help(word: str) -> None:
    """End as `--help TASK` would: invoke takes what follows a task for its positional argument, `--help` too."""
    words = sys.argv[1:]
    if word in words[1:]:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, sys.argv[0], "--help", words[words.index(word, 1) - 1]])  # noqa: S606  # nosec B606


def removed_folder() -> UsageError:
    """The error where the present folder was removed: from there nothing can be found."""
    from deploykit.model import UsageError

    return UsageError("the folder that you are in was removed", next_step="cd to the repository of your service")


def _reject_removed_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise removed_folder() from None


def _unusable(error: OSError) -> DeploykitError:
    """A file or folder that is not as it has to be: no permission, a folder in a file's place, a full disk."""
    from deploykit.model import DeploykitError

    where = traceback.extract_tb(error.__traceback__)[-1]
    return DeploykitError(
        f"{error.filename} can't be used: {error.strerror}",
        details=[f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"],
        next_step=f"look at it (ls -ld {shlex.quote(str(error.filename))}) and put it right, then type the same again",
    )


def _relax_garbage_collection() -> None:
    """Have Python look for cyclic garbage rarely, and not when it ends: a quarter of a command's CPU time went into
    that.

    A command imports much, lives for a second, and its memory goes back to the system anyway.
    """
    gc.set_threshold(_GC_THRESHOLD)
    atexit.register(gc.freeze)


def repository() -> Path:
    """Where the command was typed: the folder of tasks.py or pyproject.toml, at or above the present folder."""
    present = Path.cwd()
    for folder in (present, *present.parents):
        if (folder / "pyproject.toml").exists() or (folder / "tasks.py").exists():
            return folder
        if (folder / ".git").exists():
            break
    return present


def open_from_here(name: str | None, app: str | None = None, *, sources: bool = False) -> Environment:
    """The environment `name` of the app in the present folder, or of `app`. `sources`: they must be there."""
    from deploykit.release.environment import open_environment

    return open_environment(repository(), name, app=app or "", sources=sources)


def print_error(error: DeploykitError, blank: Mapping[str, Any] | None = None, *, as_json: bool = False) -> None:
    """Print an error for people, and with `as_json` for programs, with the keys of `blank` besides its own."""
    from deploykit.tasks.terminal import error_lines

    print_lines(error_lines(error.message, error.details, error.next_step, stream=sys.stderr), sys.stderr)
    if as_json:
        print_json(
            {
                "outcome": {2: "inconclusive", 3: "usage error"}.get(error.exit_code, "failed"),
                **(blank or {}),
                "reason": error.message,
                "details": list(error.details),
                "next_step": error.next_step,
            }
        )
