"""`invoke exec`: a command in the live version's environment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.credentials import Redactor
from deploykit.release.environment.versions import live_record, recorded_version
from deploykit.release.version.instances import one_off
from deploykit.release.version.values import secrets_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.release.environment import Environment
    from deploykit.targets.interface import OneOffResult

__all__ = ["run_in_live"]

_SECONDS = 3_600.0


def run_in_live(environment: Environment, argv: Sequence[str]) -> OneOffResult:
    """Run a command with the live version's variables, from its sources. Its output is without the app's secrets."""
    version = recorded_version(environment, live_record(environment))
    redact = Redactor(secrets_in(version.values))
    result = environment.target.run(one_off(version, argv, timeout=_SECONDS))
    return replace(result, output=tuple(redact(line) for line in result.output))
