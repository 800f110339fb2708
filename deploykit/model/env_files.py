"""Files of variables, such as `.env.production`: they hold the application's secrets, so no artefact gets them."""

from __future__ import annotations

from pathlib import PurePosixPath

__all__ = ["is_env_file"]

_EXAMPLES = (".example", ".sample", ".template", ".dist")


def is_env_file(path: str) -> bool:
    """Whether a path (with `/`) is `.env` or `.env.NAME`, or is in a folder of that name; examples are not.

    Capitals don't matter: on some file systems `.ENV` is the same file.
    """
    return any(
        (part == ".env" or part.startswith(".env.")) and not part.endswith(_EXAMPLES)
        for part in PurePosixPath(path.casefold()).parts
    )
