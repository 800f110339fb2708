"""The kit's own sessions, registered as in any repo that uses it, and what only this repo needs."""

import sys

import nox

from deploykit import sessions

# Most of what the kit does is done by processes: without the integration tests coverage would say little.
sessions.register(coverage_of=["test", "integration"])
# They kill and race real processes: on a machine that is shared a failure is tried once more, and the verdict names it.
again = ["--reruns=1", "-rR", "--rerun-show-tracebacks"]
sessions.register_tests(
    "integration", paths=["tests/integration"], arguments=["-n", "auto", "--dist", "worksteal", *again]
)
# In the order of tests/faults/conftest.py, the longest first, so that no core is idle at the end.
# They mostly wait: three at a time keep two cores busy.
in_order = ["-n", "3", "--dist", "loadgroup", "--no-loadscope-reorder"]
others = ["--ignore=tests/faults/signals"]
sessions.register_tests("faults", paths=["tests/faults"], arguments=["--timeout=1800", *in_order, *others, *again])
sessions.register_tests(
    "fuzz",
    paths=["tests/integration/fuzz"],
    summary="Commands on generated settings, repositories and ledgers: 300 cases; -- --cases 10000 for more.",
)
sessions.register_tests(
    "signals",
    paths=["tests/faults/signals"],
    arguments=["-n", "2"],
    summary="Send signals at random moments of 2000 releases and rollbacks; -- --signals 200 for fewer.",
)


@nox.session(default=False, venv_backend="none")
def locks(session: nox.Session) -> None:
    """Write the locks again: requirements/*.lock and the tools' own; `-- --upgrade` takes newer versions."""
    from deploykit.gates.tools import FAMILIES
    from deploykit.process.uv import find_uv

    shape = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--python-version", "3.11"]

    def lock(target: str, *sources: str) -> None:
        words = [*sources, "-o", target, *shape, "--quiet", *session.posargs]
        session.run(find_uv(), "pip", "compile", *words, external=True)

    every = ["pyproject.toml", "--all-extras"]
    lock("requirements/kit.lock", *every)
    lock("requirements/test.lock", *every, "--group", "test", "-c", "requirements/kit.lock")
    lock("requirements/board.lock", "requirements/board.in", "-c", "requirements/kit.lock")
    for family in FAMILIES:
        lock(f"deploykit/gates/locks/{family}.txt", f"deploykit/gates/locks/{family}.in")


@nox.session(default=False, venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure start-up, switch, rollback and release; `-- --write` writes benchmarks/results.md anew."""
    session.run(sys.executable, "-m", "benchmarks", *session.posargs, external=True)
