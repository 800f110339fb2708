"""Which configuration the tools of the gates obey, where each looks for it, and what is kept from them.

Configuration of the repository counts: git's hash of the whole repository is a part of what a verdict is bound to, so
a change above a sub-folder makes its verdicts stale. Here is the rest: files that git ignores, files above the
repository, and those of the user and of the machine. The last two are kept from every tool that can be kept from them.
What is obeyed all the same is hashed (`outside_git`).
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import InconclusiveError
from deploykit.model.env_files import is_env_file
from deploykit.process.git import run_git

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "OBEYED",
    "Obeyed",
    "hidden_configuration",
    "ignored_by_git",
    "outside_git",
    "reject_code_outside",
    "shielded",
]

_NOWHERE = os.devnull
"""A home without configuration. It is no folder, so tools that keep a cache at home can't make one there, even as root.
"""


@dataclass(frozen=True, kw_only=True)
class Obeyed:
    """What one tool obeys beside its command line.

    `names` are looked for in the folder of the tree, mostly also in those above and below it. `home`: the tool would
    obey files of the user, and is given another home folder. `variables` is how the names of its variables begin, which
    it is not given. `outside` are files of user and machine that it needs (`~config` is the folder for configuration),
    and `named_by` variables that name a file.
    """

    names: tuple[str, ...] = ()
    home: bool = False
    variables: str = ""
    outside: tuple[str, ...] = ()
    named_by: tuple[str, ...] = ()


OBEYED: Mapping[str, Obeyed] = {
    # In the folder of each file and all above it; the user's own, and an `extend`, if there is none.
    "ruff": Obeyed(names=(".ruff.toml", "ruff.toml", "pyproject.toml"), home=True, variables="RUFF_"),
    # In the folder and those above it up to the repository's, then the user's own.
    "mypy": Obeyed(names=("mypy.ini", ".mypy.ini", "pyproject.toml", "setup.cfg"), home=True),
    # In the folder of the tests and all above it; conftest.py also below.
    "pytest": Obeyed(
        names=(
            *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"),
            *("setup.py", "conftest.py", ".env"),
        ),
        variables="PYTEST_ADDOPTS",
    ),
    # In the folder only; `coverage_settings` asks coverage itself which of them it takes.
    "coverage": Obeyed(
        names=(".coveragerc", ".coveragerc.toml", "setup.cfg", "tox.ini", "pyproject.toml"), variables="COVERAGE_"
    ),
    "import-linter": Obeyed(names=("setup.cfg", ".importlinter", "pyproject.toml")),
    # What `sastscan.configuration` hands to it: bandit itself looks for none when it is given files.
    "bandit": Obeyed(names=(".bandit", "bandit.yaml", "bandit.yml", ".bandit.yaml", ".bandit.yml", "pyproject.toml")),
    "hadolint": Obeyed(names=(".hadolint.yaml", ".hadolint.yml"), home=True, variables="HADOLINT_"),
    # In the folder of each file and those above it, up to the repository's.
    "zizmor": Obeyed(names=("zizmor.yml", "zizmor.yaml"), variables="ZIZMOR_"),
    # It looks in all folders above its own, so `schema.lint` gives it a folder with an empty configuration.
    "squawk": Obeyed(),
    # Its settings are in the baseline, which is hashed by its name in the settings.
    "detect-secrets": Obeyed(),
    "pip-audit": Obeyed(variables="PIP_AUDIT_"),
    # `uv audit` runs without configuration; what makes environments needs the index, and the user may say which.
    "uv": Obeyed(
        names=("uv.toml", "pyproject.toml", ".python-version"),
        outside=("~config/uv/uv.toml", "/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml"),
        named_by=("UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE"),
    ),
    # Where nox makes its environments with virtualenv.
    "pip": Obeyed(
        outside=("~config/pip/pip.conf", "~/.pip/pip.conf", "/etc/pip.conf", "/etc/xdg/pip/pip.conf"),
        named_by=("PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_REQUIREMENT"),
    ),
}

_NAMES = tuple(dict.fromkeys(name for tool in OBEYED.values() for name in tool.names))
_CODE = (".py", ".pyi", ".pyw")
_CODE_VARIABLES = ("PYTHONPATH", "MYPYPATH")
_LEAVES = re.compile(r"""(?:^|[\s"'=,\[:])((?:\.\.|~)/[^\s"',\]]*)""", re.MULTILINE)


def shielded(tool: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which `tool` obeys what is in the repository, and nothing of the user's."""
    how = OBEYED[tool]
    kept = {
        name: value for name, value in environment.items() if not (how.variables and name.startswith(how.variables))
    }
    return kept | ({"HOME": _NOWHERE, "XDG_CONFIG_HOME": _NOWHERE} if how.home else {})


def ignored_by_git(root: Path) -> tuple[str, ...]:
    """Configuration and code in the repository that git ignores, relative to `root`, but for ignored folders.

    Raises InconclusiveError when git can't say.
    """
    names = _others(root, "--ignored", "--directory")
    return tuple(name for name in names if _is_configuration(name) or name.endswith(_CODE))


def _others(root: Path, *options: str) -> list[str]:
    """The files of the repository that git does not track, those that it ignores with `--ignored`."""
    listed = run_git(root, "ls-files", "-z", "--others", "--exclude-standard", *options, "--", ":/")
    if listed.returncode != 0:
        raise InconclusiveError("git could not list what it does not track", next_step="git status --ignored")
    return [name for name in listed.stdout.split("\0") if name and not name.endswith("/")]


def hidden_configuration(root: Path) -> tuple[str, ...]:
    """Notes on configuration that tools obey here, and that nobody else has, since git ignores it."""
    return tuple(f"obeyed, and not in git: {name}" for name in ignored_by_git(root) if _is_configuration(name))


def outside_git(root: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Name and hash of every file that tools obey and that git's hash of the repository does not cover.

    Raises OSError for one that can't be read or is no file, and for a folder outside the repository that configuration
    names: who knows what is in it.
    """
    found = {root / name for name in ignored_by_git(root)}
    # They are no part of the tree's hash, and the secrets gate and the tests look at them all the same.
    found |= {root / name for name in _others(root) if is_env_file(name)}
    above = [folder / name for folder in (root, *root.parents) for name in _NAMES]
    found |= {path for path in above if path.is_file()}
    found |= {path for path in _outside(root, environment) if path.is_file()}
    if devices := [path for path in found if not path.is_file()]:
        raise OSError(f"{devices[0]} is no file")
    for path in sorted(_with_named(found, root, environment)):
        yield str(path), hashlib.sha256(path.read_bytes()).digest()


def reject_code_outside(root: Path, environment: Mapping[str, str]) -> None:
    """Raise OSError when a variable adds code from outside the tree to what is imported: it is hashed nowhere."""
    for name in _CODE_VARIABLES:
        for part in filter(None, environment.get(name, "").split(os.pathsep)):
            if not (root / part).resolve().is_relative_to(root.resolve()):
                raise OSError(f"{name} names {part}")


def _is_configuration(name: str) -> bool:
    return name.rpartition("/")[2] in _NAMES


def _outside(root: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    home = _home(environment)
    config = environment.get("XDG_CONFIG_HOME") or str(home / ".config")
    for tool in OBEYED.values():
        for name in tool.outside:
            yield Path(name.replace("~config", config).replace("~", str(home)))
        for variable in tool.named_by:
            yield from (root / name for name in environment.get(variable, "").split())


def _with_named(files: Iterable[Path], root: Path, environment: Mapping[str, str]) -> set[Path]:
    """The files, and those that they name by a path that leaves their folder: ruff's `extend`, a constraint of uv."""
    files, waiting = set(files), list(files)
    top = _top(root)
    while waiting:
        path = waiting.pop()
        if path.suffix in _CODE or is_env_file(path.name):
            continue
        for named in _LEAVES.findall(path.read_text(encoding="utf-8", errors="replace")):
            target = (path.parent / named.replace("~", str(_home(environment)), 1)).resolve()
            if target in files or target.is_relative_to(top):
                continue
            if target.is_dir():
                raise IsADirectoryError(f"{path} names {target}")
            if target.is_file():
                files.add(target)
                waiting.append(target)
    return files


def _top(root: Path) -> Path:
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root).resolve()


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
