"""Another user of the same machine attacks: nothing that the kit reads, writes or talks to is anybody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

from deploykit.process.supervisor.client import Supervisor
from deploykit.process.supervisor.interface import Program
from tests.shared.users import ATTACKER, OPERATOR, attacker, kit_for_all, operator_words

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")

SECRET = "only-the-operator-knows-it"  # pragma: allowlist secret
SHARED = tuple(Path(folder) for folder in ("/tmp", "/var/tmp", "/dev/shm"))


@pytest.fixture
def commons():
    """A folder that everybody may write to, as /tmp is, which both users can reach."""
    folder = Path(tempfile.mkdtemp(prefix="dk-users-", dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def repository(commons, foreign_repo):
    """The operator's repository, with a secret."""
    repo = foreign_repo.make_tiny(commons / "tiny")
    (repo / ".env.local").write_text(f"GREETING={SECRET}\n")
    (repo / ".env.local").chmod(0o600)
    return repo


def give(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


@pytest.fixture(scope="module")
def as_operator():
    """A command of the kit, typed by an ordinary user."""
    kit = kit_for_all()
    if kit is None:
        pytest.skip("needs a Python of this version outside of root's home, such as Debian's python3")
    words, variables = kit

    def run(repo: Path, state: Path, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*operator_words(), *words, *argv, "--env", "local"],
            cwd=repo,
            env={**variables, "HOME": str(repo.parent), "DEPLOYKIT_STATE_DIR": str(state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def predictable(folder: Path, uid: int) -> Path:
    """Where the supervisor of a folder with a long path once had its socket: anybody could know and prepare it."""
    return Path(f"/tmp/dk-{uid}-{zlib.crc32(os.fsencode(os.path.realpath(folder))):08x}/socket")


def owned_in_shared_folders(uid: int) -> set[Path]:
    return {path for folder in SHARED for path in folder.iterdir() if path.lstat().st_uid == uid}


def test_a_folder_prepared_in_tmp_gets_none_of_a_users_secrets(repository, commons, as_operator):
    state = commons / "-".join(["state"] * 15)
    state.mkdir()
    for folder in (state, repository):
        give(folder, OPERATOR)
    trap = predictable(state / "apps" / "tiny" / "local" / "supervisor", OPERATOR)
    try:
        with attacker(commons, trap) as other:
            ran = as_operator(repository, state, "release")
            left = owned_in_shared_folders(OPERATOR)
            ended = as_operator(repository, state, "down")
            assert other.received == ""
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not left, "nothing of a release stays in a folder of everybody's"
        assert SECRET not in ran.stdout + ran.stderr
    finally:
        shutil.rmtree(trap.parent, ignore_errors=True)


def test_a_folder_prepared_in_tmp_gets_none_of_roots_secrets(commons):
    """At the supervisor itself, to which every program's variables go."""
    home = commons / "-".join(["roots"] * 20)
    home.mkdir(0o755)
    trap = predictable(home / "supervisor", 0)
    supervisor = Supervisor(home / "supervisor")
    program = Program(
        name="web",
        argv=(sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"),
        cwd=home,
        env={"TOKEN": SECRET},
        log=home / "web.log",
    )
    try:
        with attacker(commons, trap) as other:
            try:
                started = supervisor.start(program)
                assert Path(f"/proc/{started.pid}/environ").read_text() == f"TOKEN={SECRET}\0"
            finally:
                supervisor.shutdown()
            assert other.received == ""
    finally:
        shutil.rmtree(trap.parent, ignore_errors=True)


@pytest.mark.parametrize("operator", ["root", "a user"])
def test_a_state_folder_that_somebody_else_prepared_is_refused_before_anything_is_read(
    operator, repository, commons, here, as_operator, monkeypatch
):
    state = commons / "state"
    with attacker(commons, state / "apps" / "tiny" / "local" / "supervisor" / "socket") as other:
        if operator == "root":
            monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(state))
            ran = here(repository, "release", "--env", "local")
            code, said = ran.code, ran.err
        else:
            give(repository, OPERATOR)
            done = as_operator(repository, state, "release")
            code, said = done.returncode, done.stderr
        assert other.received == ""
    assert code == 3
    assert f"{state} belongs to uid {ATTACKER}, who could read and change" in " ".join(said.split())
    assert "set DEPLOYKIT_STATE_DIR to a folder of your own" in " ".join(said.split())
    assert "Traceback" not in said
    assert not (state / "artifacts").exists()


def test_a_supervisors_folder_that_somebody_else_made_is_asked_nothing(commons):
    """The same one floor below, where no command has looked at the state folder."""
    with attacker(commons, commons / "supervisor" / "socket") as other:
        supervisor = Supervisor(commons / "supervisor")
        for ask in (supervisor.programs, supervisor.pid, supervisor.shutdown):
            with pytest.raises(Exception, match=f"belongs to uid {ATTACKER}"):
                ask()
        assert other.received == ""
