"""Data inside of the tree: what the live version wrote there would be gone with it, unless a setting keeps it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deploykit.artifacts.git import files_of
from deploykit.model import DeploykitError, Problem, UsageError
from deploykit.release.version.recorded import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from deploykit.model import ReleaseRecord
    from deploykit.release.environment import Environment
    from deploykit.release.version.sources import Sources
    from deploykit.release.version.spec import ReleaseSpec

__all__ = [
    "persistent_problems",
    "reject_loss_by_down",
    "tell_what_came_since",
    "tell_what_stays_behind",
    "written_problems",
]

_SHOWN = 5


def persistent_problems(sources: Sources) -> list[Problem]:
    """Persistent paths that hold code: that of the first version would be kept, whatever is released."""
    persistent = [PurePosixPath(path) for path in sources.spec.persistent]
    if not persistent:
        return []
    code = [name for name in files_of(sources.tree.root) if name.endswith((".py", ".so"))]
    found = (
        (path, next((name for name in code if PurePosixPath(name).is_relative_to(path)), "")) for path in persistent
    )
    return [
        Problem(
            message=f"service.persistent names {path}, which has files of the app itself, such as {name}",
            next_step="name the folder below it that the app writes to",
        )
        for path, name in found
        if name
    ]


def written_problems(environment: Environment, sources: Sources) -> list[Problem]:
    """What the live version wrote into its tree, and the next one would not have."""
    live = environment.ledger.live()
    if live is None:
        return []
    written = environment.hosting.written(live)
    persistent = sources.spec.persistent
    discard = f"invoke release --env {environment.name} --discard-data"
    problems = []
    if dropped := [path for path in _dropped(environment, live, sources.spec) if environment.hosting.data_place(path)]:
        problems.append(
            Problem(
                message=(
                    f"{', '.join(dropped)} is not persistent any more, so the next version would not see what"
                    f" {live.version} ({live.id}) keeps there"
                ),
                next_step=f"name it again under [tool.deploykit.service]; or leave it behind: {discard}",
            )
        )
    named = {path: [name for name in written.files if _is_below(name, path)] for path in persistent}
    if missing := [path for path in persistent if named[path] and not environment.hosting.data_place(path)]:
        problems.append(
            Problem(
                message=(
                    f"{live.version} ({live.id}) has in its own tree what is persistent from now on:"
                    f" {', '.join(missing)}"
                ),
                next_step=f"{environment.hosting.take_along(written.place, missing)}; or give it up: {discard}",
            )
        )
    if lost := _not_below(written.files, persistent):
        problems.append(
            Problem(
                message=(
                    f"{live.version} ({live.id}) has written into its own tree, which the next version does not have:"
                    f" {_listed(lost)}"
                ),
                next_step=(
                    f"{_setting(lost, files_of(sources.tree.root), persistent)} under [tool.deploykit.service]; or give"
                    f" it up: {discard}"
                ),
            )
        )
    return problems


def tell_what_came_since(
    environment: Environment, before: ReleaseRecord, now: ReleaseRecord, spec: ReleaseSpec, warn: Callable[[str], None]
) -> None:
    """Warn of what the version before wrote into its tree while the next one was built and started."""
    if _share_a_tree(environment, before, now):
        return
    try:
        written = environment.hosting.written(before)
    except DeploykitError as error:
        warn(f"whether {before.version} has written data into its tree could not be asked: {error.message}")
        return
    if lost := _not_below(written.files, spec.persistent):
        warn(f"what {before.version} wrote into its tree meanwhile stays behind, in {written.place}: {_listed(lost)}")


def tell_what_stays_behind(
    environment: Environment, left: ReleaseRecord | None, wanted: ReleaseRecord, warn: Callable[[str], None]
) -> None:
    """Warn of data that a rollback from `left` to `wanted` has not taken along; it is in a hurry, so nothing stops it.

    Ask before the next command: that may stop `left`, where nothing is kept warm.
    """
    if left is None or _share_a_tree(environment, left, wanted):
        return
    try:
        written = environment.hosting.written(left)
        kept = _dropped(environment, left, spec_of(environment.ledger, wanted, environment.name))
    except DeploykitError as error:
        warn(f"whether {left.version} has written data into its tree could not be asked: {error.message}")
        return
    if written.files:
        warn(f"what {left.version} wrote into its tree stays behind, in {written.place}: {_listed(written.files)}")
    if kept:
        warn(f"{wanted.version} does not see {', '.join(kept)}: it was released before service.persistent named that")


def reject_loss_by_down(environment: Environment) -> None:
    """Raise UsageError where files would be gone with what runs."""
    written = environment.hosting.written(None)
    if written.files:
        raise UsageError(
            f"what runs in {environment.name} has written into its own tree, {written.place}, which would be removed:"
            f" {_listed(written.files)}",
            details=["service.persistent names what outlives it"],
            next_step=f"copy it, or give it up: invoke down --env {environment.name} --discard-data",
        )


def _dropped(environment: Environment, live: ReleaseRecord, spec: ReleaseSpec) -> list[str]:
    """The persistent paths of what is live that the spec does not name."""
    named = {PurePosixPath(path) for path in spec.persistent}
    try:
        before = spec_of(environment.ledger, live, environment.name).persistent
    except DeploykitError:
        return []  # the ledger does not have how it is run
    return [path for path in before if PurePosixPath(path) not in named]


def _share_a_tree(environment: Environment, one: ReleaseRecord, other: ReleaseRecord) -> bool:
    """Whether both run in one folder of this machine; containers of one image have a tree each."""
    return one.digest == other.digest and not environment.hosting.shared


def _is_below(name: str, path: str) -> bool:
    """SQLite keeps its journal beside the file."""
    place = PurePosixPath(path)
    return PurePosixPath(name).is_relative_to(place) or name in {f"{place}-{end}" for end in ("wal", "shm", "journal")}


def _not_below(names: Iterable[str], persistent: Iterable[str]) -> list[str]:
    return [name for name in names if not any(_is_below(name, path) for path in persistent)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _setting(lost: Sequence[str], tracked: Iterable[str], persistent: Sequence[str]) -> str:
    """The setting that keeps them: the highest folders without a file of the app itself, else the files."""
    of_app = {str(folder) for name in tracked for folder in PurePosixPath(name).parents}
    named = dict.fromkeys(persistent)
    for name in lost:
        path = PurePosixPath(name)
        folders = [folder for folder in reversed(path.parents) if str(folder) not in of_app]
        named[str(folders[0]) if folders else _without_journal(name)] = None
    return "set persistent = [" + ", ".join(f'"{name}"' for name in named) + "]"


def _without_journal(name: str) -> str:
    for end in ("-wal", "-shm", "-journal"):
        name = name.removesuffix(end)
    return name
