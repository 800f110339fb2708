"""A version that fails a check after its start: users never saw it, or get the old one back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import foreign_repo
from harness import Load, get

if TYPE_CHECKING:
    from harness import ReleasedService


def test_a_version_that_fails_its_smoke_check_is_seen_by_nobody(tiny: ReleasedService):
    tiny.release("one")
    settings = tiny.repo / "pyproject.toml"
    settings.write_text(
        settings.read_text().replace('smoke = ["/"]', 'smoke = [{ path = "/", contains = "not there" }]')
    )
    tiny.behave("two")
    with Load(tiny.url) as load:
        ran = tiny("release", "--json")
    assert ran.returncode == 1
    assert "not there" in "\n".join(ran.json["details"])
    load.assert_nothing_lost()
    assert set(load.answers) == {"one"}
    assert tiny.problems() == []


def test_a_version_that_fails_verification_gives_the_traffic_back_by_itself(tiny: ReleasedService):
    tiny.release("one")
    url = tiny.url
    tiny.settings(thresholds={"p95_ms": 0.001})
    tiny.behave("two")
    with Load(url) as load:
        ran = tiny("release", "--json")
        assert ran.returncode == 1
        assert "took longer than 0.001 ms" in ran.json["reason"]
        load.next_answers()
        assert get(url) == "one"
    load.assert_nothing_lost()
    assert load.answers["two"] > 0, "users had seen it"
    assert tiny.problems() == []
    foreign_repo.behave(tiny.repo, VERSION_TEXT="three")
    tiny.settings()
    tiny.ok("release")
    assert get(url) == "three"
