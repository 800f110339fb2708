"""deploykit carries a Python service from `git commit` to a healthy, reversible release.

The packages stand on floors, and lower floors know nothing of higher ones; `docs/architecture.md` has the map.
This module stays free of imports, since every nox and invoke start-up pays for it.
"""
