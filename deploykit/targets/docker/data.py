"""What outlives a version in the tree of its containers: a volume for each path, and what they wrote beside those."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from deploykit.targets.docker.containers import user_numbers
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploykit.process.docker import Engine

__all__ = ["changed_files", "data_volume", "ensure_data", "mounts"]

_VOLUMES = f"{PREFIX}volumes"
_DELETED = 2
_FOLDER_MODE = 1 << 31
"""Go's bit for a folder in the mode of a file, which is what the engine gives."""
_NOT_THE_TREE = ("dev", "etc", "proc", "run", "sys", "tmp", "var/run", "var/tmp")
"""Folders that any container writes to; they count where the tree is `/` itself."""


def data_volume(names: Names, path: str) -> str:
    """The volume of a persistent path. The name has a dot, which no accessory's has."""
    clean = str(PurePosixPath(path))
    digest = hashlib.sha256(clean.encode()).hexdigest()[:8]
    return names.container(f"data.{re.sub(r'[^a-zA-Z0-9_-]+', '-', clean)}-{digest}")


def mounts(names: Names, folder: PurePosixPath, paths: Sequence[str]) -> list[dict[str, Any]]:
    """The volumes of the paths below `folder`, as the engine's API has mounts. One that is not there is made."""
    labels = names.labels(Kind.VOLUME)
    return [
        {
            "Type": "volume",
            "Source": data_volume(names, path),
            "Target": str(folder / path),
            "VolumeOptions": {"Labels": labels},
        }
        for path in paths
    ]


def ensure_data(
    engine: Engine, names: Names, image: Mapping[str, Any], folder: PurePosixPath, paths: Sequence[str]
) -> None:
    """Make the volumes that are not there yet, with what the image has at their paths, for the image's user.

    The engine copies that when it makes a container. So one is made of the image, never started, and removed when the
    volumes are ready; one that is still there was left by a kit that was killed, and is begun again.
    """
    helper = names.container("data.setup")
    left = engine.find_container(helper)
    if left is not None:
        engine.remove_container(left["Id"])
        for volume in json.loads(left["Config"]["Labels"][_VOLUMES]):
            engine.remove_volume(volume)
    missing = [path for path in paths if engine.find_volume(data_volume(names, path)) is None]
    if not missing:
        return
    made = engine.create_container(
        image["Id"],
        ["never-started"],
        name=helper,
        labels={
            **names.labels(Kind.ONE_OFF),
            _VOLUMES: json.dumps([data_volume(names, path) for path in missing]),
        },
        host={"mounts": mounts(names, folder, missing)},
    )
    user = user_numbers(engine, made, image["Config"].get("User") or "")
    if user != (0, 0):
        for path in missing:
            engine.copy_into(made, _owned(engine.copy_from(made, str(folder / path)), (folder / path).parent, user))
    engine.remove_container(made)


def _owned(archive: bytes, folder: PurePosixPath, user: tuple[int, int]) -> bytes:
    """A tar for `/` of what the archive has below `folder`, owned by that user."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=made, mode="w") as result:
        for member in source.getmembers():
            content = source.extractfile(member) if member.isfile() else None
            member.name = str(folder / member.name).lstrip("/")
            member.uid, member.gid = user
            member.uname = member.gname = ""
            result.addfile(member, content)
    return made.getvalue()


def changed_files(engine: Engine, container: Mapping[str, Any], folder: PurePosixPath) -> list[str]:
    """Files below `folder` that are not as the image has them, relative to it; what is mounted there is left out."""
    mounted = [PurePosixPath(each["Destination"]) for each in container.get("Mounts") or ()]
    if folder == PurePosixPath("/"):
        mounted += [folder / name for name in _NOT_THE_TREE]
    found = {PurePosixPath(each["Path"]) for each in engine.changes(container["Id"]) if each.get("Kind", 0) != _DELETED}
    above = {parent for path in found for parent in path.parents}
    leaves = [
        path
        for path in sorted(found - above)
        if path.is_relative_to(folder) and not any(path.is_relative_to(each) for each in mounted)
    ]
    return [
        path.relative_to(folder).as_posix()
        for path in leaves
        if not engine.file_mode(container["Id"], str(path)) & _FOLDER_MODE
    ]
