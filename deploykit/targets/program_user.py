"""The OS user of an app's programs on this machine, where root starts them: who it is, and what is made its own."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import UsageError
from deploykit.process.users import give_away, number_of, open_for_passing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.settings.paths import StatePaths

__all__ = ["ProgramUser", "clients_group", "readers_group"]


def clients_group(paths: StatePaths) -> int:
    """The group that may use the embedded database of an app in an environment: all its programs are in it."""
    return number_of(f"{paths.app}/{paths.environment} clients", paths.home)


def readers_group(paths: StatePaths) -> int:
    """The group that gets into the store of artefacts, which is closed to everybody else: all apps' programs."""
    return number_of("artefacts", paths.home)


@dataclass(frozen=True, kw_only=True)
class ProgramUser:
    """`groups` are those besides its own. `home` is where it keeps what belongs to a user, such as caches."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    variables: Mapping[str, str]
    home: Path

    @classmethod
    def find(cls, user: str, paths: StatePaths) -> ProgramUser | None:
        """The user of that name or number; None for the empty text: whoever runs the kit.

        Raises UsageError where there is none any more.
        """
        if not user:
            return None
        ours = (clients_group(paths), readers_group(paths))
        if user.isdigit():
            home = paths.root / "home"
            return cls(uid=int(user), gid=int(user), groups=ours, variables={"HOME": str(home)}, home=home)
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            raise UsageError(
                f"the app is the user {user}, and this machine has no such user", next_step=f"useradd --system {user}"
            ) from None
        groups = (*(each for each in os.getgrouplist(user, account.pw_gid) if each != account.pw_gid), *ours)
        variables = {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
        home = paths.root / "home"
        return cls(uid=account.pw_uid, gid=account.pw_gid, groups=groups, variables=variables, home=home)

    def prepare(self, paths: StatePaths) -> None:
        """Let it get at its artefact, and own its data: what the app keeps of its tree, and its home."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if paths.artifacts.is_dir():
            os.chown(paths.artifacts, -1, readers_group(paths))
            paths.artifacts.chmod(0o710)
            open_for_passing(paths.artifacts.parent, paths.home)
        for folder in (paths.parts, paths.root):
            if folder.is_dir():
                open_for_passing(folder, paths.home)
        for folder in (self.home, paths.data):
            if folder.is_dir():
                give_away(folder, self.uid, self.gid)
