"""A command that the kit advises is typed as it stands, and the author of a tree chooses the names in it."""

from __future__ import annotations

import re

import pytest

from deploykit.artifacts.image.dockerfile import find_own
from deploykit.artifacts.image.failures import build_failure
from deploykit.artifacts.lock import find
from deploykit.artifacts.refused_content import reject_filtered, reject_submodules, reject_tracked_secrets
from deploykit.gates.verdict_files import reject_links
from deploykit.model import DeploykitError
from deploykit.sessions.hook import _reject_unstaged

NAME = "a;touch${IFS}stolen"


def linked(tree):
    (tree / ".deploykit").mkdir()
    (tree / ".deploykit" / NAME).symlink_to(tree)
    reject_links(tree)


def failed_build(_tree):
    said = f'failed to compute cache key: "/{NAME}" not found: not found'
    raise build_failure(said, dockerfile="Dockerfile", base="base:1")


def other_base(_tree):
    said = f"failed to resolve source metadata for docker.io/{NAME}: docker.io/{NAME}: not found"
    raise build_failure(said, dockerfile="Dockerfile", base=NAME)


def like_an_option(tree):
    (tree / f"-{NAME}").touch()
    _reject_unstaged(tree, [], [f"-{NAME}"])


@pytest.mark.parametrize(
    "refuse",
    [
        lambda _tree: reject_submodules([NAME]),
        lambda _tree: reject_tracked_secrets([NAME]),
        lambda _tree: reject_filtered({NAME: "x"}, {"x"}),
        lambda tree: find(tree, NAME),
        lambda tree: find_own(tree, NAME),
        lambda tree: _reject_unstaged(tree, [], [NAME]),
        like_an_option,
        failed_build,
        other_base,
        linked,
    ],
    ids=["submodule", "secrets", "filter", "lock", "dockerfile", "not staged", "option", "COPY", "FROM", "link"],
)
def test_a_name_of_the_tree_is_one_word_of_an_advised_command(tmp_path, refuse):
    with pytest.raises(DeploykitError) as caught:
        refuse(tmp_path)
    step = caught.value.next_step
    assert "stolen" in step
    assert "stolen" not in re.sub("'[^']*'", "", step)
