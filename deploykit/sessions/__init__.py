"""The kit's nox sessions. A repo's whole noxfile.py:

    from deploykit import sessions

    sessions.register()

Every `nox -l` pays for this module, so it imports nothing heavy; what runs is imported when a session runs.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import nox

    Body = Callable[[nox.Session], None]

__all__ = ["NAMES", "register", "register_tests"]

RUN_VARIABLE = "DEPLOYKIT_NOX_RUN"
"""Names one nox run, so that its sessions, each a process of its own under `-j`, know which verdicts are theirs."""

_DOCS = {
    "lint": "Lint and check the format with ruff, and the import contracts where the repo has them.",
    "typing": "Check the types with mypy, in the project's own environment.",
    "test": "Run the tests under coverage; what follows -- goes to pytest.",
    "tests": "The same as test.",
    "coverage": "Combine the coverage of the test sessions, write the reports, judge the total.",
    "sast": "Look for insecure code with bandit.",
    "audit": "Look the locked dependencies up in the advisory database with pip-audit.",
    "secrets": "Look for secrets that are not in the baseline.",  # pragma: allowlist secret
    "migrations": "Judge the database migrations: locks, breaking changes, lost data.",
    "security": "Join sast, audit and secrets into one outcome.",
}
_REQUIRES = {"security": ("sast", "audit", "secrets"), "tests": ("test",)}
# Three come with security; a repo without a database has no migrations.
_ON_REQUEST = frozenset({"tests", "sast", "audit", "secrets", "migrations"})
_BACKEND = "uv|virtualenv"
_WITHOUT_ENVIRONMENT = frozenset({"tests", "security"})

NAMES = tuple(_DOCS)


def register(
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    override: Mapping[str, Body] | None = None,
    coverage_of: Sequence[str] = ("test",),
) -> None:
    """Register the kit's sessions: all, or those in `include`, without those in `exclude`.

    `override` gives a session of the kit another body, a function of the nox session; its name, what it requires and
    its environment stay. `coverage_of` are the sessions of tests that `coverage` requires and judges together; those
    beside `test` come from `register_tests`. The setting `coverage.sessions` says what they must cover together.
    Ends nox with exit code 3 when a name is none of the kit's.
    """
    import nox

    bodies = dict(override or {})
    unknown = [name for name in (*include, *exclude, *bodies) if name not in _DOCS]
    if unknown:
        from deploykit.sessions.output import say

        say([f"noxfile.py: deploykit has no session {unknown[0]!r}; it has {', '.join(NAMES)}"], stream=sys.stderr)
        raise SystemExit(3)
    chosen = [name for name in NAMES if (not include or name in include) and name not in exclude]
    for name in chosen:
        body = bodies.get(name) or _body(name, tuple(coverage_of))
        required = coverage_of if name == "coverage" else [part for part in _REQUIRES.get(name, ()) if part in chosen]
        nox.session(
            name=name,
            requires=required,
            default=name not in _ON_REQUEST,
            venv_backend="none" if name in _WITHOUT_ENVIRONMENT and name not in bodies else _BACKEND,
            reuse_venv=True,
            allow_parallel=True,
        )(body)
    _name_this_run()


def register_tests(
    name: str, *, paths: Sequence[str], arguments: Sequence[str] = (), default: bool = False, summary: str = ""
) -> None:
    """Register another session of tests, such as `integration`, with a verdict and coverage data of its own.

    `coverage` adds its data to those of `test`, when it has run on the same tree. What follows `--` goes to pytest.
    """
    import nox

    def body(session: nox.Session) -> None:
        from deploykit.sessions import running

        running.run_tests(session, name, paths=paths, arguments=arguments)

    body.__doc__ = summary or f"Run the tests in {', '.join(paths)} under coverage; what follows -- goes to pytest."
    nox.session(name=name, default=default, venv_backend=_BACKEND, reuse_venv=True, allow_parallel=True)(body)


def _body(name: str, coverage_of: tuple[str, ...]) -> Body:
    def body(session: nox.Session) -> None:
        from deploykit.sessions import running

        if name == "security":
            running.combine_security(session)
        elif name == "coverage":
            running.run_coverage(session, coverage_of)
        elif name != "tests":
            running.run_session(session, name)

    body.__doc__ = _DOCS[name]
    return body


def _name_this_run() -> None:
    """Name the run, and say its outcomes in words when nox, which can only say `failed`, has ended."""
    if RUN_VARIABLE in os.environ:
        return
    started = time.time()
    os.environ[RUN_VARIABLE] = f"{os.getpid()}-{started:.6f}"
    atexit.register(_print_outcomes, Path.cwd(), os.getpid(), started)


def _print_outcomes(root: Path, pid: int, started: float) -> None:
    folder = root / ".deploykit" / "verdicts"
    try:
        changed = pid == os.getpid() and folder.stat().st_mtime >= started
    except OSError:
        changed = False
    if changed:
        from deploykit.sessions.running import print_outcomes

        print_outcomes(root, os.environ.get(RUN_VARIABLE, ""))
