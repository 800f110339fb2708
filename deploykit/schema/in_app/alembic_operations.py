"""The plug-in's operations, and what Alembic does for each: run it, refuse it, or render it into a revision."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from .changes.declaration_source import declaration_source
from .changes.model import Change, Refused
from .changes.operations import load
from .changes.operations.registry import DECLARATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    from .live.runner import Runner
    from .sqlite.runner import SqliteRunner

__all__ = ["register", "registered"]

NAME = "alembic.autogenerate.deploykit"
"""The plug-in's name. Alembic applies plug-ins under `alembic.autogenerate.` even if env.py does not name them."""


def registered() -> bool:
    from alembic.operations import Operations

    return hasattr(Operations, "expand_rename_column")


def register(plugin: Any = None) -> None:  # noqa: C901 - classes that need Alembic can only be made in here
    """Add the operations to `op`, render them in autogenerate, and hide the kit's own schema from it."""
    from alembic.autogenerate.render import renderers
    from alembic.operations import Operations
    from alembic.operations.ops import MigrateOperation

    if registered():
        return
    load()

    class ExpandOp(MigrateOperation):
        """Expand a declared change: everything additive, and the sync."""

        def __init__(self, change: Change) -> None:
            self.change = change

        def reverse(self) -> MigrateOperation:
            return UndoOp(self.change.key)

        def to_diff_tuple(self) -> tuple[str, str, str]:
            return ("expand", self.change.kind, self.change.key)

    class _KeyOp(MigrateOperation):
        def __init__(self, key: str) -> None:
            self.key = key

        def to_diff_tuple(self) -> tuple[str, str]:
            return (type(self).__name__.removesuffix("Op").lower(), self.key)

    class ContractOp(_KeyOp):
        """Drop the old shape, unless a gate refuses it."""

        @classmethod
        def contract(cls, operations: Operations, change: str) -> Any:
            """Drop the old shape of a change, by its name. Refused while anything needs it."""
            return operations.invoke(cls(change))

        def reverse(self) -> MigrateOperation:
            return ReopenOp(self.key)

    class UndoOp(_KeyOp):
        """Drop the new shape."""

        @classmethod
        def undo(cls, operations: Operations, change: str) -> Any:
            """Undo an expanded change, by its name."""
            return operations.invoke(cls(change))

    class ReopenOp(_KeyOp):
        """Restore the old shape, in sync with the new one."""

        @classmethod
        def reopen(cls, operations: Operations, change: str) -> Any:
            """Restore the old shape of a contracted change, by its name."""
            return operations.invoke(cls(change))

    for kind, declare in DECLARATIONS.items():
        setattr(ExpandOp, f"expand_{kind}", classmethod(_method(declare)))
        Operations.register_operation(f"expand_{kind}")(ExpandOp)
    for name, operation in (("contract", ContractOp), ("undo", UndoOp), ("reopen", ReopenOp)):
        Operations.register_operation(name)(operation)
    Operations.implementation_for(ExpandOp)(_expand)
    Operations.implementation_for(ContractOp)(partial(_by_key, "contract"))
    Operations.implementation_for(UndoOp)(partial(_by_key, "undo"))
    Operations.implementation_for(ReopenOp)(partial(_by_key, "reopen"))
    renderers.dispatch_for(ExpandOp)(_source_of_expand)
    for name, operation in (("contract", ContractOp), ("undo", UndoOp), ("reopen", ReopenOp)):
        renderers.dispatch_for(operation)(partial(_source_by_key, name))
    _TYPES.update(expand=ExpandOp, contract=ContractOp, undo=UndoOp, reopen=ReopenOp)
    if plugin is None:
        from alembic.runtime.plugins import Plugin

        plugin = Plugin(f"{NAME}.by_path")
    plugin.add_autogenerate_comparator(_leave_out, "autogenerate", priority=_first())


_TYPES: dict[str, Any] = {}


def operation(kind: str, subject: Any) -> Any:
    """Return the `ExpandOp` of a Change, or the operation of another kind on a change's key."""
    return _TYPES[kind](subject)


def _first() -> Any:
    from alembic.util import DispatchPriority

    return DispatchPriority.FIRST


def _leave_out(autogen_context: Any, *_: Any) -> Any:
    """Exclude the kit's own objects from autogenerate: its schema, its tables, and its helper columns."""
    from alembic.util import PriorityDispatchResult

    from .changes.table_sync import MADE
    from .live.state import SCHEMA
    from .sqlite.runner import TABLE

    def is_ours(item: Any, name: str | None, type_: str, *_: Any) -> bool:
        table = item if type_ == "table" else getattr(item, "table", None)
        return not (getattr(table, "schema", None) == SCHEMA or name in {MADE, TABLE})

    def is_our_schema(name: str | None, type_: str, *_: Any) -> bool:
        return not (type_ == "schema" and name == SCHEMA)

    autogen_context._object_filters.append(is_ours)  # noqa: SLF001 - the list that include_object goes into
    autogen_context._name_filters.append(is_our_schema)  # noqa: SLF001
    return PriorityDispatchResult.CONTINUE


