"""`invoke exec`: a command in the live version's environment.

Its words come after `--`, where invoke reads nothing. Before it invoke would take `-V`, `-c`, `-e` and other options of
the command for its own, without a word.
"""

from __future__ import annotations

import itertools
import shlex
import sys
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from deploykit.tasks.command import Command, command, open_from_here, print_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context
    from invoke.parser.argument import Argument

    from deploykit.model import UsageError

__all__ = ["execute"]

_DASHES = "--"
_OWN = ("--env", "-e", "--app", "-a")


class _Execute(Command):
    """Refuses a command before `--` ahead of invoke, which would say of its words that it does not know them."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        if words := _misplaced(sys.argv):
            error = _refusal(_named(sys.argv), words)
            print_error(error)
            raise Exit(code=error.exit_code)
        return super().get_arguments(ignore_unknown_help)


def _misplaced(argv: Sequence[str]) -> list[str]:
    """The words of a command that stand where invoke reads them, from its first one on."""
    place = argv.index("exec") if "exec" in argv else 0
    if not place or argv[place - 1].startswith("-") or _DASHES in argv:  # behind an option it may be its value
        return []
    words = list(argv[place + 1 :])
    found: list[str] = []
    while words:
        word = words.pop(0)
        if word in _OWN:
            words[:1] = []
        elif word.partition("=")[0] not in _OWN and (found or not word.startswith("-")):
            found.append(word)
    return found


def _named(argv: Sequence[str]) -> str:
    """The environment that the words name, as far as they do."""
    for option, value in itertools.pairwise([*argv, ""]):
        if option in {"--env", "-e"}:
            return value
        if option.startswith("--env="):
            return option.partition("=")[2]
    return ""


def _refusal(env: str | None, words: Sequence[str]) -> UsageError:
    from deploykit.model import UsageError

    return UsageError(
        "the command comes after --, since invoke takes options before it for its own (-V, -c, -e and others)",
        next_step=f"invoke exec --env {env or 'local'} -- {shlex.join(words)}",
    )


@command(
    name="exec",
    klass=_Execute,
    help={
        "env": "the environment: local, staging, production …",
        "app": "the app, where this folder is no repository",
    },
)
def execute(_context: Context, env: str | None = None, app: str = "") -> int | None:
    """Run a command in the live version's own environment, with its variables.

    It has your terminal or your pipes, and its exit code is passed on.
    For example: invoke exec --env local -- python -V
    """
    from deploykit.release.queries.run_command import run_in_live

    argv = sys.argv[sys.argv.index(_DASHES) + 1 :] if _DASHES in sys.argv else []
    if not argv:
        raise _refusal(env, ["python", "-V"])
    code = run_in_live(open_from_here(env, app), argv)
    return min(code, 255) if code >= 0 else 128 - code
