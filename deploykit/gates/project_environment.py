"""The environment that the project's code runs in for typing, tests and coverage: its lock, its tests' needs, itself.

What it locks is never moved: the kit's own pytest, coverage and mypy only fill in what the project does not bring.
"""

from __future__ import annotations

import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.requirements import filtered, read_lock
from deploykit.gates.tooling import parse_json, run_tool, tool_environment
from deploykit.gates.tools import Installer, UvInstaller, cache_home, create_once, environment_key, lock_of
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["ProjectNeeds", "fill_project_environment", "managed_project_environment", "project_key"]

_TOPS = {"pytest": ("coverage", "pytest"), "mypy": ("mypy",)}
_LIST = """
import importlib.metadata, json, sys
json.dump(sorted({dist.metadata["Name"] for dist in importlib.metadata.distributions()}), sys.stdout)
"""


@dataclass(frozen=True, kw_only=True)
class ProjectNeeds:
    """`locks` are requirement files in the tree; `groups` and `extras` are pyproject.toml's.

    Missing files are an error.
    """

    locks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


def project_key(root: Path, needs: ProjectNeeds, families: Sequence[str]) -> str:
    """A hash of all that the environment is made of; the project's own code is not in it, being installed editable."""
    files = [root / name for name in (*needs.locks, "pyproject.toml", "setup.py", "setup.cfg")]
    contents = [path.read_bytes() if path.is_file() else b"" for path in files]
    tools = [lock_of(family).read_bytes() for family in families]
    return environment_key(str(root), repr(needs), *contents, *tools)


def managed_project_environment(
    root: Path, needs: ProjectNeeds, *, environment: Mapping[str, str], families: Sequence[str] = ("pytest", "mypy")
) -> Path:
    """The Python of the project's environment in the user's cache, made now if it is not there."""
    folder = cache_home(environment) / "projects" / f"{root.name}-{project_key(root, needs, families)}"

    def fill(target: Path) -> None:
        installer = UvInstaller(target, root=root, environment=environment)
        installer.make()
        fill_project_environment(installer, root, needs, environment=environment, families=families)

    return create_once(folder, fill) / "bin" / "python"


def fill_project_environment(
    installer: Installer,
    root: Path,
    needs: ProjectNeeds,
    *,
    environment: Mapping[str, str],
    families: Sequence[str] = ("pytest", "mypy"),
) -> None:
    """Install what the project's code and tests need. Raises InconclusiveError when something can't be had."""
    for words in install_steps(root, needs, understands_groups=installer.understands_groups):
        installer.install(*words)
    for family in families:
        _complete(installer, root, family, environment)


def install_steps(root: Path, needs: ProjectNeeds, *, understands_groups: bool) -> list[list[str]]:
    """The installer's arguments, call by call: first the locks together, then the project with groups and extras."""
    for name in needs.locks:
        if not (root / name).is_file():
            raise InconclusiveError(
                f"there is no lock {name}",
                next_step="check service.requirements and tests.requirements in [tool.deploykit]",
            )
    steps = []
    if needs.locks:
        steps.append([word for name in needs.locks for word in ("-r", str(root / name))])
    project = _read_project(root)
    groups = [word for group in needs.groups for word in ("--group", group)]
    extras = f"[{','.join(needs.extras)}]" if needs.extras else ""
    if _is_package(root, project):
        steps.append(["-e", f"{root}{extras}", *groups])
    elif understands_groups and "project" in project:
        steps.append(["-r", str(root / "pyproject.toml"), *(f"--extra={name}" for name in needs.extras), *groups])
    elif "project" in project:
        table = project["project"]
        wanted = [*table.get("dependencies", ())]
        wanted += [item for name in needs.extras for item in table.get("optional-dependencies", {}).get(name, ())]
        if wanted or groups:
            steps.append([*wanted, *groups])
    elif groups:
        steps.append(groups)
    return steps


def _read_project(root: Path) -> Mapping[str, Any]:
    try:
        with (root / "pyproject.toml").open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InconclusiveError(
            "pyproject.toml can't be read", details=[str(error)], next_step="fix the line that it names"
        ) from error


def _is_package(root: Path, project: Mapping[str, Any]) -> bool:
    """As uv sees it: there is a build system, unless `tool.uv.package` says something else."""
    said = project.get("tool", {}).get("uv", {}).get("package")
    if isinstance(said, bool):
        return said
    return "build-system" in project or (root / "setup.py").is_file()


def _complete(installer: Installer, root: Path, family: str, environment: Mapping[str, str]) -> None:
    """Add the family's tools if the project does not bring them, leaving every package that is there as it is."""
    completed = run_tool(
        [installer.python, "-P", "-c", _LIST],
        root=root,
        environment=tool_environment(environment),
        answers=(0,),
        timeout=60,
    )
    present = {name.lower().replace("_", "-").replace(".", "-") for name in parse_json(completed)}
    if set(_TOPS[family]) <= present:
        return
    with tempfile.TemporaryDirectory(prefix="deploykit-") as folder:
        rest = Path(folder) / f"{family}.txt"
        rest.write_text(filtered(read_lock(lock_of(family)), present), encoding="utf-8")
        installer.install("--no-deps", "--require-hashes", "-r", str(rest))
