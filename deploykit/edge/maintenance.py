"""The maintenance page: what users get while no version may serve them. It works without the application.

Whether it is on is an entry of a HAProxy map, so it is changed while the proxy runs. The entry's value is the time
since when, in seconds since the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.edge.errors import EdgeError
from deploykit.edge.quoting import quoted
from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.edge.interface import EdgeOptions

__all__ = ["MAINTENANCE", "SWITCH", "backend", "check_page", "entries_since", "since_of", "use_backend"]

MAINTENANCE = "maintenance"
"""The backend that answers with the page."""
SWITCH = "maintenance.map"
"""The map's file, in the proxy's working directory."""

_ON = "on"
_MOST_BYTES = 8_000
"""HAProxy's buffer has 16,384 bytes for a whole answer."""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="30">
<title>Back in a moment</title>
<style>body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 30rem; margin: 20vh auto; padding: 0 1rem }</style>
</head>
<body>
<h1>Back in a moment</h1>
<p>We are updating this site. Nothing is lost. This page tries again by itself in half a minute.</p>
</body>
</html>
"""


def check_page(options: EdgeOptions) -> None:
    """Raises UsageError for a page that HAProxy can't hold."""
    try:
        size = len(options.maintenance_page.encode())
    except UnicodeEncodeError:
        size = 0
    if size > _MOST_BYTES:
        why, next_step = f"{size:,} bytes, and at most {_MOST_BYTES:,} fit", "shorten"
    elif "\0" in options.maintenance_page or (options.maintenance_page and not size):
        why, next_step = "a character that no page may have", "correct"
    else:
        return
    raise UsageError(
        f"the maintenance page has {why}",
        next_step=f"{next_step} maintenance_page in [tool.deploykit.edge]",
    )


def entries_since(time: float | None) -> dict[str, str]:
    """The map's entries. None: off."""
    return {} if time is None else {_ON: f"{time:.3f}"}


def since_of(entries: Mapping[str, str]) -> float | None:
    """Since when it is on, by the map's entries. Raises EdgeError for an entry that deploykit did not write."""
    if (time := entries.get(_ON)) is None:
        return None
    try:
        return float(time)
    except ValueError:
        raise EdgeError(
            f"{SWITCH} does not say since when the maintenance page is on: {time!r}",
            next_step=f"remove {SWITCH} from the edge's folder, and release again",
        ) from None


def use_backend() -> str:
    """The frontend's line."""
    return f"  use_backend {MAINTENANCE} if {{ str({_ON}),map({SWITCH}) -m found }}"


def backend(options: EdgeOptions) -> list[str]:
    page = quoted(options.maintenance_page or _PAGE)
    headers = "hdr Retry-After 30 hdr Cache-Control no-store"
    return [
        f"backend {MAINTENANCE}",
        f'  http-request return status 503 content-type "text/html; charset=utf-8" string {page} {headers}',
    ]
