"""Run by the Python that has detect-secrets: its own findings in named files, for the equality test and the benchmark.

Standard input: `{"files": […], "processes": 2}`, paths relative to the present folder. Standard output: for each file
with secrets its `[type, hash, line]`s, and `crashed`: the files that end detect-secrets with a traceback. Every
plug-in is on, the filters are the default ones; nothing is verified over the network.
"""

from __future__ import annotations

import functools
import io
import json
import multiprocessing
import sys
from typing import Any

from detect_secrets.core import scan  # type: ignore[import-not-found,unused-ignore]  # in the tool's environment
from detect_secrets.core.plugins.util import (  # type: ignore[import-not-found,unused-ignore]
    get_mapping_from_secret_type_to_class,
)
from detect_secrets.settings import get_settings  # type: ignore[import-not-found,unused-ignore]


def configure() -> None:
    vars(scan)["open"] = functools.partial(io.open, encoding="utf-8")
    every: Any = get_mapping_from_secret_type_to_class().values()
    get_settings().configure_plugins([{"name": plugin.__name__} for plugin in every])


def look(name: str) -> tuple[str, list[list[Any]] | None]:
    """The secrets of one file, each at the line where it is first; None when detect-secrets crashes."""
    first: dict[tuple[str, str], int] = {}
    try:
        for secret in scan.scan_file(name):
            first.setdefault((secret.type, secret.secret_hash), secret.line_number)
    except Exception:  # noqa: BLE001 - whatever it is, the file has no answer
        return name, None
    return name, sorted([kind, hashed, line] for (kind, hashed), line in first.items())


def main() -> None:
    task = json.load(sys.stdin)
    with multiprocessing.Pool(task["processes"], configure) as pool:
        answers = dict(pool.imap_unordered(look, task["files"], chunksize=4))
    secrets = {name: found for name, found in sorted(answers.items()) if found}
    json.dump({"secrets": secrets, "crashed": sorted(n for n, found in answers.items() if found is None)}, sys.stdout)


if __name__ == "__main__":
    main()
