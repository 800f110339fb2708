"""The supervisor's own program: keeps an environment's programs running, and nothing else.

One file, standard library only. `client` copies it into the supervisor's folder and runs it there with the base
interpreter (`-I -S`), so what runs needs neither the checkout nor its virtual environment. One thread, one event loop.

What it promises:

- **Nothing is lost by `kill -9` of it.** The programs have sessions of their own and go on. Everything known about them
  stands in `state.json`, written (temporary file, fsync, rename) *before* a new process may run its program: the
  forked child waits for a byte, and ends by itself when that byte never comes. The next daemon adopts what is alive
  (process id and the kernel's start time together name a process) and starts again what should be and is not.
- **Ends are seen at once**, by SIGCHLD for children and by a pidfd for adopted processes (polled where there is none).
- **A listening socket outlives the processes that serve it**: it is held here and handed to each as descriptor 3.

Protocol: one JSON object and a line feed each way, one request a connection, on a Unix socket that only its owner can
reach. A request that takes time is answered first by `{"wait": seconds}`, the longest it may take from now on.
"""

# pathlib alone would double the time in which a supervisor starts.
# ruff: noqa: PTH101, PTH103, PTH105, PTH108, PTH110, PTH112, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import heapq
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

PROTOCOL = 1
SOCKET = "socket"
STATE = "state.json"
LOCK = "lock"
LOG = "daemon.log"
ANOTHER_RUNS = 3  # this program's exit code when the folder already has a supervisor

_PATH_LIMIT = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_BACKLOG = 1024
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_STEADY_SECONDS = 10.0  # a process that ran this long starts again without the delays of earlier crashes
_HOUSEKEEPING_SECONDS = 2.0
_MISSING_LIMIT = 3  # looks after the house in a row
_POLL_SECONDS = 0.1  # only for adopted processes, and only where there is no pidfd
_LATE_CODE_SECONDS = 3.0
_KILL_SECONDS = 10.0  # how long a process may take to go after SIGKILL before a stop is answered as failed
_REQUEST_LIMIT = 16_000_000
_SYS_PIDFD_GETFD = 438  # the same number on every Linux architecture that CPython supports
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


class Refused(Exception):
    """The request can't be done; `kind` is for programs, the message for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# ---- what the client uses too -----------------------------------------------------------------------------------


def socket_path(folder: str) -> str:
    """Where the supervisor of `folder` listens: in the folder, or in a short one of its own when the path is too long."""
    path = os.path.join(folder, SOCKET)
    return path if len(os.fsencode(path)) <= _PATH_LIMIT else os.path.join(short_folder(folder), SOCKET)


def short_folder(folder: str) -> str:
    """A short path that belongs to `folder` and this user. The same for every caller, whatever its environment."""
    digest = zlib.crc32(os.fsencode(os.path.realpath(folder)))
    return f"/tmp/dk-{os.geteuid()}-{digest:08x}"  # noqa: S108  # nosec B108 - made 0700 and its owner is checked


def make_private(folder: str, owners: tuple[int, ...] = ()) -> None:
    """Make `folder` for its owner alone. Raises Refused when somebody else made it first (`/tmp` is everyone's)."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), *owners):
        raise Refused("folder", f"{folder} belongs to somebody else")
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)


def boot_id() -> str:
    """Names this boot of the machine; empty where the kernel doesn't say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def birth_of(pid: int) -> str:
    """What names the process `pid` for ever: boot and start time. Empty when it is gone (or only waits to be reaped)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return "" if os.path.isdir("/proc/self") else _birth_by_ps(pid)
    return "" if fields[0] in (b"Z", b"X") else f"{boot_id()}:{fields[19].decode()}"


def _birth_by_ps(pid: int) -> str:
    """The same where there is no /proc (macOS)."""
    said = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        check=False,
        text=True,
        env={"LC_ALL": "C"},
    ).stdout.split()
    return "" if not said or said[0].startswith("Z") else " ".join(said[1:])


