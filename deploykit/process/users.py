"""Users without an account: where the kit runs as root, each program that it starts is a user of its own.

So the proxy, which parses untrusted requests, can't touch the database, and neither can touch anything else on the
machine. They are numbers, as systemd's DynamicUser has them, since a number needs no change of /etc/passwd. Which
program has which is kept in the state folder, as its files have an owner for as long as they are there.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import stat
import zlib
from pathlib import Path

from deploykit.model.errors import DeploykitError
from deploykit.process.files import flocked, write_atomically

__all__ = ["NUMBERS", "can_become_another", "give_away", "number_of", "open_for_passing"]

NUMBERS = range(60_706, 61_184)
"""Nobody gives these to users: not distributions, and not systemd, see https://systemd.io/UIDS-GIDS/. User namespaces
of containers usually know them, since they have 16 bits.
"""
_SETGID, _SETUID = 6, 7
"""Linux capabilities, capabilities(7)."""


def can_become_another(process: Path = Path("/proc/self")) -> bool:
    """Whether this process is root and may start programs as other users, which a container may forbid, or not know."""
    if os.geteuid() != 0:
        return False
    try:
        mask = re.search(r"^CapEff:\s*([0-9a-f]+)$", (process / "status").read_text(), re.MULTILINE)
        known = [[int(word) for word in line.split()] for line in (process / "uid_map").read_text().splitlines()]
    except OSError:
        return True  # no Linux: root is root
    wanted = 1 << _SETGID | 1 << _SETUID
    if mask is not None and int(mask[1], 16) & wanted != wanted:
        return False
    return any(first <= NUMBERS[0] and NUMBERS[-1] < first + length for first, _, length in known)


def number_of(program: str, home: Path) -> int:
    """The user (and group) of `program`, such as `shop/local edge`, in the state folder `home`. The same every time.

    Raises DeploykitError when all numbers are taken.
    """
    file = home / "users.json"
    if (found := _read(file).get(program)) is not None:
        return found
    with flocked(home / "users.lock"):
        numbers = _read(file)
        if program not in numbers:
            numbers[program] = _free(program, home, set(numbers.values()))
            write_atomically(file, json.dumps(numbers, indent=1), durable=True)
        return numbers[program]


def _read(file: Path) -> dict[str, int]:
    try:
        numbers = json.loads(file.read_text("utf-8"))
        if all(number in NUMBERS for number in numbers.values()):
            return {str(program): int(number) for program, number in numbers.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        pass
    raise DeploykitError(
        f"it can't be read from {file} which user each program is",
        next_step=f"ls -ln shows who owns the files below {file.parent}; then correct or remove {file}",
    )


def _free(program: str, home: Path, taken: set[int]) -> int:
    """A number that nobody has: not here, not as an account, and no process. The first one tried depends on the folder,
    so that two state folders of one machine hardly ever meet.
    """
    running = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            running.add(process.stat().st_uid)
    first = zlib.crc32(f"{os.path.realpath(home)} {program}".encode())
    for step in range(len(NUMBERS)):
        number = NUMBERS[(first + step) % len(NUMBERS)]
        if number not in taken and number not in running and not _has_account(number):
            return number
    raise DeploykitError(
        f"each of the users {NUMBERS[0]} to {NUMBERS[-1]} is taken, and {program} needs one",
        next_step=f"remove from {home / 'users.json'} what is not deployed any more",
    )


def _has_account(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        try:
            look_up(number)
        except KeyError:
            continue
        return True
    return False


def open_for_passing(folder: Path, home: Path) -> None:
    """Let other users go through the folder, and those above it up to the state folder `home`; not read them."""
    for each in (folder, *folder.parents):
        mode = stat.S_IMODE(each.stat().st_mode)
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)
        if each == home:
            return


def give_away(folder: Path, uid: int, gid: int) -> bool:
    """Make that user the owner of a folder with all that is in it. Whether any of it was somebody else's.

    Who owns a part of it already may rename things meanwhile: so each name is looked up in a folder that is open, never
    by a path, and no link is followed. Raises DeploykitError for a file with a second name: it may be any file of the
    machine.
    """
    changed = False
    for path, folders, files, descriptor in os.fwalk(folder):
        for name in (*([""] if path == str(folder) else []), *folders, *files):
            found = os.stat(name or ".", dir_fd=descriptor, follow_symlinks=False)
            if (found.st_uid, found.st_gid) == (uid, gid):
                continue
            if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
                raise DeploykitError(
                    f"{path}/{name} has another name elsewhere, so it is not given to another user",
                    next_step=f"find the other one: find / -xdev -inum {found.st_ino}",
                )
            os.chown(name or ".", uid, gid, dir_fd=descriptor, follow_symlinks=False)
            changed = True
    return changed
