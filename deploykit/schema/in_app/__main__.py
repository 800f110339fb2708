"""Entry point for running this folder by its path: load it as a package under a name of its own."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import sys
from pathlib import Path

NAME = "_deploykit_in_app"
_GARBAGE = 50_000


def start() -> int:
    # Looking for cyclic garbage while all of Alembic is imported, and at the end, took a quarter of the time.
    gc.set_threshold(_GARBAGE)
    atexit.register(gc.freeze)
    here = Path(__file__).resolve().parent
    # Python put this folder first on the path, where its files would hide other modules.
    # Alembic expects the application's folder there.
    sys.path[0] = str(Path.cwd())
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None or spec.loader is None:
        raise SystemExit(f"{here} can't be loaded")
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return int(importlib.import_module(f"{NAME}.command").main(sys.argv[1:]))


if __name__ == "__main__":
    raise SystemExit(start())
