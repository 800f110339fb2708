"""Who the app is where root runs the kit: a user of its own, unless the settings or the machine say otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from deploykit.model import UsageError
from deploykit.process.users import NUMBERS
from deploykit.release.hosting import app_user as module
from deploykit.release.hosting.app_user import app_user
from deploykit.settings.paths import StatePaths
from tests.shared.users import kit_for_all

WHO = """
import os
def may_write(path):
    try:
        return bool(open(path, "a"))
    except PermissionError:
        return False
print(os.getuid(), os.getgid(), os.environ["HOME"])
""".strip()


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start the app as another user")


@pytest.fixture
def kit(state):
    """A command of the kit, typed by root, with a Python that all users can run."""
    found = kit_for_all()
    if found is None:
        pytest.skip("needs a Python of this version outside of root's home, such as Debian's python3")
    words, variables = found

    def run(repo, *argv):
        return subprocess.run(
            [*words, *argv],
            cwd=repo,
            env={**variables, "HOME": "/root", "DEPLOYKIT_STATE_DIR": str(state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def released(kit, repo):
    ran = kit(repo, "release", "--env", "local", "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def process_of(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return Path(f"/proc/{answer.headers['X-Pid']}")


def status_of(process):
    lines = (line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {name: value.split() for name, value in lines}


def run_python(kit, repo, code):
    return kit(repo, "exec", "--env", "local", "--", "python", "-c", code)


def test_the_app_is_a_user_of_its_own_with_its_data_and_without_powers(kit, tiny, foreign_repo, state):
    """First it is root, as the settings say; then they say nothing; then back again."""
    file = tiny / "pyproject.toml"
    own = file.read_text().replace("health =", 'persistent = ["var/"]\nhealth =')
    file.write_text(own.replace("health =", 'user = "root"\nhealth ='))
    foreign_repo.commit(tiny, "As root")
    first = released(kit, tiny)
    assert process_of(first["url"]).stat().st_uid == 0
    assert not [text for text in first["warnings"] if "root" in text]
    data = state / "apps" / "tiny" / "local" / "data"
    (data / "var" / "note").write_text("of root")

    file.write_text(own)
    foreign_repo.commit(tiny, "As a user of its own")
    second = released(kit, tiny)
    process = process_of(second["url"])
    uid = process.stat().st_uid
    assert uid in NUMBERS
    assert set(status_of(process)["Uid"]) == {str(uid)}
    assert int(status_of(process)["CapEff"][0], 16) == 0
    numbers = json.loads((state / "users.json").read_text())
    assert numbers["tiny/local app"] == uid
    assert len(set(numbers.values())) == len(numbers), "the proxy is another one"
    # The data are its own, once, and that is said.
    assert [text for text in second["warnings"] if f"the app is the user {uid} from now on" in text]
    assert (data / "var" / "note").stat().st_uid == uid
    # One-off commands are the same user, and write where the app may and nowhere else.
    tried = {"var/note": True, "server.py": False, "../other": False, str(state / "users.json"): False}
    said = run_python(kit, tiny, f"{WHO}; print(*(may_write(place) for place in {list(tried)!r}))")
    home = state / "apps" / "tiny" / "local" / "home"
    assert said.stdout.split() == [str(uid), str(uid), str(home), *map(str, tried.values())], said.stderr

    assert kit(tiny, "rollback", "--env", "local").returncode == 0
    assert process_of(first["url"]).stat().st_uid == 0
    assert kit(tiny, "down", "--env", "local").returncode == 0


@pytest.fixture
def paths(state):
    return StatePaths(state, "tiny", "local")


def test_where_its_own_user_can_not_run_python_the_app_is_root_and_that_is_said(paths, monkeypatch, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    (closed / "python3").symlink_to(sys.executable)
    monkeypatch.setattr(module, "base_interpreter", lambda: str(closed / "python3"))
    said = []
    assert app_user("", paths, said.append) == ""
    (text,) = said
    assert text.startswith("the app runs as root, not as a user of its own: others can't get through ")
    assert 'set service.user = "root"' in text
    said.clear()
    assert app_user("root", paths, said.append) == ""
    assert said == []
    with pytest.raises(UsageError, match="the app can't be the user daemon: others can't get through"):
        app_user("daemon", paths, said.append)


def test_a_state_folder_that_others_can_not_get_through_is_said(tmp_path):
    said = []
    (tmp_path / "home").mkdir(0o700)
    assert app_user("", StatePaths(tmp_path / "home" / "state", "tiny", "local"), said.append) == ""
    assert "where the state folder is" in said[0]


def test_a_user_that_is_not_there_is_refused_with_the_command_that_makes_it(paths):
    with pytest.raises(UsageError, match="this machine has no such user") as caught:
        app_user("tiny-app", paths, print)
    assert caught.value.next_step == "useradd --system tiny-app"


def test_only_root_starts_the_app_as_somebody_else(paths, monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 61_001)
    assert app_user("", paths, print) == ""
    with pytest.raises(UsageError, match="only root can start the app as another user"):
        app_user("daemon", paths, print)
