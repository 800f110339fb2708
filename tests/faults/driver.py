"""A fork server that runs the kit's commands, and kills, signals or delays them where it is told to.

It reads one JSON object a line (see `harness.Driver`) and answers one. The modules are imported once, so a command
costs a fork instead of a start of Python; a killed child is a killed process like any other.

What a command did is traced: each step of its journal, and each call of the ledger's writing methods in its main
thread. Which steps and which methods there are is found at run time, so that a new one is met without being listed
here.

    kill   {"step": 3, "point": "during", "delay": 0.05, "victim": "command"}
           {"call": 7, "point": "before"}                      (or "after") pause  [{"where":
           "deploykit.release.workflow.stages:preflight", "seconds": 5}]   waits there, before the real function, as
           the command's own waits do ("deaf": as one that never looks); "ready": a file that it makes when it does
    signal {"how": "ctrl-c", "times": 2, "pause": 0.1}         (or "SIGTERM", "hang-up"), sent at the first pause, or
           with "after": seconds, so long after the command began, or with "listening": seconds, so long after it
           began to listen to signals; "then": how those after the first are sent

`step` counts the journal's intents in that command from 0. Points: before-intent, after-intent, during (after `delay`
seconds of the action), after-action (the result is not written yet), after-result. Victims: the command itself, the
supervisor, the proxy ("edge"), or the newest version's process ("candidate").
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pty
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POINTS = ("before-intent", "after-intent", "during", "after-action", "after-result")
LIMIT = 120.0
"""Seconds after which a command is taken for hung, and killed."""


def writing_methods() -> list[str]:
    """The ledger's public methods that write, whatever their names."""
    from deploykit.ledger.sql import SqlLedger

    found = []
    for name in dir(SqlLedger):
        code = getattr(getattr(SqlLedger, name), "__code__", None)
        if not name.startswith("_") and code is not None and "_write" in code.co_names:
            found.append(name)
    return found


