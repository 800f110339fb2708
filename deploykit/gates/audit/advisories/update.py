"""Take in a newer offline copy of the advisories, from a file or an address, without ever being left with a worse one.

It is fetched beside the present copy, read to its end, compared, and only then put in its place.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploykit.gates.audit.advisories.copy import AdvisoryCopy, load_copy
from deploykit.model import DeploykitError, InconclusiveError, UsageError
from deploykit.process.files import replaced
from deploykit.process.http import Client, CredentialKept, check_address, shown

__all__ = ["Updated", "update_copy"]

_SECONDS = 60.0
_LARGEST = 2**30
"""Bytes. The whole of OSV for PyPI is some 50 MB as a zip."""
_SMALLEST_SHARE = 0.9
"""Advisories are added, and now and then merged or withdrawn; a tenth of them does not go away between two copies."""


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What lies at `path` now. `before` is what lay there, None where nothing did or it could not be read."""

    path: Path
    before: AdvisoryCopy | None
    after: AdvisoryCopy


def update_copy(source: str, target: Path, *, force: bool = False) -> Updated:
    """Put the copy of `source` (a path or an https address of OSV records: JSON lines, gzipped or not, or a zip) at
    `target`.

    Raises UsageError for a source that is missing or not safe. Raises DeploykitError if the download is incomplete, or
    if the source is older or much smaller than the present copy (unless `force`). Raises InconclusiveError if it holds
    no OSV records.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder, a copy is a file", next_step=f"--to {target / 'advisories.zip'}")
    try:
        with replaced(target, durable=True) as fresh:
            _fetch(source, fresh)
            after = load_copy(fresh)
            before = _present(target)
            if before is not None and not force:
                _compare(before, after)
    except OSError as error:
        raise UsageError(f"{target} can't be written: {error}", next_step="name another place: --to PATH") from error
    return Updated(path=target, before=before, after=after)


def _present(target: Path) -> AdvisoryCopy | None:
    try:
        return load_copy(target) if target.exists() else None
    except InconclusiveError:
        return None  # what can't be read is not worth keeping


def _compare(before: AdvisoryCopy, after: AdvisoryCopy) -> None:
    if after.modified < before.modified:
        days = (before.modified - after.modified) / 86_400
        raise DeploykitError(
            f"what was fetched is {days:.1f} days older than the copy that is here, so the copy stays",
            next_step="name a newer source, or say --force",
        )
    if len(after.by_id) < len(before.by_id) * _SMALLEST_SHARE:
        raise DeploykitError(
            f"what was fetched has {len(after.by_id)} advisories and the copy that is here {len(before.by_id)}, "
            "so the copy stays",
            details=("a source that lost a tenth of them is more likely broken than right",),
            next_step="look at the source, or say --force",
        )


def _fetch(source: str, output: Path) -> None:
    try:
        scheme = urlsplit(source).scheme.lower()
    except ValueError as error:
        raise UsageError(f"{source} is no address: {error}", next_step="--from PATH or --from https://…") from None
    if scheme in {"http", "https"}:
        _download(source, output)
        return
    path = Path(source).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no file {source}", next_step="--from PATH or --from https://… of an OSV copy")
    shutil.copyfile(path, output)


def _download(url: str, output: Path) -> None:
    import httpx2

    try:
        check_address(url)
    except CredentialKept as error:
        raise UsageError(error.message, next_step=f"--from {error.next_step}") from None
    where = shown(url)
    try:
        with (
            Client(timeout=_SECONDS) as client,
            client.stream("GET", url) as answer,
            output.open("wb") as out,
        ):
            if answer.status_code != 200:
                raise DeploykitError(
                    f"{where} answers {answer.status_code}",
                    next_step="look at the address, or name a file: --from PATH",
                )
            size = 0
            for piece in answer.iter_raw():
                size += len(piece)
                if size > _LARGEST:
                    raise DeploykitError(f"{where} sends more than a copy can have (1 GiB)", next_step="--from PATH")
                out.write(piece)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise DeploykitError(
            f"{where} could not be fetched to its end",
            details=(f"{type(error).__name__}: {error}",),
            next_step="try again, or fetch it where the network is and name the file: --from PATH",
        ) from None
