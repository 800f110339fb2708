"""A canary that people steer from other terminals: a real release, a real edge, and the ledger between them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

LOCAL = ("--env", "local")
CANARY = """
[tool.deploykit.environments.local]
strategy = "canary"
[tool.deploykit.environments.local.rollout]
steps = [{ share = 10, bake = "1h" }, { share = 50, confirm = true }, { share = 100, bake = "1h" }]
"""


@pytest.fixture
def canary(here, tiny, foreign_repo, typed, state):
    """A second release, in a process of its own: its result, once it has ended."""
    file = tiny / "pyproject.toml"
    file.write_text(file.read_text() + CANARY)
    here(tiny, "release", *LOCAL).ok()
    foreign_repo.behave(tiny, VERSION_TEXT="two")
    foreign_repo.commit(tiny, "Two", tag="v2.0.0")
    with ThreadPoolExecutor() as pool:
        yield pool.submit(typed, state, tiny, "deploykit", "release", *LOCAL, "--json", timeout=120)


def test_a_canary_is_steered_from_other_terminals(here, tiny, canary, monkeypatch):
    def ask(actor, command):
        monkeypatch.setenv("DEPLOYKIT_ACTOR", actor)
        ran = here(tiny, f"rollout.{command}", *LOCAL, "--json")
        return ran.code, ran.json["answer"]

    def rollout():
        return here(tiny, "status", *LOCAL, "--json").json["rollout"] or {"stage": 0, "doing": ""}

    until = time.monotonic() + 60
    while rollout()["doing"] != "it is judged":
        assert time.monotonic() < until
        assert not canary.done(), canary.result()
        time.sleep(0.2)
    assert ask("eve", "pause") == (0, "stage 1 of 3 is paused: it is watched, and not promoted")
    assert ask("dan", "pause") == (1, "changes nothing: eve has paused stage 1 of 3 already")
    seen = rollout()
    assert (seen["stage"], seen["stages"], seen["share"], seen["paused_by"]) == (1, 3, 10, "eve")
    assert 5 < seen["share_read_back"] <= 10
    assert seen["lease_ends_at"] > time.time()
    assert ask("dan", "promote") == (0, "stage 1 of 3 is promoted")
    while ask("dan", "continue") != (0, "stage 2 of 3 is confirmed"):
        assert time.monotonic() < until
    while rollout()["stage"] != 3:
        assert time.monotonic() < until
    assert ask("eve", "abort") == (0, "stage 3 of 3 is aborted: the version before gets the traffic back")
    ended = canary.result()
    assert (ended.code, ended.json["live"].split()[1]) == (1, "(r1)")
    assert "aborted by eve" in ended.json["reason"]
    assert here(tiny, "rollout.abort", *LOCAL).code == 3
    newest = here(tiny, "history", *LOCAL, "--json").json[0]
    assert [(each["actor"], each["command"]) for each in newest["requests"]][:3] == [
        ("eve", "pause"),
        ("dan", "pause"),
        ("dan", "promote"),
    ]
    assert all(each["answer"] for each in newest["requests"])
    here(tiny, "history", *LOCAL, "--check").ok()
