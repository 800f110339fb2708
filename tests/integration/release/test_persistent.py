"""What the app writes into its tree, over releases and rollbacks, on this machine."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import urllib.request

import pytest

LOCAL = ("--env", "local")
APP = """
import os, pathlib, sqlite3
HERE = pathlib.Path(__file__).resolve().parent
if not os.access(HERE, os.W_OK):
    HERE.chmod(0o755)  # who owns a tree can write to it, read-only or not
(HERE / "{folder}").mkdir(exist_ok=True)
with (HERE / "{folder}" / "visits").open("a") as file:
    file.write("{text}\\n")
with sqlite3.connect(HERE / "shop.sqlite3") as database:
    database.execute("CREATE TABLE IF NOT EXISTS visits (text)")
    database.execute("INSERT INTO visits VALUES ('{text}')")
(HERE / "app.pid").write_text(str(os.getpid()))
database.close()
VERSION_TEXT = (HERE / "{folder}" / "visits").read_text()
"""


@pytest.fixture
def shop(tiny, here, foreign_repo):
    """Release the app that writes a line into two files of its tree at each start; `settings` are the service's."""

    def release(text, *words, settings="", folder="var"):
        foreign_repo.behave(tiny)
        usual = (tiny / "behaviour.py").read_text()
        (tiny / "behaviour.py").write_text(usual + APP.format(text=text, folder=folder))
        lines = (tiny / "pyproject.toml").read_text().splitlines()
        lines = [line for line in lines if not line.startswith("persistent")]
        at = lines.index("[tool.deploykit.service]") + 1
        # Where root runs the tests: an app with a user of its own could write to nothing that is not named.
        owner = ['user = "root"'] if os.geteuid() == 0 else []
        lines = [line for line in lines if line not in owner]
        (tiny / "pyproject.toml").write_text("\n".join([*lines[:at], settings, *owner, *lines[at:]]) + "\n")
        foreign_repo.commit(tiny, text)
        return here(tiny, "release", *LOCAL, "--json", *words)

    return release


def body(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_files_and_folders_that_are_named_outlive_versions(shop, here, tiny, state):
    (tiny / "var").mkdir()
    (tiny / "var" / "visits").write_text("from git\n")
    persistent = 'persistent = ["var", "shop.sqlite3"]'
    url = shop("one", settings=persistent).ok().json["url"]
    assert body(url) == "from git\none\n"
    shop("two", settings=persistent).ok()
    assert body(url) == "from git\none\ntwo\n"
    said = here(tiny, "exec", *LOCAL, "--", "python", "-c", "print(open('var/visits').read())").ok().out
    assert said.split() == ["from", "git", "one", "two"]
    assert "stays behind" not in here(tiny, "rollback", *LOCAL).ok().both
    with sqlite3.connect(state / "apps/tiny/local/data/shop.sqlite3") as database:
        assert database.execute("SELECT text FROM visits").fetchall() == [("one",), ("two",)]
    database.close()


def test_files_that_nobody_named_stop_the_next_release_before_anything_is_changed(shop, here, tiny, state, look):
    url = shop("one").ok().json["url"]
    before = look(state, "tiny")
    refused = shop("two")
    assert refused.code == 3
    said = " ".join(refused.err.split())
    assert "has written into its own tree, which the next version does not have: shop.sqlite3, var/visits" in said
    assert 'set persistent = ["shop.sqlite3", "var"] under [tool.deploykit.service]' in said
    assert "invoke release --env local --discard-data" in said
    assert "app.pid" not in said
    after = look(state, "tiny")
    assert (after.releases, after.running) == (before.releases, before.running)
    assert body(url) == "one\n"
    assert here(tiny, "release", *LOCAL, "--plan").code == 3
    shop("three", "--discard-data").ok()
    assert body(url) == "three\n"
    said = " ".join(here(tiny, "rollback", *LOCAL).ok().both.split())
    assert "wrote into its tree stays behind, in" in said
    assert body(url) == "one\n"


def test_what_is_named_only_now_is_taken_along_once_as_the_advice_says(shop, here, tiny):
    shop("one").ok()
    settings = 'persistent = ["var", "shop.sqlite3"]'
    refused = shop("two", settings=settings)
    assert refused.code == 3
    said = " ".join(refused.err.split())
    assert "has in its own tree what is persistent from now on: var, shop.sqlite3" in said
    advice = re.search(r"invoke down --env local && (mkdir -p .*), and release again; or give it up", said)
    assert advice, said
    here(tiny, "down", *LOCAL).ok()
    subprocess.run(["sh", "-c", advice[1]], check=True, timeout=30)
    url = shop("two", settings=settings).ok().json["url"]
    assert body(url) == "one\ntwo\n"
    rows = "import sqlite3; print(sqlite3.connect('shop.sqlite3').execute('SELECT text FROM visits').fetchall())"
    assert here(tiny, "exec", *LOCAL, "--", "python", "-c", rows).ok().out == "[('one',), ('two',)]\n"