def read_state(folder: str) -> list[dict[str, Any]]:
    """The records of the programs, oldest first. Raises ValueError when the file is not what was written."""
    try:
        with open(os.path.join(folder, STATE), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    records = json.loads(text)["programs"]
    if not isinstance(records, list):
        raise ValueError("no list of programs")  # noqa: TRY004 - a file's content, not an argument
    return records


def status_of(record: dict[str, Any]) -> dict[str, Any]:
    """What is told of a program, from its record."""
    spec, process = record["spec"], record["process"]
    return {
        "name": spec["name"],
        "pid": process["pid"] if process else None,
        "exit_code": None if process else record["exit_code"],
        "restarts": record["restarts"],
        "started_at": record["started_at"],
        "keep_alive": spec["keep_alive"],
        "argv": spec["argv"],
        "log": spec["log"],
        "labels": spec["labels"],
    }


# ---- processes --------------------------------------------------------------------------------------------------


class Process:
    """One process of a program: ours (`child`) or adopted from an earlier supervisor."""

    def __init__(self, pid: int, birth: str, *, child: bool) -> None:
        self.pid = pid
        self.birth = birth
        self.child = child
        self.pidfd = -1

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "birth": self.birth}

    @classmethod
    def adopt(cls, record: dict[str, Any]) -> Process:
        process = cls(record["pid"], record["birth"], child=_is_child(record["pid"]))
        if not process.child and process.alive() and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                process.pidfd = os.pidfd_open(process.pid)
            if process.pidfd >= 0 and not process.alive():  # it went, and its number may be another's already
                process.close()
        return process

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def alive(self) -> bool:
        return birth_of(self.pid) == self.birth

    def ended(self) -> tuple[bool, int | None]:
        """Whether it has ended, and its exit code (negative: a signal; None: nobody knows). Ends its group with it."""
        if not self.child:
            if self.alive():
                return False, None
            if not birth_of(self.pid) and self.birth.partition(":")[0] == boot_id():
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
            self.kill_group(signal.SIGKILL)  # before the reaping, which gives the number back
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return (True, os.waitstatus_to_exitcode(status)) if pid else (False, None)

    def code_by_pidfd(self) -> int | None:
        """The exit code of a process that isn't a child: Linux 6.15 tells it by a pidfd, once init has reaped it."""
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


def fork_gated(spec: dict[str, Any], listener: socket.socket | None) -> tuple[Process, int, int]:
    """Fork a child that runs the program once a byte is written to the first descriptor; the second tells of failure.

    Raises OSError when there is no log to write or no process to be had.
    """
    log = open_log(spec["log"])
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(spec, listener, log, (go_read, go_write), (said_read, said_write))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for fd in (log, go_read, said_write):
            os.close(fd)
    return Process(pid, birth_of(pid), child=True), go_write, said_read


def _become(
    spec: dict[str, Any], listener: socket.socket | None, log: int, go: tuple[int, int], said: tuple[int, int]
) -> NoReturn:
    """In the child: wait for the byte, then be the program."""
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.close(go[1])
        if os.read(go[0], 1) != b"g":
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if listener is not None:
            os.dup2(listener.fileno(), 3)
        if spec["user"]:
            _become_user(spec["user"])
        os.umask(0o022)
        os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - argv list, no shell
    except OSError as error:
        about = error.filename if isinstance(error.filename, str) else spec["argv"][0]
        os.write(said[1], f"{about}: {error.strerror}".encode())
    except Exception as error:  # noqa: BLE001 - it has to be told before this process ends
        os.write(said[1], str(error).encode())
    finally:
        os._exit(127)
    raise AssertionError  # pragma: no cover


def _become_user(name: str) -> None:
    """Take on the identity of the OS user `name`. Raises KeyError when there is none, OSError when it isn't allowed."""
    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.geteuid():
        return
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def open_log(path: str) -> int:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def rotate(path: str, limit: int) -> None:
    """Copy a log that has grown past `limit` bytes to `<path>.1` and truncate it: whoever writes it appends."""
    try:
        if os.stat(path).st_size <= limit:
            return
        shutil.copyfile(path, f"{path}.new")
        os.replace(f"{path}.new", f"{path}.1")
        os.truncate(path, 0)
    except OSError:
        traceback.print_exc()


# ---- sockets ----------------------------------------------------------------------------------------------------


