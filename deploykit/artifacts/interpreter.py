"""The Python that artefacts run on: the base interpreter behind a virtual environment, so that no
checkout is needed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from deploykit.artifacts import python_facts
from deploykit.model import UsageError
from deploykit.process import CommandNotFound, run
from deploykit.process.git import clean_environment

__all__ = ["Interpreter", "inspect"]

_FACTS = Path(python_facts.__file__)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """`version` is complete (`3.11.7`), `platform` names system, processor and C library
    (`linux-x86_64-glibc-2.36`).
    """

    executable: str
    version: str
    implementation: str
    platform: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def inspect(python: Path | None = None) -> Interpreter:
    """The base interpreter of `python` (None: the one that runs this, which need not be started to be asked).

    Raises UsageError when it can't be run.
    """
    if python is None:
        return Interpreter(**python_facts.facts())
    program = str(python)
    try:
        done = run([program, "-I", "-S", _FACTS], env=clean_environment(), timeout=30.0, check=False)
    except CommandNotFound as error:
        raise UsageError(f"there is no Python interpreter {program}") from error
    if done.returncode != 0:
        raise UsageError(f"the Python interpreter {program} does not run", details=done.stderr.splitlines()[-20:])
    return Interpreter(**json.loads(done.stdout))