@dataclass
class Watch:
    """Traces the ledger's writes in a command's process, and kills where the plan says."""

    kill: dict[str, Any]
    trace: Path
    step: int = -1
    call: int = -1
    name: str = ""
    began: float = 0.0
    main: int = field(default_factory=threading.get_ident)

    def note(self, **what: Any) -> None:
        with self.trace.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def strike(self, point: str, where: str = "") -> None:
        victim = self.kill.get("victim", "command")
        self.note(struck=where or self.name, point=point, victim=victim)
        if victim == "command":
            os.kill(os.getpid(), signal.SIGKILL)
            return
        for pid in victims(victim):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def at(self, point: str) -> bool:
        return self.kill.get("step") == self.step and self.kill.get("point") == point

    def intend(self, real: Callable[..., int], *args: Any, **kwargs: Any) -> int:
        self.step += 1
        self.name = str(args[2])
        if self.at("before-intent"):
            self.strike("before-intent")
        sequence = real(*args, **kwargs)
        if self.at("after-intent"):
            self.strike("after-intent")
        if self.at("during"):
            timer = threading.Timer(self.kill["delay"], self.strike, ["during"])
            timer.daemon = True
            timer.start()
        self.began = time.monotonic()
        return sequence

    def result(self, real: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        if self.at("after-action"):
            self.strike("after-action")
        elif self.at("during") and self.kill.get("victim", "command") == "command":
            self.strike("after-action")  # the action was quicker than its delay
        self.note(step=self.name, seconds=time.monotonic() - self.began, state=args[2].value)
        real(*args, **kwargs)
        if self.at("after-result"):
            self.strike("after-result")

    def write(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != self.main:
            return real(*args, **kwargs)  # the heartbeat comes when it comes
        self.call += 1
        here = self.kill.get("call") == self.call
        if here and self.kill["point"] == "before":
            self.strike("before", name)
        self.note(call=name)
        answer = getattr(self, name)(real, *args, **kwargs) if name in {"intend", "result"} else real(*args, **kwargs)
        if here and self.kill["point"] == "after":
            self.strike("after", name)
        return answer

    def install(self) -> None:
        from deploykit.ledger.sql import SqlLedger

        for name in writing_methods():
            real = getattr(SqlLedger, name)
            setattr(SqlLedger, name, functools.partialmethod(_through, self, name, real))


def _through(ledger: Any, watch: Watch, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return watch.write(name, real, ledger, *args, **kwargs)


def victims(what: str) -> list[int]:
    """Pids, read from what runs in the environment of the present folder."""
    from deploykit.release.environment import open_environment

    environment = open_environment(Path.cwd(), "local")
    if what == "edge":
        status = environment.supervisor.status("edge")
        return [status.pid] if status is not None and status.pid is not None else []
    if what == "supervisor":
        pid = environment.supervisor.pid()
        return [pid] if pid is not None else []
    found = {item.labels.release: item.pid for item in environment.target.instances() if item.pid is not None}
    newest = max(found, key=lambda release: int(release[1:]), default="")
    return [found[newest]] if newest else []


def cancellations(listens: Path | None) -> list[Any]:
    """Those of the commands that this process becomes, as soon as they listen, which `listens` tells then."""
    from deploykit.release.workflow import run

    found: list[Any] = []
    real = run.listening

    @contextlib.contextmanager
    def listening(cancellation: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        found.append(cancellation)
        with real(cancellation, *args, **kwargs):
            if listens is not None:
                listens.touch()
            yield

    run.listening = listening
    return found


def hold(pause: dict[str, Any], listened: list[Any]) -> None:
    wait = time.sleep if pause.get("deaf") else listened[-1].wait
    wait(pause["seconds"])


def pause_at(where: str, ready: Path, wait: Callable[[], None]) -> None:
    """Make a function (`module:name` or `module:Class.name`) wait before it works, and say that it does."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real = getattr(owner, name)

    @functools.wraps(real)
    def late(*args: Any, **kwargs: Any) -> Any:
        if not ready.exists():
            ready.touch()
            wait()
        return real(*args, **kwargs)

    setattr(owner, name, late)


def become(request: dict[str, Any], trace: Path, ready: Path) -> int:
    """In the child: become the commands, one after the other; the exit code of the last."""
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    Watch(request["kill"] or {}, trace).install()
    timed = "listening" in (request["signal"] or {})
    listened = cancellations(ready if timed else None) if timed or request["pauses"] else []
    for pause in request["pauses"]:
        pause_at(pause["where"], Path(pause.get("ready", ready)), functools.partial(hold, pause, listened))
    from deploykit.tasks.program import main

    code = 0
    for argv in request["commands"]:
        sys.argv = ["deploykit", *argv]
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return code


def child(request: dict[str, Any], trace: Path, ready: Path) -> None:
    code = 70
    try:
        code = become(request, trace, ready)
    except BaseException:  # as Python itself would tell it
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def send(how: str, pid: int, master: int) -> int:
    """Ctrl-C as the terminal sends it to its whole foreground group, a hang-up as the kernel does, or a signal.

    The terminal's file descriptor afterwards, -1 when it was closed.
    """
    if how == "ctrl-c":
        if master >= 0:  # else it has ended
            os.write(master, b"\x03")
    elif how == "hang-up":
        os.close(master)
        return -1
    else:
        os.kill(pid, getattr(signal, how))
    return master


def unread() -> int:
    """The writing end of a pipe that nobody reads, as after `| head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def attend(pid: int, master: int, request: dict[str, Any], ready: Path) -> tuple[int, bytes]:
    """Read the child's terminal until it ends, sending what the request wants when it is ready: (wait status,
    output).
    """
    wanted = dict(request["signal"] or {})
    left = int(wanted.get("times", 1)) if wanted else 0
    began = time.monotonic()
    due = began + wanted["after"] if "after" in wanted else None
    output = b""
    while True:
        if left and due is None and ready.exists():
            due = time.monotonic() + wanted.get("listening", 0.05)
        if left and due is not None and time.monotonic() >= due:
            left -= 1
            due = time.monotonic() + float(wanted.get("pause", 0.1))
            master = send(wanted["how"], pid, master)
            wanted["how"] = wanted.get("then", wanted["how"])
        step = 0.01 if due is None or not left else min(max(due - time.monotonic(), 0.0), 0.01)
        if master >= 0 and select.select([master], [], [], step)[0]:
            try:
                output += os.read(master, 65536)
            except OSError:  # EIO: nobody holds the terminal any more
                os.close(master)
                master = -1
        elif master < 0:
            time.sleep(step)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > LIMIT:
            os.kill(pid, signal.SIGKILL)
    while master >= 0 and select.select([master], [], [], 0.05)[0]:
        try:
            if not (more := os.read(master, 65536)):
                break
        except OSError:
            break
        output += more
    if master >= 0:
        os.close(master)
    return status, output


def run(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    out, trace, ready = folder / "out", folder / "trace", folder / "ready"
    if request["terminal"]:
        pid, master = pty.fork()
        if pid == 0:
            child(request, trace, ready)
        status, shown = attend(pid, master, request, ready)
        output = shown.decode(errors="replace").replace("\r\n", "\n")
    else:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            handle = unread() if request["unread"] else os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            child(request, trace, ready)
        if request["signal"]:
            status, _ = attend(pid, -1, request, ready)
        else:
            status = wait(pid)
        output = out.read_text(errors="replace") if out.exists() else ""
    listened = time.time() - ready.stat().st_mtime if ready.exists() else 0.0
    rows = [json.loads(row) for row in trace.read_text().splitlines()] if trace.exists() else []
    code = os.waitstatus_to_exitcode(status)
    return {"returncode": code, "output": output, "trace": rows, "listened": listened}


def wait(pid: int) -> int:
    guard = threading.Timer(LIMIT, os.kill, [pid, signal.SIGKILL])
    guard.start()
    try:
        return os.waitpid(pid, 0)[1]
    finally:
        guard.cancel()


def warm_up(folder: Path) -> None:
    """Import what a release imports sooner or later, and use settings and ledger once: forks share all of it."""
    for name in (
        "alembic.command",
        "deploykit.artifacts.local",
        "deploykit.credentials",
        "deploykit.edge.haproxy",
        "deploykit.release.queries.dry_run",
        "deploykit.release.queries.history",
        "deploykit.release.database.commands",
        "deploykit.release.housekeeping.adopt",
        "deploykit.release.housekeeping.down",
        "deploykit.release.housekeeping.maintenance",
        "deploykit.release.workflow.resume",
        "deploykit.release.workflow.rollout_commands",
        "deploykit.release.queries.status",
        "deploykit.release.hosting.docker",
        "deploykit.release.hosting.local",
        "deploykit.settings.loader",
        "deploykit.settings.models",
        "deploykit.settings.repo",
        "deploykit.settings.webapp",
        "deploykit.artifacts.image.build",
        "deploykit.artifacts.image.plan",
        "deploykit.edge.docker",
        "deploykit.targets.docker",
        "deploykit.targets.process",
        "deploykit.verify.health",
        "deploykit.verify.smoke",
        "deploykit.verify.probe",
        "deploykit.verify.warm",
        "docker.api.client",
        "deploykit.tasks.default",
        "deploykit.tasks.program",
        "deploykit.tasks.terminal",
        "encodings.idna",
        "encodings.utf_8_sig",
    ):
        importlib.import_module(name)
    from deploykit.ledger.sql import open_ledger
    from deploykit.settings.loader import load

    (folder / "pyproject.toml").write_text('[tool.deploykit]\napp = "warm"\n')
    load(folder)
    ledger = open_ledger(folder / "ledger.sqlite3", app="warm", environment="up")
    held = ledger.acquire("somebody", "to warm up", lease=60.0)
    ledger.unlock("somebody", held.token)
    ledger.close()


def serve() -> None:
    with tempfile.TemporaryDirectory(prefix="dk-warm-") as folder:
        warm_up(Path(folder))
    gc.freeze()  # what is shared stays shared
    for line in sys.stdin:
        with tempfile.TemporaryDirectory(prefix="dk-fault-") as folder:
            answer = run(json.loads(line), Path(folder))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
