"""Data inside of the tree: what stops a release, and with which advice."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from deploykit.model import DeploykitError, UsageError
from deploykit.release.environment import tree_data
from deploykit.release.environment.tree_data import (
    persistent_problems,
    reject_loss_by_down,
    tell_what_came_since,
    tell_what_stays_behind,
    written_problems,
)
from deploykit.release.hosting.written import Written


@pytest.fixture
def hosting(environment):
    """What the live version wrote (`files`), and the persistent paths that have a place already (`kept`)."""
    made = SimpleNamespace(files=(), kept=(), shared=False)
    made.written = lambda _release: Written(files=tuple(made.files), place="/store/tree")
    made.data_place = lambda path: "/data" if path in made.kept else ""
    made.take_along = lambda place, paths: f"copy {paths} of {place}"
    environment.hosting = made
    return made


def sources(*persistent):
    return SimpleNamespace(spec=SimpleNamespace(persistent=persistent), tree=SimpleNamespace(root=None))


@pytest.fixture(autouse=True)
def tracked(monkeypatch):
    files = ["app.py", "shop/__init__.py", "shop/static/a.css", "var/.gitkeep"]
    monkeypatch.setattr(tree_data, "files_of", lambda _root: tuple(files))
    return files


def test_nothing_is_asked_where_nothing_is_live(environment, hosting):
    hosting.files = ("a.txt",)
    assert written_problems(environment, sources()) == []


@pytest.mark.parametrize(
    ("files", "setting"),
    [
        (["db.sqlite3", "db.sqlite3-wal"], 'persistent = ["db.sqlite3"]'),
        (["uploads/2026/a.png", "uploads/b.png"], 'persistent = ["uploads"]'),
        (["shop/uploads/a.png"], 'persistent = ["shop/uploads"]'),
        (["shop/shop.db"], 'persistent = ["shop/shop.db"]'),
        (["var/a.txt"], 'persistent = ["var/a.txt"]'),
    ],
)
def test_files_that_nobody_named_are_listed_with_the_setting_that_keeps_them(
    environment, hosting, released, files, setting
):
    released("1.0")
    hosting.files = files
    (problem,) = written_problems(environment, sources())
    assert (
        "1.0 (r1) has written into its own tree, which the next version does not have: " + files[0] in problem.message
    )
    assert f"set {setting} under [tool.deploykit.service]" in problem.next_step
    assert "invoke release --env local --discard-data" in problem.next_step


def test_no_more_than_five_are_named(environment, hosting, released):
    released("1.0")
    hosting.files = [f"{number}.txt" for number in range(8)]
    (problem,) = written_problems(environment, sources())
    assert problem.message.endswith("3.txt, 4.txt and 3 more")


def test_what_is_named_only_now_has_to_be_taken_along_once(environment, hosting, released):
    released("1.0")
    hosting.files = ("db.sqlite3", "db.sqlite3-wal", "var/a.txt")
    (problem,) = written_problems(environment, sources("db.sqlite3", "var"))
    assert problem.message == "1.0 (r1) has in its own tree what is persistent from now on: db.sqlite3, var"
    assert problem.next_step.startswith("copy ['db.sqlite3', 'var'] of /store/tree; or give it up")
    hosting.kept = ("db.sqlite3", "var")
    assert written_problems(environment, sources("db.sqlite3", "var")) == []


def test_what_is_not_named_any_more_would_not_be_seen_any_more(environment, hosting, released, spec):
    released("1.0", spec=replace(spec, persistent=("var/", "new")).as_json())
    hosting.kept = ("var/",)
    (problem,) = written_problems(environment, sources())
    assert problem.message.startswith(
        "var/ is not persistent any more, so the next version would not see what 1.0 (r1)"
    )
    assert "invoke release --env local --discard-data" in problem.next_step
    assert written_problems(environment, sources("var")) == []


def test_a_folder_with_code_can_not_be_persistent():
    (problem,) = persistent_problems(sources("var", "shop"))
    assert (
        problem.message == "service.persistent names shop, which has files of the app itself, such as shop/__init__.py"
    )


def test_a_rollback_is_told_and_not_stopped(environment, hosting, released, spec):
    first = released("1.0", spec=spec.as_json())
    released("2.0", spec=replace(spec, persistent=("var",)).as_json())
    hosting.files = ("a.txt",)
    told = []
    tell_what_stays_behind(environment, environment.ledger.live(), first, told.append)
    assert told == [
        "what 2.0 wrote into its tree stays behind, in /store/tree: a.txt",
        "1.0 does not see var: it was released before service.persistent named that",
    ]

    def broken(_release):
        raise DeploykitError("the engine does not answer")

    hosting.written = broken
    told.clear()
    tell_what_stays_behind(environment, environment.ledger.live(), first, told.append)
    assert told == ["whether 2.0 has written data into its tree could not be asked: the engine does not answer"]


def test_what_was_written_while_the_next_version_was_built_is_told(environment, hosting, released, spec):
    first, second, told = released("1.0"), released("2.0"), []
    tell_what_came_since(environment, first, second, spec, told.append)
    assert told == []
    hosting.files = ("late.txt",)
    tell_what_came_since(environment, first, second, spec, told.append)
    assert told == ["what 1.0 wrote into its tree meanwhile stays behind, in /store/tree: late.txt"]


def test_a_release_of_the_same_artefact_leaves_nothing_behind_where_both_run_in_one_folder(
    environment, hosting, released, spec
):
    first, again, told = released("1.0", spec=spec.as_json()), released("1.0", spec=spec.as_json()), []
    hosting.files = ("a.txt",)
    tell_what_came_since(environment, first, again, spec, told.append)
    tell_what_stays_behind(environment, environment.ledger.live(), first, told.append)
    assert told == []
    hosting.shared = True
    tell_what_came_since(environment, first, again, spec, told.append)
    assert len(told) == 1


def test_a_down_that_would_remove_data_is_refused(environment, hosting):
    reject_loss_by_down(environment)
    hosting.files = ("a.txt",)
    with pytest.raises(UsageError, match=r"would be removed: a\.txt") as caught:
        reject_loss_by_down(environment)
    assert "invoke down --env local --discard-data" in caught.value.next_step
