"""The application's variables, kept in a folder that only its owner can read, so that a version can be started
again.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from typing import TYPE_CHECKING

from deploykit.model import Secret
from deploykit.model.errors import DeploykitError
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["file_of", "generated_values", "has_values", "read_values", "remove_values", "secrets_in", "store_values"]

_LEFT_OVER_SECONDS = 3_600.0
_NAME = re.compile(r"r[0-9]{1,9}|generated")


def store_values(folder: Path, name: str, values: Mapping[str, str | Secret]) -> None:
    """Write the values durably under that name, mode 0600. Secrets are marked, so that they come back as such."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {
        key: {"secret": True, "value": value.reveal()} if isinstance(value, Secret) else {"value": value}
        for key, value in values.items()
    }
    write_atomically(file_of(folder, name), json.dumps(content), mode=0o600, durable=True)


def read_values(folder: Path, name: str) -> dict[str, str | Secret]:
    """The values stored under that name; empty when there are none. Raises DeploykitError when they can't be read."""
    path = file_of(folder, name)
    try:
        content = json.loads(path.read_text())
        return {key: Secret(item["value"]) if item.get("secret") else item["value"] for key, item in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = str(error)
    except (AttributeError, KeyError, TypeError):
        why = "that is not what was written"  # and no part of it is shown: it may be a secret
    raise DeploykitError(f"the values of {name} can't be read: {why}", next_step=f"look at {path}, or release again")


def has_values(folder: Path, name: str) -> bool:
    """Whether values are stored under that name, be it none."""
    return file_of(folder, name).is_file()


def file_of(folder: Path, name: str) -> Path:
    """The file of that release, or of `generated`. A release's id comes from the ledger or from a label, and must not
    lead elsewhere: raises DeploykitError for what is none.
    """
    if not _NAME.fullmatch(name):
        raise DeploykitError(f"{name!r} is no release, so nothing is kept of it", next_step="invoke history --check")
    return folder / f"{name}.json"


def remove_values(
    folder: Path, is_needed: Callable[[str], bool], *, clock: Callable[[], float] = time.time
) -> Sequence[str]:
    """Remove the values of releases that are not needed; the ids of these releases.

    A file that a killed process has half written is removed an hour later.
    """
    removed = []
    for path in sorted(folder.glob("r*.json")):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
            removed.append(path.stem)
    for path in folder.glob(".*.json.*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < clock() - _LEFT_OVER_SECONDS:
                path.unlink()
    return removed


def generated_values(folder: Path, names: Sequence[str]) -> dict[str, str | Secret]:
    """Random values made once for this environment and then kept (settings: `generate`), 256 bits each."""
    if not names:
        return {}
    kept = read_values(folder, "generated")
    if missing := [name for name in names if name not in kept]:
        kept |= {name: Secret(secrets.token_urlsafe(32)) for name in missing}
        store_values(folder, "generated", kept)
    return {name: kept[name] for name in names}


def secrets_in(values: Mapping[str, str | Secret]) -> list[Secret]:
    """The values that no output may show."""
    return [value for value in values.values() if isinstance(value, Secret)]
