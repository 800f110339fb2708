"""A real PostgreSQL on this machine, without an installation: the database of `local`, of previews and of tests.

Who may do what:

- It listens on a Unix socket only, never on TCP, and trusts every client of that socket. So the socket lies in a
  folder of mode 0700 that belongs to the OS user who runs the server: only that user, and root, can reach it.
- Run by an ordinary user, everything belongs to that user.
- Run by root, the server is a user of its own without an account (`process/users.py`), since PostgreSQL refuses to be
  root. It is not `postgres`, who may have another server's data on this machine. That user owns the data and the
  socket's folder, which the group of the app's programs may pass; root reaches the socket anyway. The state folders on
  the way are made traversable (o+x), but not readable, to others; no folder above the state home is ever changed.
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
from deploykit.process.supervisor.daemon.folder import make_private
from deploykit.process.supervisor.daemon.protocol import Refused
from deploykit.process.supervisor.interface import Program, ProgramStatus
from deploykit.process.users import can_become_another, give_away, number_of, open_for_passing
from deploykit.targets import postgres_programs
from deploykit.targets.logs import tail
from deploykit.targets.program_user import clients_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.process.supervisor.client import Supervisor
    from deploykit.settings.paths import StatePaths

__all__ = ["PROGRAM", "EmbeddedPostgres"]

PROGRAM = "postgresql"
_USER = "postgres"  # the database's superuser
_WITH_NAMES = ("postgres", "nobody")
"""initdb wants a user with an account: one of these makes the data, which are then given to the server's user."""
_SOCKET = ".s.PGSQL.5432"
_PATH_LIMIT = 103  # bytes on macOS; Linux takes 107
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
        """Where the socket is: in the state folder always, for nobody else can put anything there."""
        return self._paths.database_socket

    def preflight(self) -> Sequence[Problem]:
        """What is missing; nothing is changed."""
        problems = []
        if postgres_programs.wheel() is None and postgres_programs.find(self._paths.parts) is None:
            problems.append(Problem("the embedded PostgreSQL is not installed", postgres_programs.INSTALL))
        try:
            self._check_path()
            self._check_access()
        except UsageError as error:
            problems.append(Problem(error.message, error.next_step))
        return problems

    @property
    def user(self) -> int | None:
        """The OS user that root makes of the server. None: who runs this."""
        if os.geteuid() != 0:
            return None
        return number_of(f"{self._paths.app}/{self._paths.environment} database", self._paths.home)

    def ensure(self, tell: Callable[[str], None] = lambda _text: None) -> None:
        """Have the server running and ready; the first time, make its data. Done at once when it is ready.

        Data that another OS user made, by an earlier version of the kit, change their owner, of which it `tell`s.

        Raises UsageError when it is not installed, DeploykitError with the server's last log lines when it does not
        come up.
        """
        if self.running():
            return
        self._check_path()
        self._check_access()
        user = self.user
        programs = postgres_programs.install(self._paths.parts)
        with self._exclusive():
            self._make_socket_folder(user)
            self._make_data(programs, user)
            if user is not None and give_away(self.data, user, user):
                tell(f"the data in {self.data} were another user's, and belong to the user {user} from now on")
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

    def _program(self, programs: Path, user: int | None) -> Program:
        return Program(
            name=PROGRAM,
            argv=(
                *(str(programs / "postgres"), "-D", str(self.data), "-k", str(self.socket_folder)),
                *("-c", "listen_addresses="),
                *("-c", f"unix_socket_permissions={'0700' if user is None else '0770'}"),
            ),
            cwd=self.data,
            env=_environment(self.data),
            log=self.log,
            keep_alive=True,
            user="" if user is None else str(user),
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
    def _exclusive(self) -> Iterator[None]:
        """Make the folders of the data, and keep other processes from doing so at the same time."""
        _make_folders(self._paths, traversable=os.geteuid() == 0)
        with flocked(self._paths.database / "ensure.lock", wait=self._sleep):
            yield

    def _check_path(self) -> None:
        path = self.socket_folder / _SOCKET
        if (over := len(os.fsencode(path)) - _PATH_LIMIT) > 0:
            raise UsageError(
                f"the path of the database's socket would be {over} bytes too long for this system: {path}",
                next_step=f"set DEPLOYKIT_STATE_DIR to a folder whose path is at least {over} bytes shorter",
            )

    def _check_access(self) -> None:
        """Raise UsageError when the server's OS user can't get to the state folder, or root can't become it."""
        if os.geteuid() != 0:
            return
        if not can_become_another():
            raise UsageError(
                "PostgreSQL does not run as root, and root may not become another user here",
                next_step="run the kit as an ordinary user, or give the container the capabilities SETUID and SETGID",
            )
        home = self._paths.home.resolve()
        for folder in home.parents:
            if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
                raise UsageError(
                    f"the OS user who runs the embedded PostgreSQL for root can't get through {folder}",
                    details=(f"state folder: {home}",),
                    next_step="set DEPLOYKIT_STATE_DIR to a folder that all may pass, such as /var/lib/deploykit",
                )

    def _make_socket_folder(self, user: int | None) -> None:
        folder = self.socket_folder
        try:
            make_private(str(folder), owners=(user,) if user is not None else ())
        except (OSError, Refused) as error:
            raise DeploykitError(f"the database's socket has no place: {error}") from None
        if user is not None:
            os.chown(folder, user, clients_group(self._paths))
            folder.chmod(0o2710)  # the socket gets the folder's group

    def _make_data(self, programs: Path, user: int | None) -> None:
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
        identity = _with_a_name() if user is not None else None
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
        if user is not None:
            give_away(passing, user, user)
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


def _with_a_name() -> pwd.struct_passwd:
    """An account that is not root's, for initdb. Raises UsageError where there is none."""
    for name in _WITH_NAMES:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise UsageError(
        "initdb does not run as root, and this machine has neither of the OS users postgres and nobody",
        next_step="useradd --system postgres",
    )


def _make_folders(paths: StatePaths, *, traversable: bool) -> None:
    """Make the folders down to the database's; `traversable`: others may go through what is the kit's."""
    try:
        paths.database.mkdir(parents=True, exist_ok=True)
        paths.database_socket.parent.mkdir(mode=0o700, exist_ok=True)
        if traversable:
            open_for_passing(paths.database_socket.parent, paths.home)
            open_for_passing(paths.database, paths.home)
            paths.parts.chmod(0o755)
    except OSError as error:
        raise DeploykitError(f"the database's folder can't be made: {error}") from None


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
