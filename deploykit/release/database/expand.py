"""`invoke db.expand`: the migrate stage of a release, and nothing else of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.release.database.migrate import migrate
from deploykit.release.environment.trust import verified_lock
from deploykit.release.environment.versions import present_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.release.environment import Environment

__all__ = ["expand_now"]


def expand_now(environment: Environment, tell: Callable[[str], None]) -> dict[str, Any]:
    """Apply what is pending in the present tree, by its own artefact. Raises what the migrate stage raises."""
    with verified_lock(environment, "db.expand", warn=tell):
        return migrate(environment, present_version(environment), tell=tell, released=False)
