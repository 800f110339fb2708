"""The OS user that the application is on the target `process`, where root runs the kit."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.model import UsageError
from deploykit.process.supervisor.client import base_interpreter
from deploykit.process.users import can_become_another, number_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.settings.paths import StatePaths

__all__ = ["app_user", "own_number"]

_SECONDS = 10.0
_KEEP_ROOT = 'set service.user = "root"'


def own_number(paths: StatePaths) -> int:
    """The user without an account that is this app's in this environment."""
    return number_of(f"{paths.app}/{paths.environment} app", paths.home)


def app_user(wanted: str, paths: StatePaths, warn: Callable[[str], None]) -> str:
    """The user that a version is started as, a name or a number; empty: the user that runs the kit.

    `wanted` is the setting `service.user`. Empty: for root a user of the app's own, unless that one can't reach what it
    has to run, of which it `warn`s. Raises UsageError for a user that the kit can't start programs as.
    """
    if os.geteuid() != 0:
        if wanted and wanted not in {str(os.geteuid()), _own_name()}:
            raise UsageError(
                f"service.user is {wanted}, and only root can start the app as another user",
                next_step="run this as root, or remove service.user",
            )
        return ""
    if wanted == "root":
        return ""
    if wanted:
        account = _account(wanted)
        if obstacle := _obstacle(paths, account.pw_uid, account.pw_gid):
            raise UsageError(
                f"the app can't be the user {wanted}: {obstacle}", next_step=f"change that, or {_KEEP_ROOT}"
            )
        _say_whose_data(paths, account.pw_uid, warn)
        return wanted
    if not can_become_another():
        warn(f"the app runs as root, which may not become another user here; to have that and no warning, {_KEEP_ROOT}")
        return ""
    number = own_number(paths)
    if obstacle := _obstacle(paths, number, number):
        warn(f"the app runs as root, not as a user of its own: {obstacle}; to have that and no warning, {_KEEP_ROOT}")
        return ""
    _say_whose_data(paths, number, warn)
    return str(number)


def _say_whose_data(paths: StatePaths, uid: int, warn: Callable[[str], None]) -> None:
    if paths.data.is_dir() and paths.data.stat().st_uid != uid:
        warn(f"the app is the user {uid} from now on, who gets the data in {paths.data}; they were another user's")


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise UsageError(
            f"service.user is {name}, and this machine has no such user", next_step=f"useradd --system {name}"
        ) from None


def _obstacle(paths: StatePaths, uid: int, gid: int) -> str:
    """What keeps that user from running an artefact: it must reach the state folder, and the Python of its virtual
    environment. Empty where nothing does.
    """
    for folder in reversed(paths.home.resolve().parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            return f"others can't get through {folder}, where the state folder is"
    python = base_interpreter()
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", ""],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=gid,
            extra_groups=[],
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        closed = next((each for each in reversed(Path(python).parents) if not each.stat().st_mode & stat.S_IXOTH), None)
        return f"others can't get through {closed}, where {python} is" if closed else f"others can't run {python}"
    return f"others can't run {python}" if done.returncode else ""
