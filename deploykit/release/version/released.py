"""What this machine has released, kept beside the ledger and compared with it before it is run again.

Others may write a ledger in PostgreSQL, and who writes it can rewrite the whole hash chain. So what was released
from here is known from here: how it is run, and its artefact.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process.files import write_atomically
from deploykit.release.version.spec import ReleaseSpec
from deploykit.release.version.values import file_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Released", "keep_released", "read_released"]


@dataclass(frozen=True, kw_only=True)
class Released:
    """One release as it was made here. `digest` is empty where its artefact was not built yet."""

    spec: ReleaseSpec
    digest: str = ""


def keep_released(folder: Path, release: str, released: Released) -> None:
    """Write it durably (`StatePaths.released`), mode 0600: a command line may say more than everybody should know."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = json.dumps({"digest": released.digest, "spec": released.spec.as_json()})
    write_atomically(file_of(folder, release), content, mode=0o600, durable=True)


def read_released(folder: Path, release: str) -> Released | None:
    """None: it was not made here, or is not kept any more. Raises DeploykitError when it can't be read."""
    path = file_of(folder, release)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Released(spec=ReleaseSpec.from_json(content["spec"]), digest=str(content["digest"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeploykitError(
            f"what this machine keeps of {release} can't be read: {type(error).__name__}: {error}",
            next_step=f"look at {path}, or release again",
        ) from None
