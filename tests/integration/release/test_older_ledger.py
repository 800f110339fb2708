"""An older copy of the ledger numbers its next release like one that runs: users must not get that one for the new one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import urllib.request

import pytest

LOCAL = ("--env", "local")


@pytest.fixture
def ledger(state):
    return state / "apps" / "tiny" / "local" / "ledger.sqlite3"


def release(here, repo, foreign_repo, text, number):
    foreign_repo.behave(repo, VERSION_TEXT=text)
    foreign_repo.commit(repo, text, tag=f"v{number}.0.0")
    return here(repo, "release", *LOCAL, "--json")


def body(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def copy(ledger, to):
    with contextlib.closing(sqlite3.connect(ledger)) as source, contextlib.closing(sqlite3.connect(to)) as target:
        source.backup(target)


def test_with_an_older_ledger_nothing_is_taken_for_the_new_version(here, tiny, foreign_repo, ledger, tmp_path):
    url = release(here, tiny, foreign_repo, "one", 2).ok().json["url"]
    copy(ledger, tmp_path / "older")
    release(here, tiny, foreign_repo, "bad", 3).ok()
    for path in ledger.parent.glob("ledger.sqlite3*"):
        path.unlink()
    shutil.copy(tmp_path / "older", ledger)
    refused = release(here, tiny, foreign_repo, "fixed", 4)
    assert refused.code == 1
    said = " ".join(refused.both.split())
    assert "the ledger of local does not hold" in said
    assert "the anchor of what this machine saw last" in said
    assert "invoke ledger.accept --env local" in here(tiny, "history", *LOCAL, "--check").both
    here(tiny, "ledger.accept", *LOCAL).ok()
    refused = release(here, tiny, foreign_repo, "fixed", 5)
    assert refused.code == 3
    said = " ".join(refused.both.split())
    assert "what runs in local was released with another ledger than this one" in said
    assert "r2-web-0: version 3.0.0" in said
    assert "or stop what runs: invoke down --env local" in said
    assert body(url) == "bad", "what runs was touched"
    assert "r2-web-0 runs, and the ledger has no release r2" in here(tiny, "history", *LOCAL, "--check").both
    here(tiny, "down", *LOCAL).ok()
    assert release(here, tiny, foreign_repo, "fixed", 6).ok().json["version"] == "6.0.0"
    assert body(url) == "fixed"


def test_without_a_ledger_a_release_is_refused_until_it_is_restored(here, tiny, foreign_repo, ledger):
    url = release(here, tiny, foreign_repo, "one", 2).ok().json["url"]
    for path in ledger.parent.glob("ledger.sqlite3*"):
        path.unlink()
    refused = release(here, tiny, foreign_repo, "two", 3)
    assert refused.code == 3
    assert "if the ledger was lost: invoke ledger.adopt --env local" in " ".join(refused.both.split())
    here(tiny, "ledger.adopt", *LOCAL).ok()
    assert release(here, tiny, foreign_repo, "three", 4).ok().json["release"] == "r2"
    assert body(url) == "three"
    here(tiny, "rollback", *LOCAL).ok()
    assert body(url) == "one"
