"""Build the artefact of a tree for `local`: its sources, its wheel, its environment, stored by content digest."""

from __future__ import annotations

import compileall
import contextlib
import filecmp
import importlib.util
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.artifacts import git
from deploykit.artifacts.artifact import FORMAT, MANIFEST, Artifact, digest_of
from deploykit.artifacts.environment import Environments
from deploykit.artifacts.files import canonical, folder_hash, freeze, sha256
from deploykit.artifacts.interpreter import Interpreter, inspect
from deploykit.artifacts.lock import Lock, project_table, reject_other_python, resolve
from deploykit.artifacts.persistent import link_out
from deploykit.artifacts.store import Store
from deploykit.artifacts.version import version_of
from deploykit.artifacts.wheel import build_wheel, install_wheel, version_variables
from deploykit.process import run
from deploykit.process.files import flocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deploykit.artifacts.git_tree import GitTree

__all__ = ["BuildStep", "build_local"]

_NEVER_IMPORTED = ("tests", "test", "docs", "node_modules", "benchmarks")


@dataclass(frozen=True, kw_only=True)
class BuildStep:
    """A part of a build that has ended: `name` (`sources`, `environment`, `wheel`, `store`), what to say of it,
    seconds.
    """

    name: str
    note: str
    seconds: float


def build_local(  # noqa: PLR0913 - what a build depends on, all by keyword
    root: Path,
    tree: GitTree,
    *,
    store: Path,
    requirements: str = "",
    python: Path | None = None,
    persistent: Sequence[str] = (),
    data: Path | None = None,
    on_step: Callable[[BuildStep], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
    wait: Callable[[float], None] = time.sleep,
) -> Artifact:
    """Build the artefact of `tree` (what `read_tree(root)` said), or find it when it was built before.

    `store` is `StatePaths.artifacts`, `requirements` the setting `service.requirements`, `python` the interpreter to
    run on (None: the one that runs this; the base interpreter behind it is used). `persistent` are paths of the tree
    that become links into the folder `data`, which then belongs to the artefact. `on_wait` gets what is waited for;
    `wait` sleeps for so many seconds, and may raise Cancelled.

    Raises DeploykitError with the cause: uv's or the build backend's last lines, a file that is not in the tree.
    """
    artifact_store = Store(store.absolute())
    interpreter = inspect(python)
    links = {"paths": list(persistent), "data": str(data)} if persistent and data is not None else {}
    inputs = [FORMAT, tree.tree, version_of(tree), requirements, interpreter.as_json(), str(artifact_store.root), links]
    key = sha256(canonical(inputs))
    started = time.monotonic()

    def waiting() -> None:
        on_wait("another build of the same tree is under way, waiting for it")

    with artifact_store.building(wait), flocked(artifact_store.locks / f"build-{key[:20]}", on_wait=waiting, wait=wait):
        if (found := artifact_store.built(key)) is not None:
            on_step(BuildStep(name="store", note=f"built before: {_short(found)}", seconds=time.monotonic() - started))
            return found
        with artifact_store.temporary() as folder:
            build = _Build(
                store=artifact_store,
                root=root,
                tree=tree,
                interpreter=interpreter,
                requirements=requirements,
                folder=folder,
                links=links,
                on_step=on_step,
                on_wait=waiting,
                wait=wait,
            )
            artifact = build.run()
        artifact_store.remember(key, artifact.digest)
    return artifact


@dataclass(frozen=True, kw_only=True)
class _Build:
    store: Store
    root: Path
    tree: GitTree
    interpreter: Interpreter
    requirements: str
    folder: Path
    links: Mapping[str, Any]
    on_step: Callable[[BuildStep], None]
    on_wait: Callable[[], None]
    wait: Callable[[float], None]

    @property
    def result(self) -> Path:
        """What becomes the artefact's folder."""
        return self.folder / "artefact"

    @property
    def sources(self) -> Path:
        return self.result / "tree"

    @property
    def environments(self) -> Environments:
        return Environments(
            interpreter=self.interpreter,
            folder=self.store.environments,
            builders=self.store.builders,
            locks=self.store.locks,
            on_wait=self.on_wait,
            wait=self.wait,
        )

    def run(self) -> Artifact:
        with self._step("sources") as note:
            git.export(self.tree, self.sources)
            note.append(f"tree {self.tree.tree[:12]}")
        with self._step("environment") as note:
            reject_other_python(self.sources, self.interpreter.version)
            lock = resolve(
                self.sources,
                requirements=self.requirements,
                interpreter=self.interpreter,
                kept=self.store.resolutions,
            )
            environment, reused = self.environments.of_lock(lock, self.sources)
            note.append(f"{'re-used' if reused else 'made'}, {lock.message}")
        (self.result / "requirements.lock").write_text(lock.text, encoding="utf-8")
        project = project_table(self.sources)
        completed: list[str] = []
        if project:
            with self._step("wheel") as note:
                completed = self._wheel(str(project.get("name", "")), environment)
                note.append(str(project.get("name", "")))
        with self._step("store") as note:
            artifact = self._store(lock, environment, completed, package=bool(project))
            note.append(_short(artifact))
        return artifact

    def _wheel(self, name: str, environment: Path) -> list[str]:
        wheel = build_wheel(
            self.sources,
            self.folder / "wheel",
            project=name,
            variables=version_variables(name, version_of(self.tree), self.tree.commit_time),
            environments=self.environments,
        )
        site = self.result / "site"
        install_wheel(wheel, site, python=environment / "bin" / "python")
        return _complete(self.sources, site)

    def _store(self, lock: Lock, environment: Path, completed: list[str], *, package: bool) -> Artifact:
        site = self.result / "site"
        site_hash = folder_hash(site, skip=_not_content) if package else ""
        if self.links:
            link_out(self.result, self.links["paths"], Path(self.links["data"]))
        _compile(self.result, environment / "bin" / "python")
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": version_of(self.tree),
            "tree": self.tree.tree,
            "site": site_hash,
            "lock": lock.key,
            "python": {"implementation": self.interpreter.implementation, "version": self.interpreter.version},
            "platform": self.interpreter.platform,
            "commit": self.tree.commit,
            "dirty": self.tree.dirty,
            "environment": environment.name,
            "lock_source": lock.source,
            "lock_assumed": lock.assumed,
            "completed": completed,
            "persistent": self.links,
            "notes": [*self.tree.warnings, *([lock.message] if lock.assumed else [])],
        }
        digest = digest_of(manifest)
        manifest["digest"] = digest
        (self.result / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        freeze(self.result)
        self.result.chmod(0o700)  # a folder is renamed only by those who may write to it
        folder = self.store.put(self.result, digest)
        return Artifact.from_manifest(manifest | {"environment": environment.name}, folder, self.store.environments)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[list[str]]:
        started = time.monotonic()
        note: list[str] = []
        yield note
        self.on_step(BuildStep(name=name, note=", ".join(note), seconds=time.monotonic() - started))


def _short(artifact: Artifact) -> str:
    return f"{artifact.version} ({artifact.digest[:19]})"


def _complete(tree: Path, site: Path) -> list[str]:
    """Copy into the tree's packages what only the build made (`_version.py`, compiled modules), and list it.

    Servers such as uvicorn and gunicorn put the working directory first on the import path: without these files the
    package found there would be half of the one that was installed.
    """
    made = []
    for package in sorted(path for path in site.iterdir() if path.is_dir() and (tree / path.name).is_dir()):
        for path in sorted(package.rglob("*")):
            there = tree / path.relative_to(site)
            if path.is_file() and "__pycache__" not in path.parts and not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, there)
                made.append(there.relative_to(tree).as_posix())
    return made