def open_listener(address: str) -> socket.socket:
    """Listen on `host:port`. Raises Refused when it is taken or isn't an address of this machine."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken by somebody else" if taken else f"can't be listened on: {error}"
        raise Refused("address", f"the address {address} {reason}") from None
    return listener


def fetch_listener(process: Process, address: str) -> socket.socket | None:
    """Get the listening socket back from a process that has it as descriptor 3 (Linux; the kernel may forbid it)."""
    if process.pidfd < 0:
        return None
    import ctypes  # hardly ever needed, and every command imports this file

    fd = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, process.pidfd, 3, 0)
    if fd < 0:
        return None
    try:
        os.set_inheritable(fd, False)
        found = socket.socket(fileno=fd)
    except OSError:
        os.close(fd)
        return None
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        if found.getsockname()[:2] == (host.strip("[]"), int(port)):
            return found
    found.close()
    return None


class Connection:
    """One client, one request, one answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b""

    def receive(self) -> dict[str, Any] | None:
        """The request once it is whole, else None. Raises EOFError when there will be none."""
        try:
            data = self.sock.recv(1 << 20)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        self.received += data
        if not data or len(self.received) > _REQUEST_LIMIT:
            raise EOFError
        if not self.received.endswith(b"\n"):
            return None
        request = json.loads(self.received)
        if not isinstance(request, dict):
            raise EOFError  # noqa: TRY004 - what a client sent, not an argument
        return request

    def send(self, answer: Mapping[str, Any]) -> None:
        """Nobody may be there any more: that is no concern of the work."""
        with contextlib.suppress(OSError):
            self.sock.settimeout(5.0)
            self.sock.sendall(json.dumps(answer).encode() + b"\n")

    def answer(self, answer: Mapping[str, Any]) -> None:
        self.send(answer)
        self.sock.close()


# ---- the programs -----------------------------------------------------------------------------------------------


