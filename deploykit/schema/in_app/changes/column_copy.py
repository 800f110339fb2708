"""Copies of columns under another name, type or number: add new columns, keep them in sync, fill and compare them.

Contract drops the old columns and renames nothing: a rename would break every writer of the new name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .blocks import alter, build_index, make_statistics, not_null, use_index, validated
from .column_attributes import new_attributes, new_column, old_attributes
from .model import Backfill, Block, Comparison, Refused, Step, Steps
from .obstacles import reject_dependents, reject_other_columns, reject_readers, reject_uncopied
from .sql import name_for, names_in, quote, rename_in, replace_in, table_name
from .sync import drop_sync, in_step, pair_sync

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .catalog import Column, Constraint, Index, Relation, Statistics


__all__ = ["Copy", "copy_columns"]


@dataclass(frozen=True)
class Copy:
    """Old columns by name, new ones with their types, and the expressions between them.

    - `down` may omit an old column; rows of new writers then have its default.
    - `nullable` are new columns that may stay NULL although the old one may not.
    - `defaults` are the new columns' defaults after contract; missing ones are derived from the old column's.
    - `key_columns` allows copies of keys; the caller then plans key and references itself.
    - `referred` has the new names of columns that the table's foreign keys reference.
    """

    old: tuple[str, ...]
    new: Mapping[str, str]
    up: Mapping[str, str]
    down: Mapping[str, str]
    required: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    inherit: bool = True
    key_columns: bool = False
    referred: Mapping[str, str] = field(default_factory=dict)


def copy_columns(key: str, relation: Relation, copy: Copy, parts: Sequence[Relation] = ()) -> Steps:
    """Plan the programs of a copy. Raises Refused for anything that it can't carry over."""
    table = relation.table
    old = [relation.column(name) for name in copy.old]
    _refuse(relation, copy, parts)
    new = [new_column(relation, copy.old, copy.new, name) for name in copy.new]
    sync = pair_sync(key, relation, old, new, copy.up, copy.down)
    attributes = tuple(
        text for name in copy.new for text in new_attributes((relation, *parts), copy.old, copy.new, name)
    )
    following = _Following(key, relation, copy, old, new, parts)
    add = tuple(f"ADD COLUMN IF NOT EXISTS {quote(column.name)} {column.declared}" for column in new)
    drop_new = tuple(f"DROP COLUMN IF EXISTS {quote(column.name)}" for column in new)
    drop_old = tuple(f"DROP COLUMN IF EXISTS {quote(column.name)}" for column in old)
    return Steps(
        expand=(Block((alter(table, *add), *attributes, *sync), title=f"add {', '.join(copy.new)} with its sync"),),
        fill=(
            _fill_new(key, relation, copy),
            *following.steps,
            Block((following.analyze,), "count the values", scans=True),
            _compare(relation, copy, old, new),
        ),
        contract=(
            Block(
                (*drop_sync(key, relation), *following.end, alter(table, *drop_old)),
                title=f"drop {', '.join(copy.old)} and the sync",
            ),
        ),
        undo=(
            Block(
                (*drop_sync(key, relation), alter(table, *drop_new)), title=f"drop {', '.join(copy.new)} and the sync"
            ),
        ),
        reopen=_reopen(key, relation, copy, old, sync, parts),
        lost="" if set(copy.old) <= set(copy.down) else "no `down` makes the old columns of the new ones",
        tables=(table,),
        notes=(*following.notes, *_wider(copy, old)),
    )


def _wider(copy: Copy, old: Sequence[Column]) -> tuple[str, ...]:
    """Note that everyone who may use one part of a merged column can now read the others as well."""
    every = dict.fromkeys(item for column in old for item in column.grants)
    return tuple(
        f"{item.role} has {item.privilege} on {', '.join(column.name for column in old if item in column.grants)} "
        f"only, and gets it on {', '.join(copy.new)}: revoke it where that is too much"
        for item in every
        if not all(item in column.grants for column in old)
    )


def _refuse(relation: Relation, copy: Copy, parts: Sequence[Relation]) -> None:
    table = relation.table
    for name in copy.new:
        relation.free(name)
    for name in copy.old:
        column = relation.column(name)
        if column.generated:
            raise Refused(f"{table}.{name} is generated", "add a generated column of the new shape, and drop this one")
        if not copy.key_columns and (column.identity or name in relation.primary_key):
            raise Refused(f"{table}.{name} is a key of the table", "declare it by op.expand_change_key")
        if name in relation.partition_key:
            raise Refused(f"{table}.{name} is what the table is partitioned by", "move the rows to a new table instead")
    reject_readers(relation, copy.old, tuple(copy.new), keys=copy.key_columns)
    reject_dependents((relation, *parts), copy.old)
    reject_uncopied(relation, copy.old, keys=copy.key_columns)
    for expressions in (copy.up, copy.down):
        reject_other_columns(relation, expressions, copy.old)


