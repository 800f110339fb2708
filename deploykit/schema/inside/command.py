"""`inspect`, `render` and `upgrade`: parse the arguments, do it, print one JSON object on a marked line."""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .surroundings import Trouble, complain, say

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "@deploykit "


def main(argv: Sequence[str]) -> int:
    """0: done (for `inspect` also when the database could not be read: see `error`), 1: failed, 3: can't be run so."""
    arguments = _parser().parse_args(argv)
    os.chdir(arguments.tree)
    sys.path[0] = str(Path.cwd())
    _keep_clean(str(Path.cwd()))
    try:
        if arguments.command == "inspect":
            from .inspecting import inspect_migrations

            # Migrations may print; standard output is kept for the answer.
            with contextlib.redirect_stdout(sys.stderr):
                answer = inspect_migrations(arguments.migrations, arguments.variable)
            _print(answer)
            return 0
        if arguments.command == "render":
            from .rendering import render_migrations

            with contextlib.redirect_stdout(sys.stderr):
                answer = render_migrations(
                    arguments.migrations, arguments.variable, ask=arguments.ask, metadata=arguments.metadata
                )
            _print(answer)
            return 0
        from .upgrading import upgrade

        answer = upgrade(
            arguments.migrations, arguments.variable, wait=arguments.wait, lock_timeout=arguments.lock_timeout
        )
    except Trouble as trouble:
        complain(str(trouble))
        _print({"error": trouble.as_json()})
        return 3
    _print(answer)
    return 1 if answer["error"] else 0


def _keep_clean(tree: str) -> None:
    """Write no compiled files into the tree, which is kept under the digest of its content; elsewhere they save a second."""
    loader: Any = importlib.machinery.SourceFileLoader
    write = loader.set_data

    def set_data(self: Any, path: str, data: bytes, **more: Any) -> None:
        if not path.startswith(tree + os.sep):
            write(self, path, data, **more)

    loader.set_data = set_data


def _print(answer: dict[str, Any]) -> None:
    say(f"\n{MARK}{json.dumps(answer)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="migrations")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("inspect", "render", "upgrade"):
        command = commands.add_parser(name)
        command.add_argument("--tree", default=".", help="the application's folder, where it is run")
        command.add_argument("--migrations", required=True, help="folder with env.py, or path of an alembic.ini")
        command.add_argument("--variable", default="DATABASE_URL", help="the variable that holds the database's URL")
        if name == "render":
            command.add_argument("--ask", action="store_true", help="ask the database for its version and revisions")
            command.add_argument("--metadata", default="", help="module:attribute of the application's tables")
        if name == "upgrade":
            command.add_argument("--wait", type=float, default=60.0, help="seconds to wait for another migration")
            command.add_argument(
                "--lock-timeout", type=float, default=10.0, help="seconds a statement waits for a lock"
            )
    return parser
