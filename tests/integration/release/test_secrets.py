"""A secret reaches the application and nobody else: no output, no record, no process's words, no artefact."""

from __future__ import annotations

import stat
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LOCAL = ("--env", "local")
WORD = "Zaunkönig-7f3a \"and\" 'Wiedehopf'"
KEY = "c2VjcmV0LXdyZW4tYW5kLWZpbmNo"

CHATTY = """
import os, urllib.parse, base64
print("started with", os.environ["GREETING_SECRET"], os.environ.get("API_KEY"), flush=True)
print("as a URL", urllib.parse.quote(os.environ["GREETING_SECRET"]), flush=True)
print("in base64", base64.b64encode(b"robin:" + os.environ["GREETING_SECRET"].encode()).decode(), flush=True)
import hashlib
VERSION_TEXT = hashlib.sha256(os.environ["GREETING_SECRET"].encode()).hexdigest()
"""


@dataclass
class Told:
    """Everything that was printed in one environment, and where its state is."""

    state: Path
    repo: Path
    said: list[Any]
    url: str
    argv: list[str]


@pytest.fixture(scope="module")
def told(lasting_state, foreign_repo, typed, tmp_path_factory) -> Told:
    """A service that prints its secrets is released, fails, is looked at in every way, and rolled back."""
    repo = foreign_repo.make_tiny(tmp_path_factory.mktemp("secrets") / "tiny")
    (repo / ".env.example").write_text("GREETING_SECRET=\nAPI_KEY=\nLOG_LEVEL=info\n")
    env_file = repo / ".env.local"
    env_file.touch(mode=0o600)
    env_file.write_text(f"GREETING_SECRET={quoted(WORD)}\nLOG_LEVEL=info\n")
    with (repo / ".gitignore").open("a") as ignored:
        ignored.write(".env.*\n!.env.example\n")
    with (repo / "behaviour.py").open("a") as behaviour:
        behaviour.write(CHATTY)
    foreign_repo.commit(repo, "Say too much", tag="v1.1.0")

    said: list[Any] = []

    def run(*words: str, code: int = 0, env: dict[str, str] | None = None) -> Any:
        ran = typed(lasting_state, repo, "deploykit", *words, env={"API_KEY": KEY} | (env or {}))
        assert ran.code == code, ran.both
        said.append(ran)
        return ran

    run("release", *LOCAL, "--plan")
    url = run("release", *LOCAL, "--json").json["url"]
    argv = [file.read_text().replace("\0", " ") for file in Path("/proc").glob("[0-9]*/cmdline") if readable(file)]
    for words in (("status",), ("history",), ("history", "--check"), ("verify",)):
        run(*words, *LOCAL)
        run(*words, *LOCAL, "--json")
    run("logs", *LOCAL)
    run("exec", *LOCAL, "--", "env")
    # Crashing, it prints the secret in its last words; unhealthy, in the answer to the health check.
    with (repo / "behaviour.py").open("a") as behaviour:
        behaviour.write("\nraise RuntimeError('no greeting is ' + os.environ['GREETING_SECRET'])\n")
    run("release", *LOCAL, code=1)
    run("release", *LOCAL, "--json", code=1)
    foreign_repo.git(repo, "checkout", "--quiet", ".")
    server = repo / "server.py"
    server.write_text(server.read_text().replace('"unhealthy"', 'os.environ["GREETING_SECRET"]'))
    foreign_repo.git(repo, "diff", "--quiet", "--exit-code", "behaviour.py")
    with (repo / "behaviour.py").open("a") as behaviour:
        behaviour.write("\nHEALTH_STATUS = 500\n")
    run("release", *LOCAL, code=1)
    foreign_repo.git(repo, "checkout", "--quiet", ".")
    # A value that is missing is told without those that are there.
    env_file.write_text(f"GREETING_SECRET=\nAPI_KEY={KEY}\n")
    run("release", *LOCAL, code=3)
    return Told(lasting_state, repo, said, url, argv)


def quoted(value: str) -> str:
    return '"' + value.replace('"', '\\"') + '"'


def readable(file: Path) -> bool:
    try:
        return bool(file.read_bytes())
    except OSError:
        return False


def forms(value: str) -> list[bytes]:
    import base64
    import json
    import urllib.parse

    raw = value.encode()
    coded = base64.b64encode(b"robin:" + raw)[8:-4]
    return [raw, json.dumps(value)[1:-1].encode(), urllib.parse.quote(value).encode(), coded]


def test_the_value_reaches_the_application(told):
    import hashlib

    with urllib.request.urlopen(told.url, timeout=10) as answer:
        assert answer.read().decode() == hashlib.sha256(WORD.encode()).hexdigest()


def test_it_is_printed_by_no_command_not_even_by_those_that_fail(told):
    for ran in told.said:
        for form in [*forms(WORD), KEY.encode()]:
            assert form not in ran.both.encode(), ran.both
    failures = [ran.both for ran in told.said if ran.code == 1]
    assert len(failures) == 3
    for said in failures:
        assert "********" in said
    assert "no greeting is ********" in failures[0]


def test_the_logs_show_the_rest_of_what_was_printed(told):
    (logs,) = [ran.out for ran in told.said if ran.out.startswith("r1-web-0 | ")]
    assert "started with ******** ********" in logs
    assert "as a URL ********" in logs


def test_what_is_no_secret_is_not_masked(told):
    (printed,) = [ran.out for ran in told.said if "GREETING_SECRET=" in ran.out]
    assert "LOG_LEVEL=info" in printed
    assert "GREETING_SECRET=********" in printed


def test_no_process_has_it_among_its_words(told):
    assert any(str(told.state) in words for words in told.argv)
    for words in told.argv:
        for form in forms(WORD):
            assert form not in words.encode()


def test_of_all_files_only_those_of_the_values_and_what_the_app_printed_hold_it_and_only_for_their_owner(told):
    looked_at, holding = 0, set()
    for file in told.state.rglob("*"):
        if not file.is_file() or file.is_symlink():
            continue
        looked_at += 1
        content = file.read_bytes()
        if any(form in content for form in [*forms(WORD), KEY.encode()]):
            holding.add(file)
    assert looked_at > 20
    assert holding
    for file in sorted(holding):
        kind = file.relative_to(told.state / "apps" / "tiny" / "local").parts[0]
        assert kind in {"values", "supervisor"}, f"{file} holds the secret"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, f"{file}: {file.stat().st_mode:o}"
    assert {file.relative_to(told.state / "apps" / "tiny" / "local").parts[0] for file in holding} >= {"values"}
    ledger = told.state / "apps" / "tiny" / "local" / "ledger.sqlite3"
    assert ledger.stat().st_size > 0
    assert not {file for file in holding if file.name.startswith(ledger.name)}
