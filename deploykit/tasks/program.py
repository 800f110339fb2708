"""The `deploykit` command: the tasks of the repository's tasks.py, or the kit's own where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import CollectionNotFound
from invoke.loader import FilesystemLoader
from invoke.program import Program

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["main"]


class _KitLoader(FilesystemLoader):
    """Finds tasks.py as invoke does; the kit's own tasks are the fallback."""

    def load(self, name: str | None = None) -> tuple[ModuleType, str]:
        try:
            return super().load(name)
        except CollectionNotFound:
            from deploykit.tasks import default

            return default, str(Path.cwd())


class _KitProgram(Program):
    def __init__(self, **options: Any) -> None:
        super().__init__(loader_class=_KitLoader, **options)


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
        _KitProgram(name="deploykit", binary="deploykit", version=version("deploykit")).run()
    except BrokenPipeError:
        # The reader closed the pipe: `deploykit --list | head`.
        raise SystemExit(BROKEN_PIPE) from None
    finally:
        silence_broken_streams()
