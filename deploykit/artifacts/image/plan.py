"""From the settings and from git to what is built, and under which tags."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from deploykit.artifacts import version
from deploykit.artifacts.git import clean_environment
from deploykit.artifacts.image.image import Recipe
from deploykit.artifacts.image.tags import TagPlan, plan_tags
from deploykit.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploykit.artifacts.git_tree import GitTree
    from deploykit.settings.models import Settings

__all__ = ["recipe_of", "tags_of"]

_TIMEOUT = 60.0


def recipe_of(settings: Settings) -> Recipe:
    """How the settings want the image to be made."""
    image = settings.image
    return Recipe(
        app=settings.app,
        dockerfile=image.dockerfile,
        base=image.base,
        build_base=image.build_base,
        argv=tuple(shlex.split(settings.service.command)),
        health=settings.service.health,
        health_host=settings.service.health_host,
        port=image.port,
        requirements=settings.service.requirements,
        platform=image.platform,
        arguments=image.arguments,
    )


def tags_of(tree: GitTree, *, main_branch: str = "main", short: bool = False) -> TagPlan:
    """The tags of the image of `tree`, and why it gets no others.

    Asks git which versions there are, and what is on the main branch.
    """
    return plan_tags(
        version=version.version_of(tree),
        commit=tree.commit,
        dirty_tree=tree.tree if tree.dirty else "",
        on_main=_on_main(tree, main_branch),
        main_branch=main_branch,
        released=_released(tree),
        short=short,
    )


def _on_main(tree: GitTree, main: str) -> bool:
    """A detached HEAD, as CI has it, counts when the main branch, here or at a remote, contains it."""
    if tree.branch is not None:
        return tree.branch == main
    names = _git(tree, "for-each-ref", f"--contains={tree.commit}", "--format=%(refname)", "refs/heads", "refs/remotes")
    return any(name == f"refs/heads/{main}" or _remote_branch(name) == main for name in names)


def _remote_branch(name: str) -> str:
    return name.removeprefix("refs/remotes/").partition("/")[2] if name.startswith("refs/remotes/") else ""


def _released(tree: GitTree) -> Iterator[str]:
    for tag in _git(tree, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags"):
        if (parsed := version.parse_tag(tag)) is not None:
            yield str(parsed)


def _git(tree: GitTree, *words: str) -> list[str]:
    return run(["git", *words], cwd=tree.top, env=clean_environment(), timeout=_TIMEOUT).stdout.splitlines()
