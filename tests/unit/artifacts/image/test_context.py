"""What is written into the exported tree of an image stays in it, wherever the tree's own links lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.context import prepare
from deploykit.artifacts.interpreter import inspect
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def prepared(tree: Path) -> None:
    prepare(tree, requirements="", interpreter=inspect(), kept=tree.parent / "kept")


def test_a_link_in_the_place_of_the_kits_folder_is_refused(tree):
    (tree / ".deploykit").symlink_to(tree.parent / "outside")
    with pytest.raises(UsageError, match="folder of its own"):
        prepared(tree)
    assert not (tree.parent / "outside").exists()


def test_nothing_is_written_through_a_link_for_what_docker_ignores(tree):
    outside = tree.parent / "outside"
    outside.write_text("*.pyc\n")
    (tree / ".dockerignore").symlink_to(outside)
    prepared(tree)
    assert outside.read_text() == "*.pyc\n"
    assert (tree / ".dockerignore").read_text() == "*.pyc\n\n!.deploykit\n!.deploykit/**\n"