def _fill_new(key: str, relation: Relation, copy: Copy) -> Backfill:
    # The sync has written some rows. A mapping that loses something (fractions of a cent) must not write them again.
    empty = " AND ".join(f"{quote(name)} IS NULL" for name in copy.new)
    # Asked of the old columns first: an expression is not computed twice for each row.
    some = " OR ".join(
        [*(f"{quote(name)} IS NOT NULL" for name in copy.old), *(f"({copy.up[name]}) IS NOT NULL" for name in copy.new)]
    )
    return Backfill(
        relation.table,
        tuple((name, copy.up[name]) for name in copy.new),
        needing=f"{empty} AND ({some})",
        key=key,
        title=f"fill {', '.join(copy.new)}",
    )


def _fill_old(key: str, relation: Relation, copy: Copy) -> Backfill:
    made = [name for name in copy.old if name in copy.down]
    empty = " AND ".join(f"{quote(name)} IS NULL" for name in made)
    some = " OR ".join(
        [*(f"{quote(name)} IS NOT NULL" for name in copy.new), *(f"({copy.down[name]}) IS NOT NULL" for name in made)]
    )
    return Backfill(
        relation.table,
        tuple((name, copy.down[name]) for name in made),
        needing=f"{empty} AND ({some})",
        key=key,
        title=f"fill {', '.join(made)} again",
    )


def _compare(relation: Relation, copy: Copy, old: Sequence[Column], new: Sequence[Column]) -> Comparison:
    def shown(columns: Sequence[Column]) -> str:
        return f"concat_ws(' | ', {', '.join(f'source.{quote(c.name)}::text' for c in columns)})"

    return Comparison(
        relation.table,
        agree=in_step(old, new, copy.up, copy.down, [*relation.columns, *copy.new], "source"),
        left=shown(old),
        right=shown(new),
        title=f"compare {', '.join(copy.old)} with {', '.join(copy.new)}",
    )


