"""The commands `inspect`, `render`, `upgrade` and others: run one and print a JSON object on a marked line."""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .alembic_environment import MigrationError, complain, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MARK = "@deploykit "


def main(argv: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 3 can't be run.

    `inspect` returns 0 also when the database could not be read: see `error` in its answer.
    """
    arguments = _parser().parse_args(argv)
    os.chdir(arguments.tree)
    sys.path[0] = str(Path.cwd())
    _keep_clean(str(Path.cwd()))
    try:
        _register()
        # Migrations may print; standard output is kept for the answer. Work that takes long says how far it is.
        quiet = contextlib.nullcontext() if arguments.command in _ALOUD else contextlib.redirect_stdout(sys.stderr)
        with quiet:
            answer = _WORK[arguments.command](arguments)
    except MigrationError as error:
        complain(str(error))
        _print({"error": error.as_json()})
        return 3
    _print(answer)
    return 1 if answer.get("error") and arguments.command in _ALOUD else 0


def _inspect(arguments: argparse.Namespace) -> dict[str, Any]:
    from .inspection import inspect_migrations

    return inspect_migrations(arguments.migrations, arguments.variable)


def _render(arguments: argparse.Namespace) -> dict[str, Any]:
    from .rendering import render_migrations

    return render_migrations(
        arguments.migrations,
        arguments.variable,
        ask=arguments.ask,
        metadata=arguments.metadata,
        other_database=arguments.other_database,
    )


def _upgrade(arguments: argparse.Namespace) -> dict[str, Any]:
    from .upgrade import upgrade

    return upgrade(
        arguments.migrations,
        arguments.variable,
        wait=arguments.wait,
        lock_timeout=arguments.lock_timeout,
        options=json.loads(arguments.options) if arguments.options else None,
    )


def _change(arguments: argparse.Namespace) -> dict[str, Any]:
    from .actions import change

    return change(arguments.action, arguments.migrations, arguments.variable, json.loads(arguments.options))


def _revise(arguments: argparse.Namespace) -> dict[str, Any]:
    from .revision_writer import revise

    written = revise(arguments.migrations, arguments.variable, message=arguments.message, mode=arguments.mode)
    return {"error": None, **written}


def _compare(arguments: argparse.Namespace) -> dict[str, Any]:
    from .model_comparison import differences

    return {"error": None, **differences(arguments.migrations, arguments.variable)}


def _roundtrip(arguments: argparse.Namespace) -> dict[str, Any]:
    from .round_trip import round_trip

    return {"error": None, **round_trip(arguments.migrations, arguments.variable)}


_WORK: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "inspect": _inspect,
    "render": _render,
    "upgrade": _upgrade,
    "change": _change,
    "revise": _revise,
    "compare": _compare,
    "roundtrip": _roundtrip,
}
_ALOUD = {"upgrade", "change"}


def _register() -> None:
    """Register `op.expand_…` here too, where the kit is not installed. A later check reports a missing Alembic."""
    with contextlib.suppress(ImportError):
        from .alembic_operations import register

        register()


def _keep_clean(tree: str) -> None:
    """Write no bytecode into the tree, since the digest of its content identifies it. Elsewhere it saves a second."""
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
    for name in _WORK:
        command = commands.add_parser(name)
        command.add_argument("--tree", default=".", help="the application's folder, where it is run")
        command.add_argument("--migrations", required=True, help="folder with env.py, or path of an alembic.ini")
        command.add_argument("--variable", default="DATABASE_URL", help="the variable that holds the database's URL")
        if name == "render":
            command.add_argument("--other-database", action="store_true", help="the database is not PostgreSQL")
            command.add_argument("--ask", action="store_true", help="ask the database for its version and revisions")
            command.add_argument("--metadata", default="", help="module:attribute of the application's tables")
        if name == "revise":
            command.add_argument("--message", required=True, help="what the revision is about")
            command.add_argument("--mode", default="empty", help="empty, autogenerate, contract")
        if name == "change":
            command.add_argument("action", help="status, plan, backfill, verify, contract, undo, control")
        if name in {"upgrade", "change"}:
            command.add_argument("--options", default="{}" if name == "change" else "", help="a JSON object")
        if name == "upgrade":
            command.add_argument("--wait", type=float, default=60.0, help="seconds to wait for another migration")
            command.add_argument(
                "--lock-timeout", type=float, default=10.0, help="seconds a statement waits for a lock"
            )
    return parser
