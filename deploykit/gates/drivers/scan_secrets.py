"""Run by the Python that has detect-secrets: its findings in named files, by the plug-ins and filters of a baseline.

Standard input: `{"files": […], "plugins": […], "filters": […], "processes": 2}`, paths relative to the present folder.
Standard output: `{"version": …, "secrets": {file: [[line, type, hash], …]}, "filtered": […], "unread": {file: why}}`,
or `{"refused": why}` for settings that detect-secrets itself can't load. Nothing is verified over the network.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from detect_secrets.core import scan  # type: ignore[import-not-found,unused-ignore]  # in the tool's environment
from detect_secrets.settings import (  # type: ignore[import-not-found,unused-ignore]  # in the tool's environment
    configure_settings_from_baseline,
    get_filters,
    get_plugins,
    get_settings,
)

VERIFY = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"


def configure(plugins: list[dict[str, Any]], filters: list[dict[str, Any]]) -> str:
    """Load the settings; why they can't be loaded, empty when they are. detect-secrets passes over bad filters."""
    wanted = [item for item in filters if item["path"] != VERIFY]
    try:
        configure_settings_from_baseline({"plugins_used": plugins, "filters_used": wanted})
        get_plugins()
        loaded = {function.path for function in get_filters()}
    except Exception as error:  # noqa: BLE001 - plug-ins and filters are other people's code, which may raise anything
        return f"{type(error).__name__}: {error}"
    missing = sorted(set(get_settings().filters) - loaded)
    return f"there is no filter {', '.join(missing)}" if missing else ""


def look(name: str) -> tuple[str, str, Any]:
    """(file, what became of it, the secrets or the reason)."""
    try:
        Path(name).read_bytes().decode()
        # The library tells of a file that its filters leave out by this function alone: `scan_file` gives no findings.
        if scan._is_filtered_out(required_filter_parameters=["filename"], filename=name):  # noqa: SLF001 - see above
            return name, "filtered", None
        return name, "secrets", sorted({(one.line_number, one.type, one.secret_hash) for one in scan.scan_file(name)})
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the file then counts as not read
        return name, "unread", f"{type(error).__name__}: {error}"


def main() -> None:
    task = json.load(sys.stdin)
    settings = (task["plugins"], task["filters"])
    if refused := configure(*settings):
        json.dump({"refused": refused}, sys.stdout)
        return
    with multiprocessing.Pool(task["processes"], configure, settings) as pool:
        answers = pool.map(look, task["files"], chunksize=8)
    json.dump(
        {
            "version": version("detect-secrets"),
            "secrets": {name: found for name, fate, found in answers if fate == "secrets"},
            "filtered": [name for name, fate, _ in answers if fate == "filtered"],
            "unread": {name: why for name, fate, why in answers if fate == "unread"},
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
