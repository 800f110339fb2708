"""A real PostgreSQL on this machine, without an installation: the database of `local`, of previews and of tests.

Who may do what:

- It listens on a Unix socket only, never on TCP, and trusts every client of that socket. So the socket lies in a
  folder of mode 0700 that belongs to the OS user who runs the server: only that user, and root, can reach it.
- Run by an ordinary user, everything belongs to that user.
- Run by root, the server is the OS user `postgres`, or `nobody` where there is none, since PostgreSQL refuses to be
  root. That user owns the data and the socket's folder; root (the deploying user, and the app it starts) reaches the
  socket anyway. The state folders on the way are made traversable (o+x), but not readable, to others; no folder above
  the state home is ever changed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from deploykit.model.errors import DeploykitError, Problem, UsageError
from deploykit.process.files import flocked
from deploykit.process.run import Completed, run
from deploykit.process.supervisor.daemon.folder import make_private, short_folder
from deploykit.process.supervisor.daemon.protocol import Refused
from deploykit.process.supervisor.interface import Program, ProgramStatus
from deploykit.targets import postgres_programs
from deploykit.targets.logs import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.process.supervisor.client import Supervisor
    from deploykit.settings.paths import StatePaths

__all__ = ["PROGRAM", "EmbeddedPostgres"]

PROGRAM = "postgresql"
_USER = "postgres"  # the database's superuser; OS users that the server may become are below
_SERVER_USERS = ("postgres", "nobody")
_SOCKET = ".s.PGSQL.5432"
_PATH_LIMIT = 100  # bytes; the kernel takes 107 on Linux, 103 on macOS
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_READY_SECONDS = 30.0
_STEP_SECONDS = 0.02
_MOST_RESTARTS = 5
_TOOL_SECONDS = 60.0
_LOG_LINES = 20


class EmbeddedPostgres:
    """The database server of one app in one environment, kept alive by the supervisor.

    `wait` sleeps for so many seconds; it may raise Cancelled.
    """

    def __init__(
        self, paths: StatePaths, supervisor: Supervisor, *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._paths = paths
        self._supervisor = supervisor
        self._sleep = wait

    @property
    def data(self) -> Path:
        return self._paths.database / "data"

    @property
    def log(self) -> Path:
        return self._paths.supervisor / "logs" / f"{PROGRAM}.log"

    @property
    def socket_folder(self) -> Path:
        """Where the socket is: in the database's folder, or in a short one of its own when that path is too long."""
        folder = self._paths.database / "socket"
        if len(os.fsencode(folder / _SOCKET)) <= _PATH_LIMIT:
            return folder
        return Path(short_folder(str(self._paths.database)))

    def preflight(self) -> Sequence[Problem]:
        """What is missing; nothing is changed."""
        problems = []
        if postgres_programs.wheel() is None and postgres_programs.find(self._paths.parts) is None:
            problems.append(Problem("the embedded PostgreSQL is not installed", postgres_programs.INSTALL))
        try:
            self._check_access(_server_user())
        except UsageError as error:
            problems.append(Problem(error.message, error.next_step))
        return problems

    def ensure(self) -> None:
        """Have the server running and ready; the first time, make its data. Done at once when it is ready.

        Raises UsageError when it is not installed, DeploykitError with the server's last log lines when it does not
        come up.
        """
        if self.running():
            return
        user = _server_user()
        self._check_access(user)
        programs = postgres_programs.install(self._paths.parts)
        with self._exclusive(user):
            self._make_socket_folder(user)
            self._make_data(programs, user)
            self._clear_stale_pid()
            self._wait(self._supervisor.start(self._program(programs, user)))

    def running(self) -> bool:
        """Whether it takes connections now."""
        status = self._supervisor.status(PROGRAM)
        return status is not None and self._is_ready(status)

    def url(self, database: str, driver: str = "") -> str:
        """The address of a database for SQLAlchemy (`driver`: `postgresql+psycopg`) or libpq (none).

        It holds no password.
        """
        return f"{driver or 'postgresql'}://{_USER}@/{quote(database, safe='')}?host={quote(str(self.socket_folder))}"

    def ensure_database(self, name: str) -> None:
        """Have a database of that name on the running server. Raises UsageError for a name that can't be one."""
        if not _DATABASE.fullmatch(name):
            raise UsageError(
                f"{name!r} can't be the name of a database",
                next_step="use letters, digits, _ and -, at most 63, and begin with a letter",
            )
        if not self._has_database(name):
            made = self._tool("createdb", name, check=False)
            if made.returncode and not self._has_database(name):
                raise DeploykitError(f"the database {name} can't be made", details=made.stderr.splitlines())

    def down(self) -> None:
        """Stop it (fast shutdown: transactions are rolled back). The data stay."""
        self._supervisor.stop(PROGRAM)

    # ---- the programs

    def _program(self, programs: Path, user: str) -> Program:
        return Program(
            name=PROGRAM,
            argv=(
                *(str(programs / "postgres"), "-D", str(self.data), "-k", str(self.socket_folder)),
                *("-c", "listen_addresses=", "-c", "unix_socket_permissions=0700"),
            ),
            cwd=self.data,
            env=_environment(self.data),
            log=self.log,
            keep_alive=True,
            user=user,
            stop_signal=signal.SIGINT,
            stop_timeout=30.0,
            labels={"deploykit": "database"},
        )

    def _tool(self, tool: str, *arguments: str, stdin: str = "", check: bool = True) -> Completed:
        programs = postgres_programs.find(self._paths.parts)
        if programs is None:
            raise UsageError("the embedded PostgreSQL is not installed", next_step=postgres_programs.INSTALL)
        return run(
            [programs / tool, "-h", self.socket_folder, "-U", _USER, *arguments],
            env=_environment(self._paths.database),
            stdin=stdin,
            timeout=_TOOL_SECONDS,
            check=check,
        )

    def _has_database(self, name: str) -> bool:
        asked = self._tool(
            "psql",
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", f"name={name}", "-d", "postgres"),
            stdin="SELECT 1 FROM pg_database WHERE datname = :'name';\n",
        )
        return asked.stdout.strip() == "1"

    # ---- folders

    @contextlib.contextmanager
    def _exclusive(self, user: str) -> Iterator[None]:
        """Make the folders of the data, and keep other processes from doing so at the same time."""
        _make_folders(self._paths, traversable=bool(user))
        with flocked(self._paths.database / "ensure.lock", wait=self._sleep):
            yield

    def _check_access(self, user: str) -> None:
        """Raise UsageError when the server's OS user can't get to the state folder."""
        if not user:
            return
        home = self._paths.home.resolve()
        for folder in home.parents:
            if folder.exists() and not _is_traversable(folder, pwd.getpwnam(user).pw_uid):
                raise UsageError(
                    f"the OS user {user}, who runs the embedded PostgreSQL for root, can't get through {folder}",
                    details=(f"state folder: {home}",),
                    next_step="set DEPLOYKIT_STATE_DIR to a folder that all may pass, such as /var/lib/deploykit",
                )

    def _make_socket_folder(self, user: str) -> None:
        folder = self.socket_folder
        owner = pwd.getpwnam(user) if user else None
        try:
            make_private(str(folder), owners=(owner.pw_uid,) if owner else ())
        except (OSError, Refused) as error:
            raise DeploykitError(f"the database's socket has no place: {error}") from None
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    def _make_data(self, programs: Path, user: str) -> None:
        """Make the data folder, whole or not at all."""
        version = self.data / "PG_VERSION"
        if version.exists():
            major = version.read_text("ascii").strip()
            if major != str(postgres_programs.MAJOR):
                raise DeploykitError(
                    f"the data in {self.data} are of PostgreSQL {major}, "
                    f"and the server here is {postgres_programs.MAJOR}",
                    next_step=f"move {self.data} away, or dump it with PostgreSQL {major} and restore",
                )
            return
        passing = self._paths.database / "data.new"
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir(0o700)
        identity = pwd.getpwnam(user) if user else None
        if identity is not None:
            os.chown(passing, identity.pw_uid, identity.pw_gid)
        try:
            made = subprocess.run(
                [
                    *(str(programs / "initdb"), "-D", str(passing), "-U", _USER, "--auth=trust", "--encoding=UTF8"),
                    *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"),
                ],
                cwd=passing,
                env=_environment(passing),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                user=identity.pw_uid if identity else None,
                group=identity.pw_gid if identity else None,
                extra_groups=[] if identity else None,
                start_new_session=True,  # Ctrl-C comes to this process
                timeout=_TOOL_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeploykitError(f"the database's data can't be made: {error}") from None
        if made.returncode:
            said = made.stdout.decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
            raise DeploykitError(f"initdb failed with exit code {made.returncode}", details=said)
        passing.rename(self.data)

    # ---- readiness

    def _is_ready(self, status: ProgramStatus) -> bool:
        """What `pg_ctl` looks at: the server writes its process id, and `ready` once it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        except OSError:
            return False
        ready = len(lines) >= 8 and lines[0] == str(status.pid) and lines[7].strip() == "ready"
        return ready and self._is_listening()

    def _is_listening(self) -> bool:
        """A server that was killed a moment ago has left all its files."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self.socket_folder / _SOCKET))
            except OSError:
                return False
        return True

    def _wait(self, status: ProgramStatus | None) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        restarts = status.restarts if status else 0
        while status is not None and time.monotonic() < deadline and status.restarts - restarts < _MOST_RESTARTS:
            if self._is_ready(status):
                return
            self._sleep(_STEP_SECONDS)
            status = self._supervisor.status(PROGRAM)
        details = [*tail(self.log, _LOG_LINES)]
        if status is not None and not (status.alive and status.restarts == restarts):  # one that recovers is left to it
            self._supervisor.stop(PROGRAM)
        raise DeploykitError("the embedded PostgreSQL does not come up", details=details, next_step=f"see {self.log}")

    def _clear_stale_pid(self) -> None:
        """Remove the process id that a killed server left, when that number is some other process's by now.

        PostgreSQL does so itself, but for one case: it believes any process of its own user to be the earlier server.
        A backend that outlived a killed server works in the data folder: then nothing is removed.
        """
        file = self.data / "postmaster.pid"
        try:
            pid = int(file.read_text("utf-8", "replace").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not Path(f"/proc/{pid}").exists() or _is_working_directory(self.data):
            return
        file.unlink(missing_ok=True)
        (self.socket_folder / f"{_SOCKET}.lock").unlink(missing_ok=True)


def _environment(home: Path) -> dict[str, str]:
    """Nothing from the caller's environment: `PGHOST`, `PGPASSWORD` and a `.psqlrc` have no effect."""
    return {"PATH": os.defpath, "HOME": str(home), "LC_ALL": "C.UTF-8", "LC_MESSAGES": "C", "TZ": "UTC"}


def _server_user() -> str:
    """The OS user to run the server as; empty: the current one. Raises UsageError if root finds none."""
    if os.geteuid() != 0:
        return ""
    for name in _SERVER_USERS:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise UsageError(
        "PostgreSQL does not run as root, and this machine has neither of the OS users postgres and nobody",
        next_step="useradd --system postgres",
    )


def _make_folders(paths: StatePaths, *, traversable: bool) -> None:
    """Make the folders down to the database's; `traversable`: others may go through what is the kit's."""
    try:
        paths.database.mkdir(parents=True, exist_ok=True)
        for folder in (paths.database, *paths.database.parents) if traversable else ():
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
            if folder == paths.home:
                break
        if traversable:
            paths.parts.chmod(0o755)
    except OSError as error:
        raise DeploykitError(f"the database's folder can't be made: {error}") from None


def _is_traversable(folder: Path, uid: int) -> bool:
    found = folder.stat()
    return bool(found.st_mode & (stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH))


def _is_working_directory(folder: Path) -> bool:
    """Whether any process has `folder` as its working directory. True where that can't be known."""
    if not Path("/proc/self/cwd").exists():
        return True
    wanted = str(folder.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "cwd").readlink()) == wanted:
                return True
    return False
