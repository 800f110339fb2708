"""A command line of any task of the kit, with any of its options; a new task is included by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz_settings import ODD_TEXTS

from deploykit.tasks import collection

if TYPE_CHECKING:
    from random import Random

    from invoke.parser.argument import Argument

__all__ = ["LEFT_OUT", "TASKS", "command_line"]

LEFT_OUT = {
    "exec": "runs a program of its own, whose exit code is passed on",
    **dict.fromkeys(("ci", "lint", "test", "security"), "run tools, each in an environment that is installed"),
    **dict.fromkeys(("build", "image.build", "push"), "build and install"),
    **dict.fromkeys(
        ("db.plan", "db.expand", "db.backfill", "db.verify", "db.contract", "db.undo"), "build and install"
    ),
    **dict.fromkeys(("db.revision", "db.lint"), "run Alembic, in an environment that is installed"),
}
TASKS = {
    context.name: list(context.args.values()) for context in collection().to_contexts() if context.name not in LEFT_OUT
}
_ALWAYS = {"release": ["--plan"], "rollback": ["--plan"]}
"""Without it they would start programs."""
_NEVER = {"resume", "follow", "plan"}
"""Options that start programs, or that do not end by themselves."""
_VALUES = {
    "env": (*["local"] * 9, "staging", "production", "nope"),
    "app": ("shop", "shop", "shop", "other"),
    "name": ("secrets", "secrets", "coverage", "nope"),
    "to": ("1.0.0", "r1", "r2", "r99"),
    "file": ("bundle.json", "pyproject.toml", "server.py", "/proc/nowhere/x"),
    "path": (".", "sub", "server.py", "/proc/nowhere"),
    "process": ("web", "mail"),
}


def command_line(random: Random) -> list[str]:
    """The words after the program's name."""
    name = random.choice(sorted(TASKS))
    words = [name, *_ALWAYS.get(name, ())]
    for argument in TASKS[name]:
        if argument.name in _NEVER:
            continue
        wanted = {"env": 0.97, "json": 0.3, "app": 0.25, "reason": 0.8}.get(str(argument.name), 0.35)
        if argument.positional:
            words.insert(1, _value(random, argument))
        elif random.random() < wanted:
            option = f"--{argument.names[0]}"
            words += [option] if argument.kind is bool else [f"{option}={_value(random, argument)}"]
    return words


def _value(random: Random, argument: Argument) -> str:
    known = _VALUES.get(str(argument.name), ())
    if known and random.random() < 0.9:
        return random.choice(known)
    # The kind of a number is a function that refuses a word in a sentence.
    number = argument.kind not in {str, list} and random.random() < 0.9
    return random.choice(("0", "1", "-1", "7", "1e3", "nan", "inf", "9" * 30) if number else ODD_TEXTS).replace(
        "\n", " "
    )