class Entry:
    """A program that is known: what it should be, and the processes that it is.

    `candidate` is the second process while a `replace` waits; `retired` are those replaced and not yet gone; `last` is
    the one that `exit_code` is of.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.process: Process | None = None
        self.candidate: Process | None = None
        self.candidate_spec: dict[str, Any] | None = None
        self.candidate_listener: socket.socket | None = None
        self.retired: list[Process] = []
        self.last: Process | None = None
        self.exit_code: int | None = None
        self.restarts = 0
        self.failures = 0
        self.started_at = 0.0
        self.stopping: float | None = None
        self.listener: socket.socket | None = None
        self.restart: Timer | None = None
        self.deadline: Timer | None = None
        self.replacer: Connection | None = None
        self.stoppers: list[Connection] = []
        self.parked: list[tuple[Connection, dict[str, Any]]] = []

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    def processes(self) -> list[Process]:
        return [process for process in (self.process, self.candidate, *self.retired) if process is not None]

    def record(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "process": self.process.as_json() if self.process else None,
            "candidate": self.candidate.as_json() if self.candidate else None,
            "candidate_spec": self.candidate_spec,
            "retired": [process.as_json() for process in self.retired],
            "exit_code": self.exit_code,
            "restarts": self.restarts,
            "started_at": self.started_at,
            "stopping": self.stopping,
        }


class Timer:
    def __init__(self, when: float, act: Callable[[], None]) -> None:
        self.when = when
        self.act: Callable[[], None] | None = act

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.act = None


class Daemon:
    """The event loop and what it acts on."""

    def __init__(self, folder: str, lock: int) -> None:
        self.folder = folder
        self.lock = lock
        self.selector = selectors.DefaultSelector()
        self.entries: dict[str, Entry] = {}
        self.timers: list[Timer] = []
        self.server: socket.socket | None = None
        self.ending = False
        self.missing = 0
        self.abandoned = False
        self.quitters: list[Connection] = []
        self.done = False

    # -- life

    def open(self, server: socket.socket | None) -> None:
        """Listen for requests and signals."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN)
        self.selector.register(wake_read, selectors.EVENT_READ, lambda: self._wake(wake_read))
        self._serve(server or self._bind())

    def _bind(self) -> socket.socket:
        path = socket_path(self.folder)
        make_private(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(path)
        os.chmod(path, 0o600)
        server.listen(128)
        return server

    def _serve(self, server: socket.socket) -> None:
        server.setblocking(False)
        if self.server is not None:
            self.selector.unregister(self.server)
            self.server.close()
        self.server = server
        self.selector.register(server, selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        self.after(_HOUSEKEEPING_SECONDS, self._keep_house)
        while not self.done:
            timeout = max(0.0, self.timers[0].when - time.monotonic()) if self.timers else None
            for key, _ in self.selector.select(timeout):
                self._guard(key.data)
            while self.timers and self.timers[0].when <= time.monotonic():
                act = heapq.heappop(self.timers).act
                if act is not None:
                    self._guard(act)

    def _guard(self, act: Callable[[], None]) -> None:
        """A supervisor doesn't die of one defect: it is written down, and the others are still looked after."""
        try:
            act()
        except Exception:  # noqa: BLE001
            traceback.print_exc()

    def after(self, seconds: float, act: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, act)
        heapq.heappush(self.timers, timer)
        return timer

    def save(self) -> None:
        if self.abandoned:
            return
        path = os.path.join(self.folder, STATE)
        records = [entry.record() for entry in self.entries.values()]
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump({"protocol": PROTOCOL, "programs": records}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.new", path)

    def _keep_house(self) -> None:
        self.after(_HOUSEKEEPING_SECONDS, self._keep_house)
        for entry in self.entries.values():
            rotate(entry.spec["log"], entry.spec["log_limit"])
        if os.fstat(self.lock).st_nlink == 0:
            self._folder_is_gone()
        elif not os.path.exists(socket_path(self.folder)):  # swept away with the temporary files
            self._serve(self._bind())

    def _folder_is_gone(self) -> None:
        """Somebody removed our folder: no client can ever ask for these programs again, so they are not left behind."""
        self.missing += 1
        if self.missing >= _MISSING_LIMIT and not self.ending:
            self.abandoned = self.ending = True
            self._end_next()

    def _wake(self, fd: int) -> None:
        try:
            numbers = os.read(fd, 4096)
        except BlockingIOError:
            return
        if signal.SIGTERM in numbers:
            self.done = True  # the programs go on; the next supervisor adopts them
        self.look()

    # -- adoption

    def adopt(self, listeners: Mapping[str, int]) -> None:
        """Take over what an earlier supervisor of this folder has left."""
        try:
            records = read_state(self.folder)
        except (ValueError, KeyError, TypeError):
            traceback.print_exc()
            os.replace(os.path.join(self.folder, STATE), os.path.join(self.folder, f"{STATE}.broken"))
            records = []
        for record in records:
            entry = Entry(record["spec"])
            self.entries[entry.name] = entry
            entry.exit_code = record["exit_code"]
            entry.restarts = record["restarts"]
            entry.started_at = record["started_at"]
            entry.stopping = record["stopping"]
            entry.process = Process.adopt(record["process"]) if record["process"] else None
            entry.retired = [Process.adopt(process) for process in record["retired"]]
            if record["candidate"]:
                self._adopt_candidate(entry, Process.adopt(record["candidate"]), record["candidate_spec"])
            if entry.name in listeners:
                entry.listener = socket.socket(fileno=listeners[entry.name])
                entry.listener.set_inheritable(False)
            elif entry.spec["listen"] and entry.process is not None:
                entry.listener = fetch_listener(entry.process, entry.spec["listen"])
            for process in entry.processes():
                self._watch(process)
        self.look()
        for entry in list(self.entries.values()):
            if entry.stopping is not None:
                self._stop(entry, entry.stopping)
            elif entry.process is None and entry.restart is None and entry.spec["keep_alive"]:
                self._restart(entry)
        self.save()

    def _adopt_candidate(self, entry: Entry, candidate: Process, spec: dict[str, Any]) -> None:
        """A replacement was under way: the new process is the program's if it lives."""
        if candidate.alive():
            if entry.process is not None:
                entry.retired.append(entry.process)
            entry.process, entry.spec = candidate, spec
        else:
            entry.retired.append(candidate)

    def _watch(self, process: Process) -> None:
        if process.child:
            return
        if process.pidfd >= 0:
            self.selector.register(process.pidfd, selectors.EVENT_READ, self.look)
        elif process.alive():
            self.after(_POLL_SECONDS, lambda: self._poll(process))

    def _poll(self, process: Process) -> None:
        self.look()
        if process.alive():
            self.after(_POLL_SECONDS, lambda: self._poll(process))

    # -- ends

    def look(self) -> None:
        """See which processes have ended, and act on it."""
        for entry in list(self.entries.values()):
            for process in entry.processes():
                has_ended, code = process.ended()
                if has_ended:
                    if process.pidfd >= 0:
                        self.selector.unregister(process.pidfd)
                    self._guard(functools.partial(self._ended, entry, process, code))
                    if process.pidfd >= 0:
                        self._learn_code(entry, process, time.monotonic() + _LATE_CODE_SECONDS)

    def _learn_code(self, entry: Entry, process: Process, until: float) -> None:
        """An adopted process has ended, and init may not have reaped it yet: its exit code is asked for a few times."""
        code = process.code_by_pidfd()
        if code is None and time.monotonic() < until:
            self.after(_POLL_SECONDS, lambda: self._learn_code(entry, process, until))
            return
        process.close()
        if code is not None and entry.last is process and entry.exit_code is None:
            entry.exit_code = code
            self.save()

    def _ended(self, entry: Entry, process: Process, code: int | None) -> None:
        if process in entry.retired:
            entry.retired.remove(process)
        elif process is entry.candidate:
            self._drop_candidate(entry, code)
        else:
            entry.process = None
            entry.last = process
            entry.exit_code = code
        if entry.stopping is not None:
            self._gone(entry)
            return
        if entry.process is None and entry.candidate is None and entry.spec["keep_alive"] and entry.restart is None:
            steady = time.time() - entry.started_at >= _STEADY_SECONDS
            entry.failures = 0 if steady else entry.failures
            self._restart_later(entry)
        self.save()

    def _restart_later(self, entry: Entry) -> None:
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(entry.failures, 16))
        entry.failures += 1
        entry.restart = self.after(delay, lambda: self._restart(entry))

    def _restart(self, entry: Entry) -> None:
        entry.restart = None
        if self.entries.get(entry.name) is not entry or entry.process is not None or entry.stopping is not None:
            return
        entry.restarts += 1
        try:
            if entry.spec["listen"] and entry.listener is None:
                entry.listener = open_listener(entry.spec["listen"])
            entry.process = self._spawn(entry.spec, entry.listener, lambda process: self._is(entry, process))
        except Refused as error:
            entry.process = None
            entry.exit_code = 127
            self._note(entry.spec["log"], f"it can't be started again: {error}")
            self._restart_later(entry)
            self.save()

    def _is(self, entry: Entry, process: Process) -> None:
        entry.process = process
        entry.last = None
        entry.exit_code = None
        entry.started_at = time.time()

    def _note(self, log: str, message: str) -> None:
        """Say it where the program's own output is looked for."""
        with contextlib.suppress(OSError):
            fd = open_log(log)
            os.write(fd, f"[supervisor] {message}\n".encode())
            os.close(fd)

    def _spawn(self, spec: dict[str, Any], listener: socket.socket | None, known: Callable[[Process], None]) -> Process:
        """Start a process. `known` puts it where `save` finds it; only then may it run. Raises Refused."""
        try:
            process, go, said = fork_gated(spec, listener)
        except OSError as error:
            raise Refused("start", f"{spec['name']} can't be started: {error}") from None
        known(process)
        with os.fdopen(said, "rb") as pipe:
            try:
                self.save()
                os.write(go, b"g")
            finally:
                os.close(go)
            failure = pipe.read()  # ends when the program runs: the descriptor is closed by exec
        if failure:
            os.waitpid(process.pid, 0)
            raise Refused("exec", f"{spec['name']} can't be executed: {failure.decode('utf-8', 'replace')}")
        return process

    # -- requests

    def _accept(self) -> None:
        if self.server is None:
            return
        try:
            sock, _ = self.server.accept()
        except OSError:
            return
        sock.setblocking(False)
        connection = Connection(sock)
        self.selector.register(sock, selectors.EVENT_READ, lambda: self._receive(connection))

    def _receive(self, connection: Connection) -> None:
        try:
            request = connection.receive()
        except (EOFError, ValueError):
            self.selector.unregister(connection.sock)
            connection.sock.close()
            return
        if request is not None:
            self.selector.unregister(connection.sock)
            self.dispatch(connection, request)

    def dispatch(self, connection: Connection, request: dict[str, Any]) -> None:
        """Do what is asked, and answer now or when it is done."""
        try:
            answer = self._do(connection, request)
        except Refused as error:
            connection.answer({"error": {"kind": error.kind, "message": str(error)}})
        except Exception as error:
            connection.answer({"error": {"kind": "defect", "message": f"the supervisor failed: {error!r}"}})
            raise
        else:
            if answer is not None:
                connection.answer(answer)

    def _do(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None when it is given later. `hello` and `handover` mean the same in every protocol."""
        operation = request.get("op")
        if operation == "hello":
            return {"ok": {"protocol": PROTOCOL, "pid": os.getpid()}}
        if operation == "handover":
            self._hand_over(request["python"])
        if request.get("protocol") != PROTOCOL:
            raise Refused("protocol", f"this supervisor speaks protocol {PROTOCOL}")
        if operation == "programs":
            self.look()  # an end is told even when its signal is still on the way
            return {"ok": [status_of(entry.record()) for entry in self.entries.values()]}
        if operation == "shutdown":
            connection.send({"wait": self._longest_end()})
            self.quitters.append(connection)
            self.ending = True
            self._end_next()
            return None
        if self.ending:
            raise Refused("ending", "this supervisor is ending")
        if operation in ("start", "replace"):
            return self._start_or_replace(connection, request)
        return self._do_one(connection, request, str(operation), self.entries.get(request["name"]))

    def _do_one(
        self, connection: Connection, request: dict[str, Any], operation: str, entry: Entry | None
    ) -> dict[str, Any] | None:
        """Requests about one program. Those about a program that isn't known change nothing."""
        if operation == "stop":
            if entry is None:
                return {"ok": None}
            timeout = request["timeout"] if request["timeout"] is not None else entry.spec["stop_timeout"]
            connection.send({"wait": timeout + _KILL_SECONDS})
            entry.stoppers.append(connection)
            self._stop(entry, timeout)
            return None
        if operation == "keep_alive":
            if entry is None:
                raise Refused("unknown", f"there is no program {request['name']}")
            self._keep_alive(entry, enabled=request["enabled"])
        elif operation == "signal":
            if entry is None or entry.process is None:
                raise Refused("unknown", f"{request['name']} does not run")
            entry.process.kill(request["number"])
        else:
            raise Refused("request", f"there is no request {operation!r}")
        return {"ok": None}

    def _start_or_replace(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any] | None:
        spec = request["program"]
        entry = self.entries.get(spec["name"])
        if entry is not None and (entry.stopping is not None or entry.candidate is not None):
            entry.parked.append((connection, request))
            connection.send({"wait": 60.0 + entry.spec["stop_timeout"]})
            return None
        self.look()
        if entry is None or entry.process is None:
            self._start(spec, entry)
        elif request["op"] == "replace":
            return self._replace(connection, entry, spec, request["ready"])
        return {"ok": status_of(self.entries[spec["name"]].record())}

    def _start(self, spec: dict[str, Any], before: Entry | None) -> None:
        """Start a program that isn't alive, in the place of what may be left of it."""
        entry = Entry(spec)
        if before is not None:
            if before.restart is not None:
                before.restart.cancel()
            entry.retired = before.retired
            if before.spec["listen"] == spec["listen"]:
                entry.listener = before.listener
        if spec["listen"] and entry.listener is None:
            entry.listener = open_listener(spec["listen"])
        self.entries.pop(spec["name"], None)  # the newest is the last
        self.entries[spec["name"]] = entry
        try:
            self._spawn(spec, entry.listener, lambda process: self._is(entry, process))
        except Refused:
            if before is None or before.listener is not entry.listener:
                self._close_listener(entry)
            del self.entries[spec["name"]]
            if before is not None:
                self.entries[spec["name"]] = before
                if before.spec["keep_alive"]:
                    self._restart_later(before)
            self.save()
            raise
        if before is not None and before.listener is not entry.listener:
            self._close_listener(before)

    def _close_listener(self, entry: Entry) -> None:
        if entry.listener is not None:
            entry.listener.close()
            entry.listener = None

    def _keep_alive(self, entry: Entry, *, enabled: bool) -> None:
        entry.spec["keep_alive"] = enabled
        if not enabled and entry.restart is not None:
            entry.restart.cancel()
            entry.restart = None
        self.save()
        if enabled and entry.process is None and entry.restart is None and entry.stopping is None:
            self._restart(entry)

    # -- replace

    def _replace(
        self, connection: Connection, entry: Entry, spec: dict[str, Any], ready: float
    ) -> dict[str, Any] | None:
        listener = entry.listener
        if spec["listen"] and (listener is None or spec["listen"] != entry.spec["listen"]):
            listener = open_listener(spec["listen"])
        elif not spec["listen"]:
            listener = None
        entry.candidate_spec = spec
        entry.candidate_listener = listener

        def known(process: Process) -> None:
            entry.candidate = process

        try:
            self._spawn(spec, listener, known)
        except Refused:
            entry.candidate = entry.candidate_spec = None
            self._forget_candidate_listener(entry)
            self.save()
            raise
        if ready <= 0:
            self._commit(entry)
            return {"ok": status_of(entry.record())}
        connection.send({"wait": ready})
        entry.replacer = connection
        entry.deadline = self.after(ready, lambda: self._commit(entry))
        return None

    def _commit(self, entry: Entry) -> None:
        """The second process is the program's now."""
        if entry.candidate is None or entry.candidate_spec is None:
            return
        if entry.process is not None:
            entry.retired.append(entry.process)
        entry.process, entry.spec = entry.candidate, entry.candidate_spec
        if entry.listener is not entry.candidate_listener:
            self._close_listener(entry)
            entry.listener = entry.candidate_listener
        entry.candidate = entry.candidate_spec = entry.candidate_listener = None
        entry.exit_code = None
        entry.started_at = time.time()
        self.save()
        self._answer_replacer(entry, {"ok": status_of(entry.record())})

    def _drop_candidate(self, entry: Entry, code: int | None) -> None:
        entry.candidate = entry.candidate_spec = None
        self._forget_candidate_listener(entry)
        message = f"the new process of {entry.name} ended with exit code {code}; the one before goes on"
        if entry.process is None:
            message = f"the new process of {entry.name} ended with exit code {code}, and so did the one before"
        self._answer_replacer(entry, {"error": {"kind": "ended", "message": message}})

    def _forget_candidate_listener(self, entry: Entry) -> None:
        if entry.candidate_listener is not None and entry.candidate_listener is not entry.listener:
            entry.candidate_listener.close()
        entry.candidate_listener = None

    def _answer_replacer(self, entry: Entry, answer: dict[str, Any]) -> None:
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        if entry.replacer is not None:
            entry.replacer.answer(answer)
            entry.replacer = None
        self._unpark(entry)

    def _unpark(self, entry: Entry) -> None:
        parked, entry.parked = entry.parked, []
        for connection, request in parked:
            self.dispatch(connection, request)

    # -- stop

    def _stop(self, entry: Entry, timeout: float) -> None:
        """End every process of the program; `_gone` follows. Asked again, the shorter time holds."""
        if entry.restart is not None:
            entry.restart.cancel()
            entry.restart = None
        if entry.stopping is None and entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        entry.stopping = timeout
        self.save()
        self.look()
        if self.entries.get(entry.name) is not entry:
            return
        for process in entry.processes():
            process.kill_group(entry.spec["stop_signal"])
            process.kill_group(signal.SIGCONT)
        limit = time.monotonic() + timeout
        if entry.deadline is None or entry.deadline.act is None or limit < entry.deadline.when:
            if entry.deadline is not None:
                entry.deadline.cancel()
            entry.deadline = self.after(timeout, lambda: self._kill(entry))
        self._gone(entry)

    def _kill(self, entry: Entry) -> None:
        for process in entry.processes():
            process.kill_group(signal.SIGKILL)
            process.kill(signal.SIGKILL)

    def _gone(self, entry: Entry) -> None:
        """Forget a stopped program once nothing is left of it."""
        if entry.processes() or self.entries.get(entry.name) is not entry:
            return
        if entry.deadline is not None:
            entry.deadline.cancel()
        self._close_listener(entry)
        self._forget_candidate_listener(entry)
        del self.entries[entry.name]
        self.save()
        if entry.replacer is not None:
            entry.replacer.answer({"error": {"kind": "ended", "message": f"{entry.name} was stopped meanwhile"}})
        for connection in entry.stoppers:
            connection.answer({"ok": None})
        self._unpark(entry)
        if self.ending:
            self._end_next()

    def _longest_end(self) -> float:
        return sum((entry.spec["stop_timeout"] + _KILL_SECONDS for entry in self.entries.values()), 5.0)

    def _end_next(self) -> None:
        """Stop the newest program; when there is none left, end."""
        if self.entries:
            newest = list(self.entries.values())[-1]
            if newest.stopping is None:
                self._stop(newest, newest.spec["stop_timeout"])
            return
        if self.done:
            return
        self.done = True
        for path in () if self.abandoned else (socket_path(self.folder), os.path.join(self.folder, STATE)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        os.close(self.lock)
        for connection in self.quitters:
            connection.answer({"ok": None})

    # -- handover

    def _hand_over(self, python: str) -> None:
        """Become the daemon program that lies in the folder now, in this very process: children stay children.

        Raises Refused when it can't be executed; then everything is as before.
        """
        self.save()
        kept = {name: entry.listener.fileno() for name, entry in self.entries.items() if entry.listener is not None}
        server = self.server.fileno() if self.server is not None else -1
        fds = [self.lock, server, *kept.values()]
        inherit = json.dumps({"lock": self.lock, "server": server, "listeners": kept})
        with self._inheritable(fds):
            program = os.path.join(self.folder, "daemon.py")
            try:
                os.execve(python, [python, "-I", "-S", program, self.folder, inherit], dict(os.environ))  # noqa: S606
            except OSError as error:
                raise Refused("handover", f"{python} can't be executed: {error.strerror}") from None

    @contextlib.contextmanager
    def _inheritable(self, fds: list[int]) -> Iterator[None]:
        for fd in fds:
            os.set_inheritable(fd, True)
        try:
            yield
        finally:
            for fd in fds:
                os.set_inheritable(fd, False)


# ---- the start --------------------------------------------------------------------------------------------------


def take_lock(folder: str) -> int:
    """The descriptor that holds this folder, -1 when another supervisor does."""
    fd = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd


def _reserve_3() -> None:
    """Nothing of ours may be descriptor 3, which is the listening socket's in every child."""
    fd = os.open(os.devnull, os.O_RDONLY)
    if fd != 3:
        os.dup2(fd, 3, inheritable=False)
        os.close(fd)


def _serve(folder: str, lock: int, inherited: Mapping[str, Any], ready: Callable[[], None]) -> None:
    daemon = Daemon(folder, lock)
    server = inherited.get("server", -1)
    daemon.open(socket.socket(fileno=server) if server >= 0 else None)
    ready()
    daemon.adopt(inherited.get("listeners", {}))
    daemon.run()


def main(arguments: list[str]) -> int:
    """Run as `daemon.py FOLDER`: answers 0 when a supervisor of its own now listens, 3 when there was one already.

    With a second argument it is the other side of a handover, and goes on in this process.
    """
    folder = arguments[0]
    os.umask(0o077)
    os.chdir(folder)
    if len(arguments) > 1:
        inherited = json.loads(arguments[1])
        _reserve_3()
        for fd in (inherited["lock"], inherited["server"], *inherited["listeners"].values()):
            os.set_inheritable(fd, False)
        _serve(folder, inherited["lock"], inherited, lambda: None)
        return 0
    os.closerange(3, 4096)
    _reserve_3()
    lock = take_lock(folder)
    if lock < 0:
        return ANOTHER_RUNS
    ready_read, ready_write = os.pipe()
    if os.fork():
        os.close(ready_write)
        return 0 if os.read(ready_read, 1) else 1
    os.close(ready_read)
    os.setsid()

    def ready() -> None:
        os.write(ready_write, b"r")
        os.close(ready_write)

    try:
        _serve(folder, lock, {}, ready)
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
