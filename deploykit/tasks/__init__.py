"""The kit's invoke tasks. In a repository's tasks.py:

    from deploykit.tasks import collection

    namespace = collection()            # the kit's tasks
    namespace = collection(seed, demo)  # the kit's and your own

A task of yours replaces the kit's of the same name. This module imports invoke and nothing else: listing tasks is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.tasks import Task

from deploykit.tasks import bytecode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["collection"]


def collection(*own: Task[Any] | Collection, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Collection:
    """The kit's tasks as an invoke collection, with `own` tasks and collections added or put in their place.

    `include` keeps only the kit's tasks of these names, `exclude` leaves these out.
    Raises ValueError for a name that the kit does not have.
    """
    with bytecode.written():
        from deploykit.tasks import (
            audit,
            database,
            evidence,
            gates,
            images,
            ledger,
            maintenance,
            operations,
            releases,
            rollout,
            secrets,
        )
        from deploykit.tasks.program import take_over

    take_over()
    kit: dict[str, Task[Any] | Collection] = {
        task.name: task for module in (releases, operations, gates, images) for task in module.TASKS
    }
    kit |= {str(group.name): group for group in images.GROUPS}
    kit |= {
        module.NAME: Collection(module.NAME, *module.TASKS)
        for module in (audit, database, evidence, ledger, maintenance, rollout, secrets)
    }
    if unknown := sorted({*include, *exclude} - kit.keys()):
        raise ValueError(f"the kit has no task {', '.join(unknown)}; it has {', '.join(sorted(kit))}")
    names = {name for name in kit if (not include or name in include) and name not in exclude}
    replaced = {str(item.name) for item in own}
    namespace = Collection()
    for item in [*(kit[name] for name in sorted(names - replaced)), *own]:
        if isinstance(item, Task):
            namespace.add_task(item)
        else:
            namespace.add_collection(item)
    return namespace
