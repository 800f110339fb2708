"""`invoke exec`: a command in the live version's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.credentials import Redactor
from deploykit.release.environment.trust import verify_ledger
from deploykit.release.environment.versions import live_record, recorded_version
from deploykit.release.version.instances import one_off
from deploykit.release.version.values import secrets_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.release.environment import Environment

__all__ = ["run_in_live"]


def run_in_live(environment: Environment, argv: Sequence[str]) -> int:
    """Run a command with the live version's variables, from its sources; its exit code, negative for a signal.

    It has this process's input and output. The app's secrets are taken out of what it prints, unless to a terminal.
    """
    verify_ledger(environment)
    version = recorded_version(environment, live_record(environment))
    return environment.target.attach(one_off(version, argv), Redactor(secrets_in(version.values)))
