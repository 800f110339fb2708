"""The client of an environment's supervisor, which it starts when needed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model.errors import DeploykitError
from deploykit.process.ownership import require_own_folder, socket_address
from deploykit.process.supervisor.daemon.folder import LOG, SOCKET, make_private
from deploykit.process.supervisor.daemon.identity import is_same_process
from deploykit.process.supervisor.daemon.lease import forget_lease, read_lease
from deploykit.process.supervisor.daemon.protocol import ANOTHER_RUNS, PROTOCOL, Refused
from deploykit.process.supervisor.daemon.state import read_state, status_of
from deploykit.process.supervisor.interface import Program, ProgramStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["Supervisor", "SupervisorError"]

_DAEMON = Path(__file__).parent / "daemon"
_ANSWER_SECONDS = 20.0
_START_SECONDS = 10.0
_ATTEMPTS = 4
_STEP_SECONDS = 0.005
_LOG_LINES = 10
_LOG_LIMIT = 1_000_000
_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Not the caller's, which begins with a virtual environment that may be gone tomorrow."""


class SupervisorError(DeploykitError):
    """The supervisor refused, or does not answer; `kind` is the daemon's code for the reason.

    `address`: what `listen` names is taken. `exec`: no such program, or not executable. `ended`: the new process of a
    `replace` has ended. `unknown`: no such program is known. `silent`: no answer, or it can't be started.
    """

    def __init__(self, message: str, *, kind: str, details: Sequence[str] = (), next_step: str = "") -> None:
        super().__init__(message, details=details, next_step=next_step)
        self.kind = kind


class _NotRunningError(Exception):
    """No process listens on the supervisor's socket."""


class _ConnectionLostError(Exception):
    """The supervisor closed the connection before it answered."""


