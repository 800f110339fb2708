"""What a person does with what runs: look at it, lock it, run something beside it, let what is due be done."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request

import pytest

LOCAL = ("--env", "local")


@pytest.fixture
def short_warm(tiny, foreign_repo):
    """The service with a warm window of half a second, which is over before the next command."""
    file = tiny / "pyproject.toml"
    file.write_text(file.read_text().replace("smoke =", "warm_for = 0.5\nsmoke ="))
    foreign_repo.commit(tiny, "Keep it warm for a moment", tag="v1.1.0")
    return tiny


def body(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def two_versions(here, repo, foreign_repo) -> str:
    url = here(repo, "release", *LOCAL, "--json").ok().json["url"]
    foreign_repo.behave(repo, VERSION_TEXT="two")
    foreign_repo.commit(repo, "Two", tag="v2.0.0")
    here(repo, "release", *LOCAL).ok()
    assert body(url) == "two"
    return str(url)


def test_what_was_warm_is_reaped_and_a_rollback_starts_it_again(here, short_warm, foreign_repo):
    url = two_versions(here, short_warm, foreign_repo)
    until = time.monotonic() + 30
    while "its warm window is over" not in (said := here(short_warm, "reap", *LOCAL).ok().out):
        assert "nothing is due" in said
        assert time.monotonic() < until
        time.sleep(0.05)
    instances = here(short_warm, "status", *LOCAL, "--json").ok().json["instances"]
    assert [item["name"] for item in instances] == ["r2-web-0"]
    planned = here(short_warm, "rollback", *LOCAL, "--plan").ok().out
    how = "from its artefact: 1.1.0 does not run any more; it is started first"
    assert f"method     {how}" in planned
    assert here(short_warm, "rollback", *LOCAL, "--json").ok().json["method"] == how
    assert body(url) == "one"


def test_what_was_rolled_back_to_is_not_reaped(here, short_warm, foreign_repo):
    url = two_versions(here, short_warm, foreign_repo)
    method = here(short_warm, "rollback", *LOCAL, "--json").ok().json["method"]
    assert method.startswith("traffic switch: 1.1.0 still runs")
    here(short_warm, "reap", *LOCAL).ok()
    assert body(url) == "one"


def test_a_lock_by_hand_keeps_everybody_out_until_it_is_taken_away(here, tiny):
    assert "the fair is on" in here(tiny, "lock", *LOCAL, "--reason", "the fair is on").ok().out
    assert here(tiny, "release", *LOCAL).code == 1
    assert "the fair is on" in here(tiny, "status", *LOCAL).ok().out
    assert here(tiny, "reap", *LOCAL).code == 1
    assert "local is free again" in here(tiny, "unlock", *LOCAL).ok().out
    assert "local is not locked" in here(tiny, "unlock", *LOCAL).ok().out
    here(tiny, "release", *LOCAL).ok()


def test_users_get_the_maintenance_page_until_it_is_switched_off(here, tiny, monkeypatch):
    monkeypatch.setenv("DEPLOYKIT_ACTOR", "ann")
    (tiny / "closed.html").write_text("<p>We count the money.")
    file = tiny / "pyproject.toml"
    file.write_text(f'{file.read_text()}\n[tool.deploykit.edge]\nmaintenance_page = "closed.html"\n')
    url = here(tiny, "release", *LOCAL, "--json").ok().json["url"]
    assert here(tiny, "maintenance.on", *LOCAL, "--json").ok().json["changed"]
    with pytest.raises(urllib.error.HTTPError) as closed:
        body(url)
    assert (closed.value.code, closed.value.read()) == (503, b"<p>We count the money.")
    status = here(tiny, "status", *LOCAL).ok().out
    assert ", by ann: users get the maintenance page" in status
    assert "next  invoke maintenance.off --env local" in status
    assert "of maintenance" in here(tiny, "maintenance.off", *LOCAL).ok().out
    assert body(url) == "one"
    nothing = here(tiny, "rollout.abort", *LOCAL)
    assert (nothing.code, "there is no rollout to abort in local: 1.0.1" in nothing.both) == (3, True)
    here(tiny, "history", *LOCAL, "--check").ok()


def test_a_command_runs_beside_the_live_version_and_its_exit_code_is_ours(here, tiny):
    here(tiny, "release", *LOCAL).ok()
    execute = ("exec", *LOCAL, "--")
    assert here(tiny, *execute, "printenv", "DEPLOYKIT_VERSION").ok().out == "1.0.0\n"
    assert here(tiny, *execute, "python", "-V").ok().out.startswith("Python 3")
    assert here(tiny, *execute, "python", "-c", "raise SystemExit(7)").code == 7
    assert here(tiny, *execute, "python", "-c", "import os; os.kill(os.getpid(), 9)").code == 128 + signal.SIGKILL


def test_the_artefact_can_be_built_without_being_released(here, tiny):
    first = here(tiny, "build", "--json").ok().json
    assert first["version"] == "1.0.0"
    said = here(tiny, "build").ok().out
    assert first["digest"] in said
    assert "next: invoke release --env local" in said
    assert here(tiny, "history", *LOCAL).ok().out.startswith("no releases in local yet")


def test_the_version_of_the_tree_is_told(here, tiny):
    assert here(tiny, "version").ok().out == "1.0.0\n"
    (tiny / "more.py").touch()
    told = here(tiny, "version", "--json").ok().json
    assert told["dirty"]
    assert told["version"].startswith("1.0.1.dev0+g")


def test_a_version_that_is_gone_is_not_verified(here, tiny, state):
    from deploykit.process.supervisor.client import Supervisor

    here(tiny, "release", *LOCAL).ok()
    Supervisor(state / "apps" / "tiny" / "local" / "supervisor").stop("r1-web-0")
    ran = here(tiny, "verify", *LOCAL, "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["outcome"] == "failed"
    failed = {check["name"]: check["message"] for check in told["checks"] if not check["passed"]}
    assert failed["instances"] == "none of r1 runs"
    assert "requests" in failed
    assert "next: invoke rollback --env local" in here(tiny, "verify", *LOCAL).out


def test_a_release_is_taken_up_where_it_was_left(here, tiny, monkeypatch):
    """Its process ends without another word after the build; the next command finishes it."""
    from deploykit.release.execution import runner

    class Gone(BaseException):
        pass

    def gone(*_: object, **__: object) -> None:
        raise Gone

    with monkeypatch.context() as patch:
        patch.setattr(runner, "make_plan", gone)
        with pytest.raises(Gone):
            here(tiny, "release", *LOCAL)
    status = here(tiny, "status", *LOCAL).ok().out
    assert "r1 (release of 1.0.0) was left unfinished" in status
    assert "invoke release --env local --resume   (finish it)" in status
    resumed = here(tiny, "release", *LOCAL, "--resume", "--json").ok().json
    assert (resumed["outcome"], resumed["release"]) == ("done", "r1")
    assert body(resumed["url"]) == "one"


def test_a_first_release_that_was_left_is_undone_and_nothing_is_said_to_be_live(here, tiny, monkeypatch):
    from deploykit.release.execution import runner

    class Gone(BaseException):
        pass

    def gone(*_: object, **__: object) -> None:
        raise Gone

    with monkeypatch.context() as patch:
        patch.setattr(runner, "make_plan", gone)
        with pytest.raises(Gone):
            here(tiny, "release", *LOCAL)
    said = here(tiny, "rollback", *LOCAL).ok().out
    assert "nothing is live in local" in said
    assert "r1 (1.0.0) had not ended and was undone" in said
    assert "next     invoke release --env local" in said


def test_a_gate_is_a_task_with_the_gates_own_exit_code(here, tiny):
    told = here(tiny, "gate", "secrets", "--json")
    assert told.code == 0, told.both
    assert told.json["outcome"] == "passed"
    assert "secrets: PASSED" in told.err


WORKER = """import os, sys, time
print(os.environ["DEPLOYKIT_VERSION"], "works", flush=True)
if os.environ["DEPLOYKIT_VERSION"] == "3.0.0":
    sys.exit(4)
