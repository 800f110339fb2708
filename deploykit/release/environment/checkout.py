"""The checkout that an environment is released from, and whether the environment is its repository's at all.

State, ledger and what runs are found by the app's name alone, and two repositories may have the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, UsageError
from deploykit.release.environment import known_apps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploykit.model import RepositoryIdentity
    from deploykit.settings.paths import StatePaths

__all__ = ["Checkout"]


@dataclass(frozen=True)
class Checkout:
    """The sources in `root`, as one environment's."""

    root: Path
    paths: StatePaths

    @cached_property
    def identity(self) -> RepositoryIdentity:
        """The repository, as far as git's settings say."""
        from deploykit.artifacts.identity import read_identity  # runs git, which not every command needs

        return read_identity(self.root)

    @cached_property
    def whole_identity(self) -> RepositoryIdentity:
        """The repository with its first commits, for which its history is read."""
        from deploykit.artifacts.identity import with_first_commits

        return with_first_commits(self.identity, self.root)

    def reject_others(self, kept: Sequence[RepositoryIdentity], *, used: bool) -> None:
        """Raise UsageError where `kept`, the repositories that the environment is known to be of, are others.

        Where it can't be told, only a folder passes from which this app was released before, on this machine. `used`:
        something was released; without that, and with nothing kept, nothing is in danger.
        """
        if not (kept or used):
            return
        here = self.identity
        answers = [here.is_same(each) for each in kept]
        if not any(answers) and (None in answers or not kept):
            here = self.whole_identity
            answers = [here.is_same(each) for each in kept]
        if any(answers):
            return
        app, name = self.paths.app, self.paths.environment
        separate = f'app = "{app[:38].rstrip("-")}-2" under [tool.deploykit]'
        if kept and None not in answers:
            raise UsageError(
                f"{app} in {name} belongs to another repository: {kept[-1]}; this one is {here}",
                details=["both have the same app, and would share ports, traffic, history and database"],
                next_step=f"set {separate}; or, if it is the same app and has moved: invoke ledger.claim --env {name}",
            )
        if known_apps.app_released_from(self.paths.home, self.root) == app:
            return
        raise UsageError(
            f"it can't be told whether {app} in {name} belongs to this repository: {self._why(here, kept)}",
            details=[f"--app {app} names it without comparing, for what needs no sources: status, rollback, down"],
            next_step=f"if it does: invoke ledger.claim --env {name}; if not, set {separate}",
        )

    def _why(self, here: RepositoryIdentity, kept: Sequence[RepositoryIdentity]) -> str:
        if here.is_known:
            return (
                f"{kept[-1]} and {here} have nothing that could be compared"
                if kept
                else "what was released before does not say from where"
            )
        from deploykit.artifacts.git import read_tree

        try:
            read_tree(self.root)
        except DeploykitError as error:
            return error.message
        return "it has neither a remote nor a whole history"
