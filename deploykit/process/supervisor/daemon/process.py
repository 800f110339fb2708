"""One process of a program: how it starts without being lost, how it is recovered, and how its exit is seen."""

# ruff: noqa: S606 - argv list, no shell

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import signal
import sys

from .identity import is_of_this_place, is_same_process, process_identity
from .logs import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, NoReturn

_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


class Process:
    """One process of a program: ours (`child`) or recovered from an earlier supervisor."""

    def __init__(self, pid: int, identity: str, *, child: bool) -> None:
        self.pid = pid
        self.identity = identity
        self.child = child
        self.pidfd = -1

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "identity": self.identity}

    @classmethod
    def recover(cls, record: dict[str, Any]) -> Process:
        process = cls(record["pid"], record["identity"], child=_is_child(record["pid"]))
        if not process.child and process.alive() and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                process.pidfd = os.pidfd_open(process.pid)
            if process.pidfd >= 0 and not process.alive():  # it has exited, and its id may already be reused
                process.close()
        return process

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def alive(self) -> bool:
        return is_same_process(self.pid, self.identity)

    def ended(self) -> tuple[bool, int | None]:
        """Whether it has ended, and its exit code (negative: a signal; None: unknown). Kills its process group, too."""
        if not self.child:
            if self.alive():
                return False, None
            if process_identity(self.pid) is None and is_of_this_place(self.identity):
                self.kill_group(signal.SIGKILL)
            return True, self.code_by_pidfd()
        try:
            return self._reaped()
        except ChildProcessError:
            return True, None

    def _reaped(self) -> tuple[bool, int | None]:
        if hasattr(os, "waitid"):
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False, None
            self.kill_group(signal.SIGKILL)  # before reaping, which frees the process id
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return (True, os.waitstatus_to_exitcode(status)) if pid else (False, None)

    def code_by_pidfd(self) -> int | None:
        """The exit code of a process that isn't a child: Linux 6.15 reports it by a pidfd, once init has reaped it."""
        if self.pidfd < 0:
            return None
        info = bytearray(_PIDFD_INFO_EXIT.to_bytes(8, sys.byteorder) + bytes(56))
        try:
            fcntl.ioctl(self.pidfd, _PIDFD_GET_INFO, info)
        except OSError:
            return None
        if not int.from_bytes(info[:8], sys.byteorder) & _PIDFD_INFO_EXIT:
            return None
        return os.waitstatus_to_exitcode(int.from_bytes(info[60:64], sys.byteorder))

    def kill_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _is_child(pid: int) -> bool:
    """True after a handover, when the new program runs in the very process that started the programs."""
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def fork_suspended(spec: dict[str, Any], listener: socket.socket | None) -> tuple[Process, int, int]:
    """Fork a child that runs the program once a byte is written to the first descriptor. It writes errors to the
    second.

    Raises OSError when there is no log to write or no process to be had.
    """
    log = open_log(spec["log"])
    start_read, start_write = os.pipe()
    error_read, error_write = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _exec_program(spec, listener, log, (start_read, start_write), (error_read, error_write))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for fd in (log, start_read, error_write):
            os.close(fd)
    return Process(pid, process_identity(pid) or "", child=True), start_write, error_read


def _exec_program(
    spec: dict[str, Any], listener: socket.socket | None, log: int, start: tuple[int, int], error_pipe: tuple[int, int]
) -> NoReturn:
    """In the child: wait for the byte, then execute the program."""
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.close(start[1])
        if os.read(start[0], 1) != b"g":
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        output = _fork_appender(log) if spec.get("piped") else log
        os.dup2(output, 1)
        os.dup2(output, 2)
        if listener is not None:
            os.dup2(listener.fileno(), 3)
        if spec["user"]:
            _switch_user(spec["user"], spec.get("groups", []), log)
        os.umask(0o022)
        os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        about = error.filename if isinstance(error.filename, str) else spec["argv"][0]
        os.write(error_pipe[1], f"{about}: {error.strerror}".encode())
    except Exception as error:  # noqa: BLE001 - must be reported before this process exits
        os.write(error_pipe[1], str(error).encode())
    finally:
        os._exit(127)
    raise AssertionError  # pragma: no cover


def _fork_appender(log: int) -> int:
    """The pipe to a process that appends to the log what is written to it. It ends when the last writer has."""
    read, write = os.pipe()
    if not os.fork():
        os.setsid()  # what ends the program's group would end it before it has written the last lines
        os.dup2(read, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.execvp("cat", ["cat"])  # nosec B606 B607 - POSIX has it, where differs
    return write


def _switch_user(user: str, groups: list[int], log: int) -> None:
    """Switch to the OS user of that name or number, who may open the log that it writes to, as /dev/stdout.

    Raises KeyError if there is none, and OSError if that is not allowed.
    """
    if user.isdigit():
        uid = gid = int(user)
        own = []
    else:
        entry = pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
        if uid == os.geteuid():
            return
        own = os.getgrouplist(user, gid)
    os.fchown(log, uid, gid)
    os.setgroups([*own, *groups])
    os.setgid(gid)
    os.setuid(uid)