def _not_content(name: str) -> bool:
    """Files of an installed wheel that say how and where it was installed, not what it is."""
    last = name.rpartition("/")[2]
    return (
        name.startswith("bin/")
        or name == ".lock"
        or "__pycache__/" in name
        or (".dist-info/" in name and last in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
    )


def _compile(folder: Path, python: Path) -> None:
    """Compile the sources once, so that no start pays for it. What is no valid Python stays as it is."""
    # Names relative to the folder: what lies above it, such as `~/.local`, must not match.
    skipped = r"/(?:" + "|".join(_NEVER_IMPORTED) + r"|\.[^/]+)/"
    command = (python, "-I", "-m", compileall.__name__, "-qq", "-x", skipped)
    if (folder / "site").is_dir():
        run([*command, "site"], cwd=folder, timeout=300.0, check=False)
        _share_compiled(folder / "site", folder / "tree")
    run([*command, "tree"], cwd=folder, timeout=300.0, check=False)


def _share_compiled(site: Path, tree: Path) -> None:
    """Give the tree what was compiled of its very files in the wheel; compiled files count by the time
    of their source.
    """
    for compiled in site.glob("*/**/__pycache__/*.pyc"):
        source = Path(importlib.util.source_from_cache(str(compiled)))
        twin = tree / source.relative_to(site)
        if twin.is_file() and filecmp.cmp(source, twin, shallow=False):
            seconds = source.stat().st_mtime
            os.utime(twin, (seconds, seconds))
            copy = tree / compiled.relative_to(site)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, copy)