class Supervisor:
    """The supervisor of `folder` (`StatePaths.supervisor`). Cheap to make: nothing is touched before it is asked.

    Reading (`status`, `programs`, `pid`) never starts a daemon. All methods raise SupervisorError, and UsageError where
    others can write to the folder: who answers there may be somebody else, and a program's variables are secrets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._socket = self.folder / SOCKET

    # ---- programs

    def start(self, program: Program) -> ProgramStatus:
        """Start it, or return it as it is when it is alive. The supervisor itself is started when it does not run.

        A program of that name that has exited is started again with the new values.
        Raises DeploykitError when the address in `listen` is taken or the program can't be executed.
        """
        return _status(self._ask("start", program=_spec(program)))

    def replace(self, program: Program, *, ready: float = 0.0) -> ProgramStatus:
        """Start a second process of a running program with new values (and the same listening socket).

        The old one is not signalled: the new process's own arguments (HAProxy's `-sf PID`) or the caller end it, and
        at the latest `stop` and `shutdown` do. If the new process ends within `ready` seconds, the old one stays the
        program's process and DeploykitError is raised. A program that is not alive is started.
        """
        request = {"op": "replace", "program": _spec(program), "ready": ready}
        before = self.status(program.name)
        for _ in range(_ATTEMPTS):
            try:
                return _status(self._ask_once(request, start=True))
            except _ConnectionLostError:
                # Its successor makes the new process the program's, if that lives. Twice would be one too many.
                self._ask("programs")
                found = self.status(program.name)
                if found is not None and found.alive and found.argv == program.argv and found != before:
                    return found
        raise self._no_answer()

    def keep_alive(self, name: str, *, enabled: bool) -> None:
        """Change it for a program that is known; one that has ended is started again when enabled.

        Raises DeploykitError when there is no such program.
        """
        self._ask("keep_alive", name=name, enabled=enabled)

    def stop(self, name: str, *, timeout: float | None = None) -> None:
        """End it (its stop signal, then SIGKILL to its group), forget it, close its socket. Returns when it is gone.

        `timeout` in seconds, before the SIGKILL, is for this once; the program's own `stop_timeout` where None.
        Nothing happens when there is no such program.
        """
        if self._records(name):
            self._ask("stop", name=name, timeout=timeout)

    def status(self, name: str) -> ProgramStatus | None:
        return next((status for status in self.programs() if status.name == name), None)

    def programs(self) -> Sequence[ProgramStatus]:
        for _ in range(_ATTEMPTS):
            try:
                answer = self._ask_once({"op": "programs"}, start=False)
            except _ConnectionLostError:
                continue
            except _NotRunningError:
                return tuple(_status(_checked(record)) for record in self._records())
            return tuple(_status(status) for status in answer)
        raise self._no_answer()

    def pid(self) -> int | None:
        """The supervisor's own process id, None when it does not run."""
        with contextlib.suppress(_NotRunningError, _ConnectionLostError):
            return int(self._exchange({"op": "hello"})["pid"])
        return None

    def shutdown(self) -> None:
        """Stop every program, newest first, and end the supervisor."""
        if self._records() or self.pid() is not None:
            self._ask("shutdown")

    # ---- the lease

    def lease(self, request: str, **values: Any) -> Any:
        """Ask about the lease, as `daemon/lease.py` says: `show`, `grant`, `prepare`, `renew`, `end`, `take_over` or
        `forget`. Returns a mapping of what is known of it, None where there is none.
        """
        if request not in {"show", "forget"}:
            return self._ask(f"lease.{request}", **values)
        for _ in range(_ATTEMPTS):
            try:
                return self._ask_once({"op": f"lease.{request}"}, start=False)
            except _ConnectionLostError:
                continue
            except _NotRunningError:
                return read_lease(str(self.folder)) if request == "show" else forget_lease(str(self.folder))
        raise self._no_answer()

    # ---- requests

    def _ask(self, operation: str, **values: Any) -> Any:
        """Ask until there is an answer: every request but `replace` may be repeated."""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_ConnectionLostError):
                return self._ask_once(
                    {"op": operation, **values}, start=operation != "shutdown" or bool(self._records())
                )
        raise self._no_answer()

    def _ask_once(self, request: Mapping[str, Any], *, start: bool) -> Any:
        """One request to a daemon of our protocol; raises _NotRunningError only where it must not be `start`ed."""
        try:
            return self._exchange(request)
        except _NotRunningError:
            if not start:
                if request["op"] == "shutdown":
                    return None
                raise
            self._launch()
        except SupervisorError as error:
            if error.kind != "protocol":
                raise
            self._request_handover()
        try:
            return self._exchange(request)
        except _NotRunningError as error:
            raise _ConnectionLostError from error

    def _exchange(self, request: Mapping[str, Any]) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            try:
                with socket_address(self._socket) as address:
                    connection.connect(address)
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
                raise _NotRunningError from error
            except BlockingIOError as error:  # too many ask at once
                time.sleep(_STEP_SECONDS)
                raise _ConnectionLostError from error
            except OSError as error:
                raise SupervisorError(
                    f"the supervisor can't be reached: {error.strerror or error}",
                    kind="silent",
                    details=(str(self._socket),),
                ) from error
            try:
                connection.sendall(json.dumps({"protocol": PROTOCOL, **request}).encode() + b"\n")
                return self._answer(connection)
            except TimeoutError:
                raise self._no_answer() from None
            except OSError as error:
                raise _ConnectionLostError from error

    def _answer(self, connection: socket.socket) -> Any:
        with connection.makefile("rb") as lines:
            for line in lines:
                answer = json.loads(line) if line.endswith(b"\n") else {}
                if "wait" in answer:
                    connection.settimeout(answer["wait"] + _ANSWER_SECONDS)
                elif "error" in answer:
                    raise _refusal(answer["error"])
                elif "ok" in answer:
                    return answer["ok"]
        raise _ConnectionLostError

    def _no_answer(self) -> SupervisorError:
        return SupervisorError(
            "the supervisor does not answer",
            kind="silent",
            details=self._log_tail(),
            next_step=f"see {self.folder / LOG}",
        )

    # ---- without a daemon

    def _records(self, name: str = "") -> list[dict[str, Any]]:
        """The daemon's saved records: all programs, or the one of that name."""
        try:
            records = read_state(str(self.folder))
        except (ValueError, KeyError, OSError):
            return []
        return [record for record in records if not name or record["spec"]["name"] == name]

    # ---- starting

    def _launch(self) -> None:
        """Make sure that a daemon listens for this folder, started by us or by another process."""
        deadline = time.monotonic() + _START_SECONDS
        try:
            make_private(str(self.folder))
            require_own_folder(self.folder)
            program = self._install()
        except (OSError, Refused) as error:
            raise SupervisorError(f"the supervisor's folder can't be used: {error}", kind="silent") from None
        while True:
            code = self._run_daemon(program)
            if code == 0:
                return
            if code != ANOTHER_RUNS:
                raise SupervisorError(
                    f"the supervisor can't be started: it ended with exit code {code}",
                    kind="silent",
                    details=self._log_tail(),
                )
            with contextlib.suppress(_NotRunningError, _ConnectionLostError):
                self._exchange({"op": "hello"})
                return
            if time.monotonic() > deadline:
                raise self._no_answer()
            time.sleep(_STEP_SECONDS)  # the other one is about to listen, or about to be gone

    def _run_daemon(self, program: Path) -> int:
        """Run the daemon's program, which forks and answers when it listens."""
        log = self.folder / LOG
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LOG_LIMIT:
                log.unlink()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return subprocess.run(
                [base_interpreter(), "-I", "-S", str(program), str(self.folder)],
                cwd=self.folder,
                env={"PATH": _PATH, **{name: os.environ[name] for name in _INHERITED if name in os.environ}},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                timeout=_START_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise self._no_answer() from None
        except OSError as error:
            raise SupervisorError(
                f"the base Python interpreter can't be run: {error.strerror}",
                kind="silent",
                details=(base_interpreter(),),
                next_step="create the virtual environment again",
            ) from None
        finally:
            os.close(descriptor)

    def _install(self) -> Path:
        """A complete copy of our daemon in the folder. Incomplete copies and other versions stay untouched."""
        files = _sources(_DAEMON)
        for copy in self.folder.glob("daemon-*"):
            if _sources(copy) == files:
                return copy
        copy = Path(tempfile.mkdtemp(prefix="daemon-", dir=self.folder))
        try:
            for name, content in files.items():
                (copy / name).write_bytes(content)
        except OSError:
            shutil.rmtree(copy, ignore_errors=True)
            raise
        return copy

    def _request_handover(self) -> None:
        """Replace a daemon of another protocol by ours. The programs keep running."""
        program = self._install()
        with contextlib.suppress(_ConnectionLostError, _NotRunningError):
            self._exchange({"op": "handover", "python": base_interpreter(), "program": str(program)})
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(_ConnectionLostError, _NotRunningError):
                if self._exchange({"op": "hello"})["protocol"] == PROTOCOL:
                    return
            time.sleep(_STEP_SECONDS)
        raise self._no_answer()

    def _log_tail(self) -> tuple[str, ...]:
        try:
            text = (self.folder / LOG).read_text("utf-8", "replace")
        except OSError:
            return ()
        return tuple(text.splitlines()[-_LOG_LINES:])


def _sources(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.py")}


def base_interpreter() -> str:
    """The Python that virtual environments are made from: it outlives them."""
    found = getattr(sys, "_base_executable", None) or sys.executable
    return str(Path(shutil.which(found) or found).resolve())


def _refusal(error: Mapping[str, str]) -> SupervisorError:
    steps = {
        "address": "set another port, or end the program that has this one",
        "exec": "see that the program is there: [tool.deploykit.service] command, and what its requirements install",
    }
    return SupervisorError(error["message"], kind=error["kind"], next_step=steps.get(error["kind"], ""))


def _spec(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "argv": list(program.argv),
        "cwd": str(program.cwd),
        "env": dict(program.env),
        "log": str(program.log.absolute()),
        "keep_alive": program.keep_alive,
        "listen": program.listen,
        "user": program.user,
        "groups": list(program.groups),
        "stop_signal": int(program.stop_signal),
        "stop_timeout": program.stop_timeout,
        "log_limit": program.log_limit,
        "piped": program.piped,
        "labels": dict(program.labels),
    }


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """A record's status when no daemon watches: whether its process lives is asked of the kernel."""
    process = record["process"]
    if process and not is_same_process(process["pid"], process["identity"]):
        record = {**record, "process": None}
    return status_of(record)


def _status(answer: Mapping[str, Any]) -> ProgramStatus:
    return ProgramStatus(
        **{
            **answer,
            "argv": tuple(answer["argv"]),
            "log": Path(answer["log"]),
            "labels": dict(answer["labels"]),
        }
    )
