"""Reporters for tests that look at something else than what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploykit.release.reporting.live_view import LiveView
    from deploykit.release.reporting.reporter import Stage


class SilentReporter:
    """Implements `Reporter` and prints nothing."""

    def stage_started(self, name: str) -> None: ...

    def stage_ended(self, stage: Stage) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def view(self, view: LiveView) -> None: ...