class _Following:
    """Carry NOT NULL, indexes, constraints and defaults of the old columns over to the new ones.

    `steps` come after the rows; `end` is part of the contract's one transaction.
    """

    def __init__(
        self,
        key: str,
        relation: Relation,
        copy: Copy,
        old: Sequence[Column],
        new: Sequence[Column],
        parts: Sequence[Relation],
    ) -> None:
        self.key, self.relation, self.copy, self.parts = key, relation, copy, parts
        self.steps: tuple[Step, ...] = ()
        self.end: tuple[str, ...] = ()
        self.analyze = f"ANALYZE {table_name(relation.table)} ({', '.join(quote(column.name) for column in new)})"
        one_to_one = len(old) == len(new) == 1
        for column in new:
            required = column.name in copy.required or (
                one_to_one and old[0].not_null and column.name not in copy.nullable
            )
            if required:
                steps, end = not_null(relation.table, column.name)
                self.steps += steps
                self.end += end
            if not (old[0].sequence and copy.key_columns) and (default := self._default(column.name, old)):
                self.end += (alter(relation.table, f"ALTER COLUMN {quote(column.name)} SET DEFAULT {default}"),)
        follows = one_to_one and copy.inherit
        self.notes: tuple[str, ...] = ()
        left = self._follow(old[0], new[0]) if follows else self._left_behind()
        self.notes += left

    def _follow(self, old: Column, new: Column) -> tuple[str, ...]:
        relation, names = self.relation, [old.name]
        self.names = {old.name: new.name}
        for index in relation.indexes_on(names):
            if not index.primary:
                self._index(index)
        for constraint in relation.constraints_on(names, "cf"):
            self._constraint(constraint)
        if relation.constraints_on(names, "x"):
            raise Refused(
                f"{relation.table}.{old.name} has an exclusion constraint, which PostgreSQL can't build concurrently",
                "drop the constraint by a change of its own first",
            )
        notes = []
        for part in (relation, *self.parts):
            for item in part.statistics_on(names):
                # An expression may not be one of the new type's, and statistics are not worth a change that fails.
                if new.comparable and (not item.expressions or new.type == old.type):
                    self._statistics(part, item)
                else:
                    notes.append(_no_statistics(item))
        return tuple(notes)

    def _left_behind(self) -> tuple[str, ...]:
        relation, old = self.relation, self.copy.old
        return (
            *(
                f"the index {item.name} on {', '.join(item.columns)} has no successor: declare one by "
                "op.expand_create_index"
                for item in relation.indexes_on(old)
            ),
            *(
                f"the constraint {item.name} has no successor: declare one"
                for item in relation.constraints_on(old, "cf")
            ),
            *(
                f"{relation.table}.{name} has {item}, which {', '.join(self.copy.new)} does not get"
                for name in old
                for item in relation.column(name).settings
            ),
            *(_no_statistics(item) for part in (relation, *self.parts) for item in part.statistics_on(old)),
        )

    def _default(self, name: str, old: Sequence[Column]) -> str:
        if name in self.copy.defaults:
            return self.copy.defaults[name]
        sources = {column.name: column.default for column in old}
        used = names_in(self.copy.up[name], sources)
        if not used or not all(sources[item] for item in used):
            return ""
        # The same expression over the old defaults.
        return replace_in(self.copy.up[name], {item: f"({value})" for item, value in sources.items()})

    def _renamed(self, name: str) -> str:
        old, new = next(iter(self.names.items()))
        # `ix_items_price` becomes `ix_items_price_2`, whatever else the name is made of.
        return name_for(name.replace(old, new) if old in name else f"{name}_{new}")

    def _index(self, index: Index) -> None:
        if index.besides:
            self.notes += (f"the successor of the index {index.name} lacks {index.besides}",)
        name = self._renamed(index.name)
        tail = rename_in(index.tail, self.names)
        self.steps += build_index(self.relation, name, tail, unique=index.unique, parts=self.parts)
        # A partitioned table takes no constraint USING INDEX; there the unique index does the same.
        if index.constraint and index.unique and not self.relation.partitioned:
            self.end += (use_index(self.relation.table, self._renamed(index.constraint), name, "UNIQUE"),)

    def _statistics(self, part: Relation, item: Statistics) -> None:
        self.steps += (make_statistics(part.table, item, self._renamed(item.name), rename_in(item.tail, self.names)),)
        # Those of several columns are only counted when all of them are.
        self.analyze = f"ANALYZE {table_name(self.relation.table)}"

    def _constraint(self, constraint: Constraint) -> None:
        head, refers, rest = constraint.definition.partition(" REFERENCES ")
        referred, closed, actions = rest.partition(")")
        # ON DELETE SET NULL may name columns of its own table.
        rest = rename_in(referred + closed, self.copy.referred) + rename_in(actions, self.names)
        definition = rename_in(head, self.names) + refers + rest
        self.steps += validated(
            self.relation.table, self._renamed(constraint.name), definition.removesuffix(" NOT VALID")
        )


def _no_statistics(item: Statistics) -> str:
    return f"the statistics {item.name} on {item.tail} have no successor: make them by op.expand_execute"


def _reopen(
    key: str, relation: Relation, copy: Copy, old: Sequence[Column], sync: tuple[str, ...], parts: Sequence[Relation]
) -> tuple[Step, ...]:
    """Restore the old columns: in sync at once, then filled, then with all their constraints and indexes."""
    table = relation.table
    add = tuple(f"ADD COLUMN IF NOT EXISTS {quote(column.name)} {column.declared}" for column in old)
    # While both are written, a default of a new column would look like a new writer's value.
    plain = tuple(f"ALTER COLUMN {quote(name)} DROP DEFAULT" for name in copy.new)
    attributes = tuple(text for name in copy.old for text in old_attributes((relation, *parts), name))
    first = Block(
        (alter(table, *add), alter(table, *plain), *attributes, *sync),
        title=f"add {', '.join(copy.old)} again, with the sync",
    )
    steps: list[Step] = [first, _fill_old(key, relation, copy)] if copy.down else [first]
    end: list[str] = []
    for column in old:
        if column.not_null and column.name in copy.down:
            sure, last = not_null(table, column.name)
            steps += sure
            end += last
        if column.default and not column.sequence:
            end.append(alter(table, f"ALTER COLUMN {quote(column.name)} SET DEFAULT {column.default}"))
    for index in relation.indexes_on(copy.old):
        if index.primary:
            continue
        steps += build_index(relation, index.name, index.tail, unique=index.unique, parts=parts)
        if index.constraint and index.unique and not relation.partitioned:
            end.append(use_index(table, index.constraint, index.name, "UNIQUE"))
    for constraint in relation.constraints_on(copy.old, "cf"):
        steps += validated(table, constraint.name, constraint.definition.removesuffix(" NOT VALID"))
    for part in (relation, *parts):
        steps += [make_statistics(part.table, item, item.name, item.tail) for item in part.statistics_on(copy.old)]
    if end:
        steps.append(Block(tuple(end), title="make the old columns what they were"))
    return tuple(steps)
