"""What a repo says of itself without being run: its name, packages, sources, dependencies, tests and lock file."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["FoundName", "Repo", "Source"]

_REQUIREMENT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")
_NOT_THE_APP = frozenset(
    {
        *("tests", "test", "testing", "docs", "doc", "examples", "example", "benchmarks", "benchmark", "scripts"),
        *("tools", "build", "dist", "node_modules", "venv", "env", "migrations", "alembic", "site-packages"),
        *("noxfile", "tasks", "conftest", "setup", "fabfile", "dodo"),
    }
)
_LOCKS = (
    *("requirements.lock", "requirements-lock.txt", "requirements.lock.txt", "requirements/production.txt"),
    *("requirements/prod.txt", "requirements/base.txt", "requirements/main.txt", "requirements.txt"),
)
_TEST_REQUIREMENTS = (
    *("requirements-test.txt", "requirements-tests.txt", "test-requirements.txt", "requirements/test.txt"),
    *("requirements/tests.txt", "requirements-dev.txt", "dev-requirements.txt", "requirements/dev.txt"),
)
_MOST_FILES = 400
_LARGEST = 300_000  # bytes


@dataclass(frozen=True)
class FoundName:
    value: str
    by: str


@dataclass(frozen=True)
class Source:
    """A Python file of the application. `module` is its import name, `path` is relative to the repo."""

    module: str
    path: str
    file: Path

    @functools.cached_property
    def text(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A checkout. Everything is read at most once, and no file of it is ever imported or run."""

    root: Path
    pyproject: Mapping[str, Any]

    def app_name(self) -> FoundName:
        """The name of the project, else of the folder, in the form that settings allow."""
        if isinstance(name := self.table("project").get("name"), str):
            return FoundName(_normalised(name), "the project's name in pyproject.toml")
        if isinstance(name := self.table("tool", "poetry").get("name"), str):
            return FoundName(_normalised(name), "poetry's name in pyproject.toml")
        if name := self.setup_cfg.get("metadata", {}).get("name", ""):
            return FoundName(_normalised(name), "the name in setup.cfg")
        return FoundName(_normalised(self.root.name), "the folder's name")

    def table(self, *names: str) -> Mapping[str, Any]:
        """A table of pyproject.toml, empty when it is missing or no table."""
        node: Any = self.pyproject
        for name in names:
            node = node.get(name, {}) if isinstance(node, dict) else {}
        return node if isinstance(node, dict) else {}

    @functools.cached_property
    def setup_cfg(self) -> dict[str, dict[str, str]]:
        path = self.root / "setup.cfg"
        if not path.is_file():
            return {}
        import configparser

        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            return {}
        return {section: dict(parser[section]) for section in parser.sections()}

    @functools.cached_property
    def dependencies(self) -> Mapping[str, str]:
        """Normalised names of what the application needs, each with the file that says so.

        Extras as `name[extra]` too.
        """
        found: dict[str, str] = {}

        def add(requirements: Any, by: str) -> None:
            for requirement in requirements if isinstance(requirements, (list, tuple, dict)) else ():
                if isinstance(requirement, str) and (match := _REQUIREMENT_NAME.match(requirement)):
                    name = re.sub(r"[-_.]+", "-", match[1]).lower()
                    found.setdefault(name, by)
                    for extra in (match[2] or "[]")[1:-1].split(","):
                        if extra.strip():
                            found.setdefault(f"{name}[{extra.strip().lower()}]", by)

        project = self.table("project")
        add(project.get("dependencies"), "pyproject.toml")
        for extra in self.table("project", "optional-dependencies").values():
            add(extra, "pyproject.toml")
        add(self.table("tool", "poetry", "dependencies"), "pyproject.toml")
        add(self.setup_cfg.get("options", {}).get("install_requires", "").splitlines(), "setup.cfg")
        add(self._setup_py_requirements(), "setup.py")
        for name in (*_LOCKS, "requirements.in", "requirements/base.in"):
            add(_lines(self.root / name), name)
        add(self._pipfile(), "Pipfile")
        return found

    def _setup_py_requirements(self) -> list[str]:
        path = self.root / "setup.py"
        if not path.is_file():
            return []
        import ast

        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            return []
        return [
            item.value
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "install_requires" and isinstance(node.value, ast.List)
            for item in node.value.elts
            if isinstance(item, ast.Constant) and isinstance(item.value, str)
        ]

    def _pipfile(self) -> dict[str, Any]:
        import tomllib

        try:
            table = tomllib.loads((self.root / "Pipfile").read_text(encoding="utf-8")).get("packages", {})
        except (OSError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}

    @functools.cached_property
    def packages(self) -> Mapping[str, str]:
        """Import names of the application (packages and single modules) and their paths in the repo."""
        found: dict[str, str] = {}
        for parent in ("src", "."):
            folder = self.root / parent
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                name = path.stem if path.suffix == ".py" else path.name
                if not name.isidentifier() or name in _NOT_THE_APP or name.startswith(("test_", "_")):
                    continue
                if _is_package(path) or (path.suffix == ".py" and path.is_file()):
                    found.setdefault(name, path.relative_to(self.root).as_posix())
        return found

    @functools.cached_property
    def sources(self) -> tuple[Source, ...]:
        """The application's Python files, the nearest to the root first; at most 400 of at most 300 kB each."""
        found = [source for name, path in self.packages.items() for source in self._files(name, path)]
        found.sort(key=lambda source: (source.module.count("."), source.path))
        return tuple(found[:_MOST_FILES])

    def _files(self, name: str, path: str) -> Iterator[Source]:
        place = self.root / path
        if place.is_file():
            yield Source(name, path, place)
            return
        for count, file in enumerate(place.rglob("*.py")):
            if count > 4 * _MOST_FILES:
                return
            parts = file.relative_to(place).with_suffix("").parts
            if any(part in _NOT_THE_APP or part.startswith("test_") for part in parts):
                continue
            if file.is_file() and file.stat().st_size <= _LARGEST:
                module = ".".join((name, *parts)).removesuffix(".__init__")
                yield Source(module, file.relative_to(self.root).as_posix(), file)

    def migrations(self) -> str:
        """The folder of Alembic's env.py or the alembic.ini, empty when there is none."""
        if (self.root / "alembic.ini").is_file():
            return "alembic.ini"
        folders = ["migrations", "alembic", "db/migrations"]
        folders += [f"{path}/{name}" for path in self.packages.values() for name in ("migrations", "alembic")]
        for folder in folders:
            env = self.root / folder / "env.py"
            if env.is_file() and "alembic" in env.read_text(encoding="utf-8", errors="replace"):
                return folder
        return ""

    def lock(self) -> str:
        """The application's requirements, in pip's format; empty when there are none."""
        return next((name for name in _LOCKS if (self.root / name).is_file()), "")

    def test_paths(self) -> tuple[tuple[str, ...], str]:
        """Where the tests are, and by what that was found."""
        configured = self.table("tool", "pytest", "ini_options").get("testpaths")
        if isinstance(configured, str):
            configured = configured.split()
        if isinstance(configured, list) and configured and all(isinstance(item, str) for item in configured):
            return tuple(configured), "pytest's testpaths"
        for name in ("tests", "test"):
            if (self.root / name).is_dir():
                return (name,), f"the folder {name}"
        files = tuple(sorted(path.name for path in self.root.glob("test_*.py")))
        return files, "test files beside pyproject.toml"

    def test_needs(self) -> tuple[str, tuple[str, ...], str]:
        """What the tests need: the kind (`groups`, `extras`, `requirements`), the names, and by what it was found."""
        for kind, table in (
            ("groups", self.table("dependency-groups")),
            ("extras", self.table("project", "optional-dependencies")),
        ):
            for name in ("test", "tests", "testing", "dev"):
                if name in table:
                    return (
                        kind,
                        (name,),
                        f"[{'dependency-groups' if kind == 'groups' else 'project.optional-dependencies'}]",
                    )
        files = tuple(name for name in _TEST_REQUIREMENTS if (self.root / name).is_file())[:1]
        return "requirements", files, files[0] if files else ""


def _is_package(path: Path) -> bool:
    if not path.is_dir():
        return False
    return (path / "__init__.py").is_file() or (path.parent.name == "src" and any(path.glob("*.py")))


def _lines(path: Path) -> list[str]:
    try:
        return [
            line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith(("#", "-"))
        ]
    except (OSError, UnicodeDecodeError):
        return []


def _normalised(name: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    text = re.sub(r"^[^a-z]+", "", text)
    return text[:40].rstrip("-") or "app"
