"""A repository that isn't ours, from the built wheel: everything is typed as its owner would type it.

One story, told by fixtures in its order; each keeps what it saw, and the tests are the claims about that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)

KEYS = {"outcome", "release", "version", "digest", "url", "stages"}
STAGES = ["plan", "preflight", "build", "migrate", "start", "switch", "verify", "record"]


@dataclass
class Parcels:
    """The foreign repository, and the folder that its commands are typed in."""

    kit: Any
    state: Path
    repo: Path
    fixtures: Any
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *argv: str, **options: Any) -> Any:
        options["env"] = self.env | options.get("env", {})
        return self.kit(self.state, self.repo, *argv, **options)

    @property
    def url(self) -> str:
        return str(self.status()["url"])

    def status(self) -> Any:
        """Its exit code is 1 where something is wrong with what is live, and 0 elsewhere."""
        ran = self("invoke" if self.repo.joinpath("tasks.py").exists() else "deploykit", *STATUS)
        assert ran.code == bool(ran.json["problems"]), ran.both
        return ran.json

    def price(self, url: str) -> int:
        """What the app does: the price of a parcel of 2 kg, which differs by version."""
        with urllib.request.urlopen(f"{url}/quote?weight_kg=2", timeout=10) as answer:
            return int(json.load(answer)["price_cents"])


STATUS = ("status", "--env", "local", "--json")


@pytest.fixture(scope="module")
def parcels(kit, foreign_repo, lasting_state, tmp_path_factory) -> Parcels:
    repo = foreign_repo.make_foreign(tmp_path_factory.mktemp("foreign") / "parcels")
    return Parcels(kit, lasting_state, repo, foreign_repo)


def advisory(package: str, fixed: str) -> str:
    """One record of an advisory database that was asked just now."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps(
        {
            "id": f"PYSEC-2026-{len(package)}",
            "modified": now,
            "published": now,
            "details": f"A hole in {package}, for this test.",
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": package},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
                }
            ],
        }
    )


# Gates ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gated(parcels: Parcels, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("advisories")
    (folder / "harmless.jsonl").write_text(advisory("flask", "0.1") + "\n")
    (folder / "holes.jsonl").write_text(advisory("flask", "99") + "\n")
    # Nobody is listening there: the advisory source can't be reached, whatever this machine's network is like.
    cut_off = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    cut_off |= {"NO_PROXY": "", "no_proxy": ""}
    known = {"DEPLOYKIT_ADVISORIES": str(folder / "harmless.jsonl")}
    hole = {"DEPLOYKIT_ADVISORIES": str(folder / "holes.jsonl")}
    return {
        "nox": parcels("nox", "-s", "test", "security", env=known),
        "gate": parcels("invoke", "gate", "audit", env=known),
        "nox, hole": parcels("nox", "-s", "audit", env=hole),
        "gate, hole": parcels("invoke", "gate", "audit", "--json", env=hole),
        "nox, no source": parcels("nox", "-s", "test", "security", env=cut_off),
        "gate, no source": parcels("invoke", "gate", "audit", env=cut_off),
    }


