"""Run a gate's tool. Whatever keeps a tool from answering makes the gate inconclusive, with the tool's last lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.obeyed import OBEYED
from deploykit.model import InconclusiveError
from deploykit.process.run import CommandNotFound, CommandTimedOut, Completed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.gates.interface import GateContext

__all__ = [
    "TOOL_SECONDS",
    "ask_application",
    "chunks",
    "crashed",
    "last_lines",
    "parse_json",
    "run_tool",
    "tool_caches",
    "tool_environment",
]

TOOL_SECONDS = 900.0
_LINES = 20
_CHUNK = 400
_OUTER = (OBEYED["coverage"].variables, OBEYED["pytest"].variables)
_MISLEADING = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def tool_environment(environment: Mapping[str, str], *, project: Path | None = None) -> dict[str, str]:
    """The environment of a tool: no colours, UTF-8, loopback without a proxy, and nothing that points to another
    Python.

    `project`, the kit's work folder, is for tools that import the project's code: PYTHONPATH and PYTHONWARNINGS are
    the user's then, and byte code goes into that folder, so that looking at a tree does not change it.
    """
    dropped = () if project is not None else _MISLEADING
    kept = {
        name: value
        for name, value in environment.items()
        # An outer `coverage run` (or a test of this very gate) must not measure, and fail with, the tools.
        if name not in dropped and not name.startswith(_OUTER)
    }
    loopback = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy", ""), "127.0.0.1", "localhost"]))
    extra = {"PYTHONUTF8": "1", "NO_PROXY": loopback, "no_proxy": loopback}
    if project is None:
        kept.pop("FORCE_COLOR", None)
        extra["NO_COLOR"] = "1"
    else:
        extra["PYTHONPYCACHEPREFIX"] = str(project / "pycache")
    return kept | extra


def tool_caches(root: Path) -> dict[str, str]:
    """Variables that say where ruff and mypy keep their caches: in the tree, whatever its configuration says.

    They keep none in a tree that can't be written, where they would give up, and none where the folder is a link.
    """
    ruff, mypy = root / ".ruff_cache", root / ".mypy_cache"
    if not os.access(root, os.W_OK) or ruff.is_symlink() or mypy.is_symlink():
        return {"RUFF_NO_CACHE": "true", "MYPY_CACHE_DIR": os.devnull}
    return {"RUFF_CACHE_DIR": str(ruff), "MYPY_CACHE_DIR": str(mypy)}


def run_tool(  # noqa: PLR0913 - the knobs of a child process, all by keyword
    argv: Sequence[str | os.PathLike[str]],
    *,
    root: Path,
    environment: Mapping[str, str],
    answers: Sequence[int] = (0, 1),
    stdin: str = "",
    timeout: float = TOOL_SECONDS,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a tool in the tree; `answers` are the exit codes with which it says something (not: that it failed to look).

    Raises InconclusiveError when the tool is missing, ran out of time, was killed or answered any other exit code.
    """
    name = Path(argv[0]).name
    try:
        completed = run(
            argv,
            cwd=root,
            env=environment,
            stdin=stdin,
            timeout=timeout,
            check=False,
            on_line=(lambda _stream, line: on_line(line)) if on_line else None,
        )
    except (CommandNotFound, OSError) as error:
        raise InconclusiveError(
            f"the tool {name} can't be started: {error}", next_step="invoke doctor, or delete the tool's environment"
        ) from error
    except CommandTimedOut as error:
        raise InconclusiveError(
            f"{name} did not end within {timeout:g} s and was killed",
            details=error.details,
            next_step="look at its last lines, then run the gate again",
        ) from error
    if completed.returncode not in answers:
        raise crashed(completed)
    return completed


def crashed(completed: Completed, why: str = "") -> InconclusiveError:
    """The error for a tool that ended without an answer."""
    name = Path(completed.argv[0]).name
    how = (
        f"was killed by signal {-completed.returncode}"
        if completed.returncode < 0
        else f"ended with exit code {completed.returncode}"
    )
    return InconclusiveError(
        why or f"{name} {how} and gave no answer",
        details=last_lines(completed),
        next_step=f"look at what {name} said, fix it, and run the gate again",
    )


def last_lines(completed: Completed) -> tuple[str, ...]:
    """The last lines that the tool printed, standard error before standard output."""
    said = completed.stderr.strip() or completed.stdout.strip()
    return tuple(said.splitlines()[-_LINES:])


def parse_json(completed: Completed) -> Any:
    """The tool's standard output as JSON. Raises InconclusiveError when it is cut off or something else."""
    try:
        return json.loads(completed.stdout)
    except ValueError as error:
        name = Path(completed.argv[0]).name
        raise crashed(completed, f"{name} (exit code {completed.returncode}) printed no readable JSON") from error


def ask_application(context: GateContext, code: str) -> Any:
    """The JSON that `code` prints in the application's environment."""
    python = context.toolbox.application_python()
    environment = tool_environment(context.environment)
    return parse_json(
        run_tool([python, "-P", "-c", code], root=context.root, environment=environment, answers=(0,), timeout=60)
    )


def chunks(files: Sequence[str]) -> list[Sequence[str]]:
    """Parts of a long list, each short enough for one command line."""
    return [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
