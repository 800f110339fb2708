"""Whose environment it is: what is refused, where, and what gets past."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.model import RepositoryIdentity, UsageError
from deploykit.process.cancellation import Cancellation
from deploykit.release.environment import Environment, known_apps
from deploykit.release.housekeeping.claims import add_claim, claim, restore_claims
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget

SHOP = RepositoryIdentity(remotes=("example.org/acme/shop",), first_commits=("a" * 40,), place="ann:/shop")
OTHER = RepositoryIdentity(remotes=("example.org/bob/shop",), first_commits=("b" * 40,), place="ann:/other")
UNKNOWN = RepositoryIdentity(place="ann:/copied")


@pytest.fixture
def opened(tmp_path):
    """The environment `local` of the app `shop`, as a repository sees it; None: there are no sources."""

    def open_it(identity: RepositoryIdentity | None, *, compares: bool = True) -> Environment:
        paths = StatePaths(tmp_path / "state", "shop", "local")
        repository = None if identity is None else SimpleNamespace(environment=SimpleNamespace(ledger=""))
        made = Environment(tmp_path / "nowhere", paths, repository, Cancellation(), compares)
        target = ProcessTarget("shop", "local", paths, supervisor=None)
        vars(made.checkout).update(identity=identity)
        vars(made).update(saved=SimpleNamespace(ledger=""), hosting=SimpleNamespace(target=target, shared=False))
        return made

    return open_it


def released(environment: Environment) -> None:
    held = environment.ledger.acquire("ann", "release", lease=60)
    fields = dict.fromkeys(("version", "digest", "commit", "tree", "actor", "previous"), "")
    record = environment.ledger.begin(**fields, kind="release", token=held.token)
    from deploykit.model import ReleaseOutcome

    environment.ledger.finish(record.id, ReleaseOutcome.DONE)
    environment.ledger.unlock("ann", held.token)


@pytest.mark.parametrize("part", ["ledger", "target"])
def test_another_repository_is_refused_with_both_names_and_the_setting(opened, part):
    assert claim(opened(SHOP))
    with pytest.raises(UsageError) as caught:
        getattr(opened(OTHER), part)
    assert "belongs to another repository: example.org/acme/shop; this one is example.org/bob/shop" in str(caught.value)
    assert 'app = "shop-2" under [tool.deploykit]' in caught.value.next_step
    assert "invoke ledger.claim --env local" in caught.value.next_step
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("lost", ["ledger", "target"])
def test_one_of_the_two_places_is_enough(opened, lost):
    """Two ledgers of one target, and two targets of one ledger."""
    assert claim(opened(SHOP))
    paths = opened(SHOP).paths
    (paths.ledger if lost == "ledger" else paths.root / "repositories.json").unlink()
    other = opened(OTHER)
    with pytest.raises(UsageError, match="belongs to another repository"):
        claim(other)


def test_who_comes_second_finds_the_first_under_the_lock(opened):
    """Both looked before either had claimed."""
    second = opened(OTHER)
    assert second.ledger.repositories() == []
    assert list(second.target.repositories()) == []
    assert claim(opened(SHOP))
    with pytest.raises(UsageError, match="belongs to another repository"):
        claim(second)
    assert opened(SHOP).ledger.repositories() == [SHOP]


def test_what_is_lost_in_one_place_comes_back_from_the_other(opened):
    assert claim(opened(SHOP))
    paths = opened(SHOP).paths
    (paths.root / "repositories.json").unlink()
    assert claim(opened(SHOP))
    assert list(opened(SHOP).target.repositories()) == [SHOP]
    paths.ledger.unlink()
    restore_claims(opened(None))
    assert opened(SHOP).ledger.repositories() == [SHOP]


def test_where_nothing_can_be_compared_only_what_is_empty_or_was_released_from_here_passes(opened):
    first = opened(UNKNOWN)
    assert claim(first) is False, "nothing was kept"
    assert opened(OTHER).ledger.repositories() == []
    released(first)
    for identity in (UNKNOWN, SHOP):
        with pytest.raises(UsageError, match="it can't be told whether shop in local belongs to this") as caught:
            opened(identity).ledger  # noqa: B018 - asking for it is what is tested
        assert "invoke ledger.claim --env local" in caught.value.next_step
    known_apps.add(first.paths.home, first.root, "shop")
    assert claim(opened(SHOP))
    assert opened(UNKNOWN).ledger.repositories() == [SHOP]
    known_apps.add(first.paths.home, first.root, "another")
    with pytest.raises(UsageError, match="belongs to this repository: there is no folder"):
        opened(UNKNOWN).target  # noqa: B018 - asking for it is what is tested


def test_without_sources_the_app_was_named_by_a_person(opened):
    assert claim(opened(SHOP))
    assert opened(None).ledger.repositories() == [SHOP]
    assert list(opened(None).target.repositories()) == [SHOP]


def test_a_repository_that_moved_is_added_by_a_claim_and_the_old_one_stays(opened):
    assert claim(opened(SHOP))
    vars(moved := opened(OTHER, compares=False))["saved"] = SimpleNamespace(ledger="")
    assert add_claim(moved) == OTHER
    for each in (SHOP, OTHER):
        assert opened(each).ledger.repositories() == [SHOP, OTHER]
        assert list(opened(each).target.repositories()) == [SHOP, OTHER]
    assert opened(SHOP).ledger.check() == []


def test_a_damaged_claim_is_a_sentence_and_nobodys(opened):
    assert claim(opened(SHOP))
    file = opened(SHOP).paths.root / "repositories.json"
    file.write_text("[{}]")
    from deploykit.model import DeploykitError

    with pytest.raises(DeploykitError, match="can't be read whose environment") as caught:
        opened(SHOP).target  # noqa: B018 - asking for it is what is tested
    assert str(file) in caught.value.next_step
