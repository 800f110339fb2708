from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from target_contract import SLEEP, TargetContract, labels, one, until

from deploykit.model import DeploykitError
from deploykit.model.errors import Cancelled
from deploykit.process.cancellation import Cancellation
from deploykit.process.supervisor.daemon.logs import rotate
from deploykit.process.supervisor.interface import Program
from deploykit.targets import ports
from deploykit.targets.interface import InstanceState
from deploykit.targets.process import ProcessTarget


@pytest.fixture
def target(paths, supervisor):
    return ProcessTarget("shop", "test", paths, supervisor)


class TestProcessTarget(TargetContract):
    @pytest.fixture
    def python(self):
        return (sys.executable, "-S", "-u")

    def test_a_crash_is_seen_beside_what_runs(self, target, spec, supervisor):
        target.start(spec())
        target.start(spec("raise SystemExit('boom')", replica=1))
        until(lambda: one(target, "r1-web-1").state is InstanceState.EXITED)
        assert list(target.logs("r1-web-1")) == ["boom"]

    def test_an_instance_does_not_depend_on_the_callers_surroundings(self, target, spec, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", "of the caller")
        monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
        monkeypatch.setenv("PATH", "/checkout/.venv/bin:/bin")
        target.start(spec("import os; print(sorted(set(os.environ) - {'LC_CTYPE'})); print(os.environ['PATH'])"))
        until(lambda: len(target.logs("r1-web-0")) == 2)
        names, path = target.logs("r1-web-0")
        allowed = {"HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PORT", "PYTHONUNBUFFERED", "TMPDIR", "TZ", "USER"}
        assert set(json.loads(names.replace("'", '"'))) <= allowed
        assert "checkout" not in path

    def test_the_variables_of_a_one_off_command_whose_caller_was_killed_do_not_stay(
        self, target, spec, supervisor, paths, monkeypatch
    ):
        def left_by(release):
            kind = {"deploykit": "one-off", **asdict(labels(release))}
            log = paths.supervisor / "logs" / f"{release}-run-1.log"
            argv = (sys.executable, "-S", "-c", "")
            env = {"KEY": "wren-and-finch"}
            supervisor.start(Program(name=log.stem, argv=argv, cwd=Path("/"), env=env, log=log, labels=kind))
            until(lambda: not supervisor.status(log.stem).alive)

        left_by("r1")
        left_by("r2")
        target.start(spec(release="r2"))
        assert {status.name for status in supervisor.programs()} == {"r1-run-1", "r2-run-1", "r2-web-0"}
        monkeypatch.setattr("deploykit.targets.process._ONE_OFF_SECONDS", -60.0)
        target.start(spec(release="r2", replica=1))
        assert {status.name for status in supervisor.programs()} == {"r2-run-1", "r2-web-0", "r2-web-1"}

    def test_instances_of_other_apps_are_not_ours(self, target, spec, supervisor, paths):
        target.start(spec())
        assert list(ProcessTarget("other", "test", paths, supervisor).instances()) == []
        assert list(ProcessTarget("shop", "staging", paths, supervisor).instances()) == []

    def test_a_port_that_is_to_be_avoided_is_not_chosen(self, paths, supervisor, spec, monkeypatch):
        monkeypatch.setattr(ports, "RANGE", range(31_990, 31_992))
        monkeypatch.setattr(ports.free_port, "__kwdefaults__", {"port_range": range(31_990, 31_992), "rng": None})
        target = ProcessTarget("shop", "test", paths, supervisor, avoid=[31_990])
        assert target.start(spec()).port == 31_991

    def test_an_instance_survives_the_supervisor(self, target, spec, supervisor):
        instance = target.start(spec())
        target.keep_alive(instance.name, enabled=True)
        os.kill(supervisor.pid(), signal.SIGKILL)
        assert one(target, instance.name).pid == instance.pid
        assert target.start(spec(replica=1)).state is InstanceState.RUNNING
        os.kill(instance.pid, signal.SIGKILL)
        back = until(lambda: (now := one(target, instance.name)).restarts == 1 and now.pid and now)
        assert back.port == instance.port

    def test_an_instance_that_waits_for_its_restart_is_starting(self, target, spec):
        target.start(spec("raise SystemExit(5)"))
        target.keep_alive("r1-web-0", enabled=True)
        found = until(lambda: (now := one(target, "r1-web-0")).state is InstanceState.STARTING and now)
        assert found.exit_code == 5

    def test_lines_are_followed_across_a_rotation(self, target, spec, paths):
        target.start(spec("import time\nfor n in range(200): print(n, flush=True); time.sleep(0.005)\ntime.sleep(60)"))
        lines = target.follow(["r1-web-0"])
        log = paths.supervisor / "logs" / "r1-web-0.log"
        first = int(next(lines)[1])
        rotate(str(log), 10)
        found = [first, *(int(next(lines)[1]) for _ in range(199 - first))]
        assert found == list(range(first, 200))

    def test_logs_of_long_ago_are_removed(self, target, spec, paths, monkeypatch):
        monkeypatch.setattr("deploykit.targets.process._KEPT_LOGS", 2)
        for number in range(5):
            target.start(spec("print('x')", release=f"r{number}"))
            until(lambda number=number: one(target, f"r{number}-web-0").state is InstanceState.EXITED)
            target.stop(f"r{number}-web-0", timeout=1)
        target.start(spec(release="r9"))
        assert sorted(log.name for log in (paths.supervisor / "logs").glob("*.log")) == [
            "r3-web-0.log",
            "r4-web-0.log",
            "r9-web-0.log",
        ]
        assert list(target.logs("r4-web-0")) == ["x"]

    # ---- one-off commands

    def test_ctrl_c_ends_a_one_off_command(self, target, one_off, supervisor):
        def interrupt(line):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            target.run(one_off(SLEEP), on_line=interrupt)
        assert list(supervisor.programs()) == []

    def test_a_cancellation_ends_a_one_off_command(self, one_off, paths, supervisor):
        cancellation = Cancellation()
        target = ProcessTarget("shop", "test", paths, supervisor, wait=cancellation.wait)
        with pytest.raises(Cancelled):
            target.run(one_off(SLEEP), on_line=lambda _line: cancellation.cancel("cancelled by a test"))
        assert list(supervisor.programs()) == []

    def test_a_one_off_command_of_a_killed_caller_is_found_again(self, target, one_off, paths, supervisor, tmp_path):
        go = tmp_path / "go"
        work = one_off(
            f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({str(go)!r}):"
            " time.sleep(0.01)\nprint('done')"
        )
        code = (
            "import json, sys; from pathlib import Path\n"
            "from deploykit.model import Labels\n"
            "from deploykit.process.supervisor.client import Supervisor\n"
            "from deploykit.settings.paths import StatePaths\n"
            "from deploykit.targets.interface import OneOff\n"
            "from deploykit.targets.process import ProcessTarget\n"
            "home, labels, argv = json.loads(sys.argv[1])\n"
            "paths = StatePaths(Path(home), 'shop', 'test')\n"
            "target = ProcessTarget('shop', 'test', paths, Supervisor(paths.supervisor))\n"
            "work = OneOff(labels=Labels(**labels), argv=tuple(argv), cwd=Path('/'))\n"
            "target.run(work, on_line=lambda line: print(line, flush=True))"
        )
        given = json.dumps([str(paths.home), asdict(labels()), work.argv])
        caller = subprocess.Popen([sys.executable, "-c", code, given], stdout=subprocess.PIPE, text=True)
        assert caller.stdout.readline() == "begun\n"
        caller.kill()
        caller.communicate(timeout=10)
        (running,) = supervisor.programs()
        assert running.alive
        threading.Timer(0.2, go.touch).start()
        assert list(target.run(work).output) == ["begun", "done"]
        assert list(supervisor.programs()) == []

    def test_a_one_off_command_whose_supervisor_is_killed_goes_on(self, target, one_off, supervisor, tmp_path):
        go = tmp_path / "go"
        source = (
            f"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({str(go)!r}):"
            " time.sleep(0.01)\nprint('done')"
        )
        other = Program(
            name="x", argv=("sleep", "60"), cwd=Path("/"), env={"PATH": "/bin:/usr/bin"}, log=tmp_path / "x"
        )

        def act(line):
            if line == "begun":
                os.kill(supervisor.pid(), signal.SIGKILL)
                supervisor.start(other)
                go.touch()

        kernel = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
        if kernel >= (6, 15):
            result = target.run(one_off(source), on_line=act)
            assert (result.exit_code, list(result.output)) == (0, ["begun", "done"])
        else:  # the code of an orphan is known to nobody: that is said, and nothing is made up
            with pytest.raises(DeploykitError, match="exit code is not known"):
                target.run(one_off(source), on_line=act)

    # ---- preflight

    def test_a_state_folder_that_can_not_be_made_is_said_to_be_so(self, paths, supervisor):
        paths.home.joinpath("apps").write_text("a file is in the way")
        (problem,) = ProcessTarget("shop", "test", paths, supervisor).preflight()
        assert "can't be written" in problem.message
        assert "DEPLOYKIT_STATE_DIR" in problem.next_step

    def test_a_system_without_processes_of_this_kind_is_said_to_be_so(self, target, monkeypatch):
        monkeypatch.setattr(sys, "platform", "win32")
        (problem,) = target.preflight()
        assert "Linux or macOS" in problem.message

    def test_a_base_interpreter_that_is_gone_is_said_to_be_so(self, target, monkeypatch):
        monkeypatch.setattr("deploykit.targets.process.base_interpreter", lambda: "/nowhere/python")
        (problem,) = target.preflight()
        assert "/nowhere/python is gone" in problem.message
