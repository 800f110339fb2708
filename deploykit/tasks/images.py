"""Images as tasks: `invoke image.tags`, `invoke image.build`, `invoke push`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from invoke.collection import Collection

from deploykit.model.errors import UsageError
from deploykit.tasks.command import command, repository
from deploykit.tasks.output import print_json, say

if TYPE_CHECKING:
    from invoke.context import Context

    from deploykit.artifacts.git_tree import GitTree
    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.image import Image
    from deploykit.artifacts.image.tags import TagPlan
    from deploykit.settings.models import Settings

__all__ = ["GROUPS", "TASKS"]

_JSON = "one JSON object on standard output; what people read goes to standard error"


@command(name="tags", help={"json": _JSON})
def show_tags(_context: Context, json: bool = False) -> int | None:
    """Which tags the image of this tree gets, which it does not get, and why."""
    settings, _, plan = _sources()
    where = _where(settings)
    if json:
        print_json({"repository": where, **plan.as_json()})
        return None
    width = max(map(len, [*plan.names, *(left_out.name for left_out in plan.left_out)]))
    say(where or f"{settings.app} (no registry is set: the image stays in the engine)")
    for tag in plan.tags:
        say(f"  {tag.name:<{width}}  {tag.why}")
    for left_out in plan.left_out:
        say(f"  {left_out.name:<{width}}  not given: {left_out.why}")
    return None


@command(name="build", help={"json": _JSON, "fresh": "build everything again, without BuildKit's cache"})
def build_image_task(_context: Context, json: bool = False, fresh: bool = False) -> int | None:
    """Build the image of this tree, or find it built; it stays in the engine."""
    settings, tree, plan = _sources()
    _, image = _build(settings, tree, plan, fresh=fresh)
    if json:
        print_json(
            {
                "id": image.id,
                "digest": image.digest,
                "tags": image.tags,
                "version": image.version,
                "reused": image.reused,
            }
        )
    else:
        say(f"{image.version} is {'there already' if image.reused else 'built'}: {image.id} ({image.seconds:.1f} s)")
        say("  next: invoke push")
    return None


@command(help={"json": _JSON})
def push(_context: Context, json: bool = False) -> int | None:
    """Build the image of this tree, or find it built, and push it under its tags."""
    from deploykit.artifacts.image.names import parse_repository
    from deploykit.artifacts.image.push import push as push_image

    settings, tree, plan = _sources()
    if not settings.image.repository:
        raise UsageError(
            "no registry is set to push the image to",
            details=["a single host takes the image from its own engine, and needs none"],
            next_step="add to pyproject.toml:\n\n[tool.deploykit.image]\n"
            'repository = "registry.example.org/team/app"\n',
        )
    where = parse_repository(settings.image.repository)
    docker, image = _build(settings, tree, plan)
    pushed = push_image(
        docker,
        image.id,
        where,
        plan.tags,
        insecure=settings.image.insecure,
        token_host=settings.image.token_host,
        note=lambda sentence: say(f"  {sentence}", stream=sys.stderr),
    )
    if json:
        print_json(
            {
                "reference": pushed.reference,
                "digest": pushed.digest,
                "tags": pushed.tags,
                "version": image.version,
                "id": image.id,
                "attempts": pushed.attempts,
            }
        )
    else:
        say(f"{image.version} is pushed: {pushed.reference} ({pushed.seconds:.1f} s)")
        for tag in pushed.tags:
            say(f"  {where.tagged(tag)}")
    return None


def _sources() -> tuple[Settings, GitTree, TagPlan]:
    from deploykit.artifacts.git import read_tree
    from deploykit.artifacts.image.plan import tags_of
    from deploykit.settings.loader import load

    root = repository()
    settings = load(root).settings
    tree = read_tree(root)
    return settings, tree, tags_of(tree, main_branch=settings.image.main_branch, short=settings.image.short_tags)


def _where(settings: Settings) -> str:
    from deploykit.artifacts.image.names import parse_repository

    return str(parse_repository(settings.image.repository)) if settings.image.repository else ""


def _build(settings: Settings, tree: GitTree, plan: TagPlan, *, fresh: bool = False) -> tuple[Docker, Image]:
    from deploykit.artifacts.image.build import build_image
    from deploykit.artifacts.image.engine import find_docker
    from deploykit.artifacts.image.plan import recipe_of
    from deploykit.artifacts.store import Store
    from deploykit.process.ownership import require_own_folder
    from deploykit.settings.paths import state_home

    require_own_folder(state_home())
    docker = find_docker()
    image = build_image(
        tree,
        recipe_of(settings),
        kept=Store(state_home() / "artifacts").resolutions,
        docker=docker,
        local_tags=plan.names,
        cached=not fresh,
    )
    for warning in (*tree.warnings, *image.warnings):
        say(f"  warning: {warning}", stream=sys.stderr)
    return docker, image


TASKS = (push,)
GROUPS = (Collection("image", show_tags, build_image_task),)