def test_its_own_task_stands_beside_the_kits(parcels):
    listed = parcels("invoke", "--list").ok().out
    names = {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "}
    assert {"seed", "release", "rollback", "status", "history", "verify", "gate"} <= names
    assert "how many parcels to add" in parcels("invoke", "--help", "seed").ok().out


def test_tests_and_security_pass_with_a_copy_of_advisories(gated):
    said = gated["nox"].ok().both
    for gate in ("test", "sast", "audit", "secrets", "security"):
        assert f"{gate}: PASSED" in said
    assert "offline copy" in said
    assert gated["gate"].code == 0


def test_a_known_hole_is_a_finding(gated):
    assert gated["nox, hole"].code == 1
    assert gated["gate, hole"].code == 1
    verdict = gated["gate, hole"].json
    assert verdict["outcome"] == "findings"
    assert any("flask" in finding["message"] for finding in verdict["findings"])


def test_without_a_source_of_advisories_the_audit_is_inconclusive_and_says_how_to_give_a_copy(gated):
    for ran, code in ((gated["nox, no source"], 1), (gated["gate, no source"], 2)):
        assert ran.code == code
        assert "audit: INCONCLUSIVE" in ran.both
        assert "DEPLOYKIT_ADVISORIES" in ran.both
        assert "Traceback" not in ran.both
    said = gated["nox, no source"].both
    assert "test: PASSED" in said
    assert "secrets: PASSED" in said
    assert "security: INCONCLUSIVE" in said


# The first release ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A command, and what the app did after it."""

    ran: Any
    price: int
    status: Any
    url: str


def seen(parcels: Parcels, ran: Any) -> Seen:
    ran.ok()
    status = parcels.status()
    return Seen(ran, parcels.price(status["url"]), status, status["url"])


@pytest.fixture(scope="module")
def one(parcels: Parcels) -> Seen:
    return seen(parcels, parcels("invoke", "release", "--env", "local"))


def test_the_first_release_serves_version_one(one, parcels):
    assert one.price == parcels.fixtures.QUOTES[1]
    assert one.status["version"] == "1.0.0"
    assert [item["role"] for item in one.status["instances"]] == ["live"]


def test_it_prints_each_stage_then_the_url_the_version_and_what_to_try(one):
    at = [one.ran.err.index(f"  {name} ") for name in STAGES]
    assert at == sorted(at)
    for words in (one.url, "1.0.0 (r1) is live in local", "invoke status --env local"):
        assert words in one.ran.out
    # There is nothing to go back to yet, so nobody is told to.
    assert "invoke rollback" not in one.ran.out


def test_what_runs_is_neither_in_the_checkout_nor_in_the_kits_environment(one, parcels):
    found = processes_of(parcels.state)
    words = "\n".join(item.argv for item in found)
    for program in ("supervisor/daemon-", "postgres", "haproxy", "waitress-serve"):
        assert program in words
    checkout = Path(__file__).resolve().parents[3]
    for folder in (parcels.repo, parcels.kit.bin.parent, checkout):
        for item in found:
            assert str(folder) not in item.all, f"{item.argv} knows {folder}"


def test_its_logs_can_be_read_and_a_command_run_beside_it(one, parcels):
    assert "r1-web-0 | " in parcels("invoke", "logs", "--env", "local").ok().out
    python = ("invoke", "exec", *LOCAL, "--", "python", "-c")
    said = parcels(*python, "import parcels, os; print(os.getcwd(), parcels.__file__)")
    assert str(parcels.state) in said.ok().out
    assert str(parcels.repo) not in said.out
    assert parcels(*python, "raise SystemExit(7)").code == 7


def test_its_own_task_works_on_the_released_database(one, parcels):
    execute = ("invoke", "exec", *LOCAL, "--")
    url = parcels(*execute, "printenv", "DATABASE_URL").ok().out
    assert url.startswith("postgresql+psycopg://")
    assert parcels(*execute, "alembic", "current").ok().out.splitlines()[-1].startswith("a1")


def test_it_is_verified_again_whenever_asked(one, parcels):
    verified = parcels("invoke", "verify", *LOCAL, "--json").ok().json
    assert verified["outcome"] == "passed"
    assert verified["judgement"]["figures"]["candidate"]["requests"] >= 50


LOCAL = ("--env", "local")


# The second, and back ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(parcels: Parcels, one: Seen) -> Seen:
    parcels.fixtures.version_two(parcels.repo)
    parcels.fixtures.commit(parcels.repo, "Insured parcels", tag="v2.0.0")
    return seen(parcels, parcels("invoke", "release", "--env", "local", "--json"))


@pytest.fixture(scope="module")
def back(parcels: Parcels, two: Seen) -> Seen:
    return seen(parcels, parcels("invoke", "rollback", "--env", "local"))


def test_the_second_release_serves_version_two_at_the_same_url(one, two, parcels):
    assert two.price == parcels.fixtures.QUOTES[2]
    assert two.url == one.url
    assert {item["role"]: item["version"] for item in two.status["instances"]} == {"live": "2.0.0", "warm": "1.0.0"}


def test_for_a_machine_a_release_is_one_object_and_people_read_beside_it(two):
    told = two.ran.json
    assert told.keys() >= KEYS
    assert (told["outcome"], told["release"], told["version"]) == ("done", "r2", "2.0.0")
    assert told["digest"].startswith("sha256:")
    assert told["url"] == two.url
    assert [stage["name"] for stage in told["stages"]] == STAGES
    for stage in told["stages"]:
        assert stage["outcome"] == "done"
        assert stage["seconds"] >= 0
    assert "2.0.0 (r2) is live in local" in two.ran.err
    assert "invoke rollback --env local   (to 1.0.0)" in two.ran.err


def test_its_migration_was_applied_once(two, parcels):
    stages = {stage["name"]: stage["note"] for stage in two.ran.json["stages"]}
    assert stages["migrate"] == "1 applied: b2"


def test_a_rollback_brings_the_old_behaviour_back(back, parcels):
    assert back.price == parcels.fixtures.QUOTES[1]
    assert "1.0.0 (r1) is live in local" in back.ran.out


def test_the_record_holds_and_tells_it_all(back, parcels):
    told = parcels("invoke", "history", *LOCAL, "--json").ok().json
    kinds = [(item["release"], item["kind"], item["version"], item["outcome"], item["live"]) for item in told]
    assert kinds == [
        ("r3", "rollback", "1.0.0", "done", False),
        ("r2", "release", "2.0.0", "rolled back", False),
        ("r1", "release", "1.0.0", "done", True),
    ]
    checked = parcels("invoke", "history", *LOCAL, "--check", "--json").ok().json
    assert checked["outcome"] == "done"
    assert checked["problems"] == []
    assert checked["entries"] > 20


# Its sources gone ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forward(parcels: Parcels, back: Seen) -> Seen:
    return seen(parcels, parcels("invoke", "rollback", "--env", "local", "--to", "2.0.0"))


@pytest.fixture(scope="module")
def orphaned(parcels: Parcels, forward: Seen) -> Seen:
    """The sources overwritten, then deleted; then the app is killed, and comes back by itself."""
    # Only what is in git: the environments in .nox are linked to the installer's cache, which all projects share.
    for name in parcels.fixtures.git(parcels.repo, "ls-files").splitlines():
        (parcels.repo / name).write_text("raise SystemExit('these are not the sources any more')\n")
    shutil.rmtree(parcels.repo)
    parcels.repo.mkdir()
    (live,) = [item for item in forward.status["instances"] if item["role"] == "live"]
    os.kill(live["pid"], signal.SIGKILL)
    until = time.monotonic() + 60
    while True:
        (now,) = [item for item in parcels.status()["instances"] if item["role"] == "live"]
        if now["pid"] not in {live["pid"], None}:
            try:
                return Seen(None, parcels.price(forward.url), parcels.status(), forward.url)
            except (OSError, urllib.error.URLError):
                assert time.monotonic() < until, "the app did not come back"
        assert time.monotonic() < until, "the app was not started again"
        time.sleep(0.1)


def test_a_rollback_can_also_go_forward_again(forward, parcels):
    assert forward.price == parcels.fixtures.QUOTES[2]


def test_without_its_sources_the_killed_app_comes_back_with_the_same_behaviour(orphaned, parcels):
    assert orphaned.price == parcels.fixtures.QUOTES[2]
    (live,) = [item for item in orphaned.status["instances"] if item["role"] == "live"]
    assert live["restarts"] == 1
    assert orphaned.status["problems"] == ["r2-web-0 ended by itself once since it was started"]


def test_without_its_sources_it_rolls_back_to_the_old_behaviour(orphaned, parcels):
    undone = parcels("deploykit", "rollback", "--env", "local", "--json").ok().json
    assert undone["outcome"] == "done"
    assert parcels.price(undone["url"]) == parcels.fixtures.QUOTES[1]
    assert parcels("deploykit", "history", *LOCAL, "--check").ok()


def test_down_ends_all_that_runs_and_keeps_the_record(orphaned, parcels):
    said = parcels("deploykit", "down", *LOCAL).ok().out
    assert "parcels is down in local" in said
    until = time.monotonic() + 30
    while left := processes_of(parcels.state):
        assert time.monotonic() < until, [item.argv for item in left]
        time.sleep(0.1)
    status = parcels.status()
    assert (status["edge"], status["supervised_by"], status["instances"]) == ("not running", "", [])
    assert parcels("deploykit", "history", *LOCAL, "--json").ok().json[0]["kind"] == "rollback"


@dataclass(frozen=True)
class Process:
    argv: str
    all: str


def processes_of(state: Path) -> list[Process]:
    """What the kernel knows of every process that runs from this state folder: words, environment, folder, files."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_text().replace("\0", " ")
            parts = [argv, (folder / "environ").read_text(errors="replace"), (folder / "maps").read_text()]
            parts += [str((folder / "cwd").readlink()), str((folder / "exe").readlink())]
            parts += [str(file.readlink()) for file in (folder / "fd").iterdir()]
        except OSError:
            continue
        if str(state) in argv + parts[3] + parts[4]:
            found.append(Process(argv, "\n".join(parts)))
    return found