while True:
    time.sleep(0.05)
"""


def test_a_worker_comes_and_goes_with_its_version(here, tiny, foreign_repo):
    (tiny / "worker.py").write_text(WORKER)
    file = tiny / "pyproject.toml"
    file.write_text(
        file.read_text() + '\n[tool.deploykit.processes.worker]\ncommand = "python worker.py"\nsettle = 0.3\n'
    )
    foreign_repo.commit(tiny, "A worker", tag="v1.1.0")
    url = two_versions(here, tiny, foreign_repo)

    def running() -> set[str]:
        instances = here(tiny, "status", *LOCAL, "--json").ok().json["instances"]
        return {item["name"] for item in instances if item["state"] == "running"}

    assert running() == {"r1-web-0", "r2-web-0", "r2-worker-0"}
    assert "2.0.0 works" in here(tiny, "logs", *LOCAL, "--process", "worker").ok().out
    foreign_repo.behave(tiny, VERSION_TEXT="three")
    foreign_repo.commit(tiny, "Three", tag="v3.0.0")
    ran = here(tiny, "release", *LOCAL)
    assert ran.code == 1
    assert "r3-worker-0 ended with exit code 4: a worker has to stay up" in " ".join(ran.both.split())
    assert running() == {"r1-web-0", "r2-web-0", "r2-worker-0"}
    here(tiny, "rollback", *LOCAL).ok()
    assert body(url) == "one"
    assert running() == {"r1-web-0", "r1-worker-0", "r2-web-0"}
    here(tiny, "history", *LOCAL, "--check").ok()
