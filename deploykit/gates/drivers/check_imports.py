"""Run isolated (`-I`) by the Python that has import-linter: `check_imports.py FOLDERS OPTIONS`, FOLDERS joined by `:`.

import-linter reads the sources, but finds packages by Python's import system, with the tree first on the path: names of
the tree would be imported for its own modules, and a package above another one would be run. Here packages are looked
up in the folders without importing anything, and imported is only what is installed beside import-linter. A contract
type of the tree's own is code, so it is not found.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_INSTALLED = list(sys.path)


class _OnlyInstalled:
    """Takes the place of the finder that looks at `sys.path`, which import-linter puts the tree on."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, _INSTALLED if path is None else path, target)


def spec_in(folders: Sequence[Path], name: str) -> ModuleSpec | None:
    """Where the package or module is, as `importlib.util.find_spec` would say; nothing is imported for it."""
    places = list(folders)
    spec = None
    for part in name.split("."):
        starts = [place / part / "__init__.py" for place in places if (place / part / "__init__.py").is_file()]
        modules = [place / f"{part}.py" for place in places if (place / f"{part}.py").is_file()]
        file = next(iter([*starts, *modules]), None)
        if starts:
            places = [starts[0].parent]
        else:  # a namespace, of several folders, unless it is a module
            places = [] if modules else [place / part for place in places if (place / part).is_dir()]
        if file is None and not places:
            return None
        spec = ModuleSpec(name, None, origin=str(file) if file else None, is_package=bool(places))
        spec.submodule_search_locations = [str(place) for place in places] or None
        spec.has_location = file is not None
    return spec


def main(folders: Sequence[Path]) -> None:
    from importlinter import cli  # type: ignore[import-not-found,unused-ignore]  # in the tool's environment

    sys.meta_path[:] = [_OnlyInstalled if finder is PathFinder else finder for finder in sys.meta_path]
    importlib.util.find_spec = lambda name, package=None: spec_in(folders, name)  # noqa: ARG005
    cli.lint_imports_command(prog_name="lint-imports")


if __name__ == "__main__":
    FOLDERS = [Path(folder) for folder in sys.argv.pop(1).split(os.pathsep)]
    main(FOLDERS)