def _method(declare: Callable[..., Change]) -> Callable[..., Any]:
    """Return the classmethod behind `op.expand_…`: `cls` and `operations`, then the declaration's own parameters.

    Alembic builds a function with the same signature, so editors and error messages show the real parameters.
    """
    import inspect

    signature = inspect.signature(declare)

    def method(cls: Any, operations: Operations, *args: Any, **kwargs: Any) -> Any:
        try:
            change = declare(*args, **kwargs)
        except Refused as refused:
            raise _error(refused) from None
        return operations.invoke(cls(change))

    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("cls", "operations")
    ] + [item.replace(annotation=inspect.Parameter.empty) for item in signature.parameters.values()]
    built = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    method.__signature__ = built  # type: ignore[attr-defined]
    method.__name__ = method.__qualname__ = declare.__name__
    method.__doc__ = declare.__doc__
    method.__module__ = __name__
    return method


def _error(refused: Refused) -> Exception:
    from alembic.util import CommandError

    return CommandError(f"{refused}" + (f"\n  next: {refused.next_step}" if refused.next_step else ""))


@contextlib.contextmanager
def _runner(context: MigrationContext) -> Iterator[Runner | SqliteRunner]:
    """Yield a runner on Alembic's own connection, outside its transaction: earlier work is committed."""
    from .alembic_environment import say
    from .live.ddl import Blocked
    from .live.runner import Runner, only_one
    from .live.session import Session
    from .sqlite.runner import SqliteRunner

    name = context.dialect.name
    if name not in {"postgresql", "sqlite"}:
        raise _error(
            Refused(
                f"declared changes work on PostgreSQL, and on SQLite as plain DDL; this is {name}",
                "use Alembic's own operations there; invoke db.lint reads them",
            )
        )
    if context._in_external_transaction:  # noqa: SLF001 - there is no public attribute
        raise _error(
            Refused(
                "the connection that Alembic was given is in a transaction already, and a declared change "
                "needs several of its own",
                "give context.configure a connection that has not begun one",
            )
        )
    with context.autocommit_block():
        assert context.connection is not None  # noqa: S101  # nosec B101 - it is not offline
        session = Session(context.connection)
        try:
            if name == "sqlite":
                yield SqliteRunner(session, say)
                return
            with only_one(session, 60.0, say):
                yield Runner(session, say)
        except Refused as refused:
            raise _error(refused) from None
        except Blocked as blocked:
            raise _error(Refused(str(blocked), "; ".join(blocked.lines))) from blocked


def _expand(operations: Operations, operation: Any) -> None:
    context = operations.migration_context
    if context.as_sql:
        raise _error(
            Refused(
                f"what {operation.change.key} comes to depends on the tables that are there, so it can't be "
                "written without a database",
                "invoke db.plan --sql prints it for an environment's database",
            )
        )
    revision = _revision()
    _in_phase(context, revision, "expand")
    with _runner(context) as runner:
        runner.begin(operation.change, revision)


def _by_key(kind: str, operations: Operations, operation: Any) -> None:
    from .live.gate import in_sql

    context = operations.migration_context
    if kind == "contract":
        _in_phase(context, _revision(), kind)
    if context.as_sql:
        if kind != "contract":
            raise _error(
                Refused(f"{kind} is not written as SQL", f"invoke db.{'undo' if kind == 'reopen' else kind} does it")
            )
        context.impl.static_output(in_sql(operation.key) + ";")
        return
    with _runner(context) as runner:
        getattr(runner, kind)(operation.key)


def _in_phase(context: MigrationContext, revision: str, kind: str) -> None:
    """Refuse an operation in the wrong branch: a release runs every branch except `contract`."""
    from .inspection import CONTRACT

    script = context.script
    found = script.get_revision(revision) if script is not None and revision else None
    if found is not None and (CONTRACT in found.branch_labels) != (kind == CONTRACT):
        where = "outside the branch contract" if kind == CONTRACT else "in the branch contract"
        raise _error(
            Refused(
                f"op.{kind} is {where}, in revision {revision}",
                "invoke db.revision --contract writes contracts where they belong",
            )
        )


def _revision() -> str:
    """Return the id of the revision whose `upgrade()` is the caller; empty outside a revision."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the cheap way
    while frame is not None:
        names = frame.f_globals
        if "down_revision" in names and isinstance(names.get("revision"), str):
            return str(names["revision"])
        frame = frame.f_back
    return ""


def _source_of_expand(_: Any, op: Any) -> str:
    return declaration_source(op.change)


def _source_by_key(name: str, _: Any, op: Any) -> str:
    return f"op.{name}({op.key!r})"
