"""The entry when this folder is run by its path: import it as a package, so that its relative imports work."""

from __future__ import annotations

import importlib
import os
import sys

parent, name = os.path.split(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - see `folder`
# Python put this folder first on the path, where its files would hide other modules.
sys.path[:] = [*sys.path[1:], parent]
sys.exit(importlib.import_module(f"{name}.main").main(sys.argv[1:]))
