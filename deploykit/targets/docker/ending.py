"""How containers end: by their image's own signal, and killed when the time is over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from deploykit.process.docker import Engine, EngineError
from deploykit.targets.docker.names import PREFIX, Kind, Names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["end", "end_all"]


def end(engine: Engine, container: Mapping[str, Any], *, timeout: float) -> None:
    """Ask it to end, kill it after the time, and remove it. `container` is what the engine says of it."""
    with contextlib.suppress(EngineError):  # it ended, or does not answer in time: it is removed all the same
        engine.kill(container["Id"], container["Config"].get("StopSignal") or "SIGTERM")
        engine.wait(container["Id"], timeout=max(timeout, 0.001))
    engine.remove_container(container["Id"])


def end_all(engine: Engine, names: Names) -> None:
    """End instances, one-off commands and accessories, those of one kind side by side."""
    for kind in (Kind.INSTANCE, Kind.ONE_OFF, Kind.ACCESSORY):
        found = engine.containers(names.labels(kind))
        for each in found:
            shown = engine.find_container(each["Id"])
            if shown is not None:
                with contextlib.suppress(EngineError):  # it ended before
                    engine.kill(each["Id"], shown["Config"].get("StopSignal") or "SIGTERM")
        for each in found:
            with contextlib.suppress(EngineError):
                engine.wait(each["Id"], timeout=float(each["Labels"].get(f"{PREFIX}stop", "10")))
            engine.remove_container(each["Id"])
