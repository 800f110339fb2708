"""Paths of the tree that outlive a version: links in the artefact, and the data they lead to."""

from __future__ import annotations

import sqlite3

import pytest

from deploykit.artifacts.files import freeze
from deploykit.artifacts.persistent import is_file_name, link_out, make_data
from deploykit.model import UsageError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def artefact(tmp_path):
    folder = tmp_path / "artefact"
    for name, text in {
        "tree/app.py": "",
        "tree/var/seed/first.txt": "from git",
        "tree/shop/uploads/logo.png": "logo",
        "site/shop/uploads/logo.png": "logo",
        "site/shop/__init__.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_git_has_is_the_content_that_data_begin_with_and_never_again(artefact, tmp_path):
    data = tmp_path / "data"
    link_out(artefact, ["var", "new/"], data)
    freeze(artefact)
    make_data(artefact, ["var", "new/"], data)
    assert (artefact / "tree/var/seed/first.txt").read_text() == "from git"
    assert (artefact / "tree/var").readlink() == data / "var"
    (artefact / "tree/var/seed/first.txt").write_text("of the app")
    (artefact / "tree/new/file").write_text("of the app")
    make_data(artefact, ["var", "new/"], data)
    assert (data / "var/seed/first.txt").read_text() == "of the app"
    assert names(data) == ["new", "var"]
    assert names(artefact / "tree/new") == ["file"]


def test_a_database_and_its_journal_are_both_outside(artefact, tmp_path):
    data = tmp_path / "data"
    link_out(artefact, ["shop.sqlite3"], data)
    make_data(artefact, ["shop.sqlite3"], data)
    connection = sqlite3.connect(artefact / "tree/shop.sqlite3")
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("CREATE TABLE visits (at text)")
    assert {"shop.sqlite3", "shop.sqlite3-wal"} <= set(names(data))
    connection.close()
    assert (artefact / "tree/shop.sqlite3").is_symlink()


def test_the_installed_package_sees_the_same_data(artefact, tmp_path):
    data = tmp_path / "data"
    link_out(artefact, ["shop/uploads"], data)
    make_data(artefact, ["shop/uploads"], data)
    (artefact / "site/shop/uploads/new.png").write_text("new")
    assert (artefact / "tree/shop/uploads/new.png").read_text() == "new"
    assert (data / "shop/uploads/logo.png").read_text() == "logo"


def test_a_source_folder_is_not_part_of_the_installed_packages_path(artefact, tmp_path):
    link_out(artefact, ["src/shop/uploads"], tmp_path / "data")
    assert (artefact / "site/shop/uploads").readlink() == tmp_path / "data/src/shop/uploads"


@pytest.mark.parametrize(("path", "says"), [("link", "is a link to app.py"), ("app.py/data", "is a file of the tree")])
def test_what_can_not_be_replaced_is_said(artefact, tmp_path, path, says):
    (artefact / "tree/link").symlink_to("app.py")
    with pytest.raises(UsageError, match=says):
        link_out(artefact, [path], tmp_path / "data")


@pytest.mark.parametrize(
    ("path", "file"), [("db.sqlite3", True), ("var", False), (".data", False), ("var.d/", False), ("data/app.db", True)]
)
def test_a_name_says_whether_it_is_a_file(path, file):
    assert is_file_name(path) is file
