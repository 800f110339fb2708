"""Which app each folder of this machine releases, and to where, kept for when a folder's sources are gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deploykit.model.errors import UsageError
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["add", "advice_without_sources", "app_of", "app_released_from", "environments_of", "has_sources"]

_FILE = "roots.json"


def has_sources(root: Path) -> bool:
    return any((root / name).exists() for name in ("pyproject.toml", "tasks.py", ".git", "setup.cfg", "setup.py"))


def add(home: Path, root: Path, app: str) -> None:
    """Keep in the state folder `home` that `root` releases `app`."""
    known = _read(home)
    if known.get(str(root)) != app:
        write_atomically(home / _FILE, json.dumps(known | {str(root): app}, indent=1))


def app_released_from(home: Path, root: Path) -> str:
    """The app that was released from the folder; empty: none."""
    return _read(home).get(str(root), "")


def app_of(home: Path, root: Path) -> str:
    """The app that was released from the folder. Raises UsageError with those that are known when none was."""
    if app := app_released_from(home, root):
        return app
    apps = sorted(path.name for path in (home / "apps").glob("*") if path.is_dir())
    raise UsageError(
        f"there is no repository in {root}, and nothing was ever released from here",
        details=[f"apps on this machine: {', '.join(apps)}"] if apps else [],
        next_step=f"add --app {apps[0]}" if apps else "go to the repository of your service",
    )


def environments_of(home: Path, app: str) -> list[str]:
    """The environments that the app was released to from this machine."""
    return sorted(path.name for path in (home / "apps" / app).glob("*") if path.is_dir())


def advice_without_sources(home: Path, root: Path, name: str | None) -> list[str]:
    """What can still be done in a folder whose sources are gone and whose releases are not."""
    app = _read(home).get(str(root))
    if app is None or name not in environments_of(home, app):
        return []
    return [f"what was released of {app} can be rolled back from here: invoke rollback --env {name}"]


def _read(home: Path) -> dict[str, str]:
    try:
        content = json.loads((home / _FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
