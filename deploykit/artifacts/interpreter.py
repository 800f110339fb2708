"""The Python that artefacts run on: the base interpreter behind a virtual environment, so that no checkout is needed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from deploykit.artifacts.git import clean_environment
from deploykit.model import UsageError
from deploykit.process import CommandNotFound, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Interpreter", "inspect"]

_QUESTION = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "platform": sysconfig.get_platform() + "-" + "-".join(platform.libc_ver()).strip("-"),
}))
"""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """`version` is complete (`3.11.7`), `platform` names system, processor and C library (`linux-x86_64-glibc-2.36`)."""

    executable: str
    version: str
    implementation: str
    platform: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def inspect(python: Path | None = None) -> Interpreter:
    """The base interpreter of `python` (None: the one that runs this).

    Raises UsageError when it can't be run.
    """
    program = str(python) if python is not None else sys.executable
    try:
        done = run([program, "-I", "-S", "-c", _QUESTION], env=clean_environment(), timeout=30.0, check=False)
    except CommandNotFound as error:
        raise UsageError(f"there is no Python interpreter {program}") from error
    if done.returncode != 0:
        raise UsageError(f"the Python interpreter {program} does not run", details=done.stderr.splitlines()[-20:])
    return Interpreter(**json.loads(done.stdout))
