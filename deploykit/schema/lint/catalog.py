"""The schema that the revisions have made so far, and what of it is new in the present change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from deploykit.schema.lint.values import Action, Column, Constraint, Key

__all__ = ["Catalog", "Index", "Table"]


@dataclass(frozen=True, kw_only=True)
class Index:
    name: str
    columns: tuple[str, ...]
    unique: bool = False
    partial: bool = False


@dataclass
class Table:
    """A table. `of_revisions` is False if no revision makes it, so its other columns and indexes are unknown."""

    of_revisions: bool = True
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)

    def has_index(self, columns: tuple[str, ...]) -> bool:
        """Whether an index, or a constraint that has one, begins with these columns, in any order among them."""
        own = [index.columns for index in self.indexes.values() if not index.partial]
        own += [rule.columns for rule in self.constraints.values() if rule.kind in {"unique", "primary"}]
        own += [(column.name,) for column in self.columns.values() if column.primary]
        return any(set(found[: len(columns)]) == set(columns) for found in own)

    def is_unique(self, columns: tuple[str, ...]) -> bool:
        """Whether at most one row has given values in (some of) these columns."""
        keys = [index.columns for index in self.indexes.values() if index.unique and not index.partial]
        keys += [rule.columns for rule in self.constraints.values() if rule.kind in {"unique", "primary"}]
        keys += [(column.name,) for column in self.columns.values() if column.primary]
        return any(found and set(found) <= set(columns) for found in keys)


class Catalog:
    """The schema, updated by actions. It refuses nothing: the rules or the database complain about mistakes."""

    def __init__(self) -> None:
        self.tables: dict[Key, Table] = {}
        self.new_tables: set[Key] = set()
        self.new_columns: set[tuple[Key, str]] = set()
        self.new_constraints: set[tuple[Key, str]] = set()
        self.new_objects: set[str] = set()

    def begin_change(self) -> None:
        """Mark everything made so far as in use."""
        self.new_tables = set()
        self.new_columns = set()
        self.new_constraints = set()
        self.new_objects = set()

    def is_new(self, table: Key) -> bool:
        return table in self.new_tables

    def is_new_column(self, table: Key, column: str) -> bool:
        return (table, column) in self.new_columns

    def table(self, table: Key) -> Table:
        """Return the table as far as it is known; one that no revision made is created here."""
        return self.tables.setdefault(table, Table(of_revisions=False))

    def table_of_index(self, name: str) -> Key | None:
        """Return the table that the index is on, if revisions say so."""
        return next((table for table, found in self.tables.items() if name in found.indexes), None)

    def never_null(self, table: Key, column: str) -> bool:
        """Whether a valid constraint already says that the column is not NULL."""
        rules = self.table(table).constraints.values()
        return any(
            rule.valid and (column in rule.not_null or (rule.kind == "not-null" and column in rule.columns))
            for rule in rules
        )

    def apply(self, action: Action) -> None:
        work = getattr(self, f"_{action.kind}", None)
        if work is not None:
            work(action)

    def _create_table(self, action: Action) -> None:
        # With IF NOT EXISTS it may have been there before.
        if action.guarded and action.on in self.tables:
            return
        table = Table(columns={column.name: column for column in action.columns})
        self.tables[action.on] = table
        if not action.guarded:
            self.new_tables.add(action.on)
        for rule in (*action.also["constraints"], *(rule for column in action.columns for rule in column.constraints)):
            _keep(table, rule)

    def _create_object(self, action: Action) -> None:
        self.new_objects.add(action.name)

    _create_domain = _create_object

    def _drop_table(self, action: Action) -> None:
        self.tables.pop(action.on, None)
        self.new_tables.discard(action.on)

    def _rename_table(self, action: Action) -> None:
        to = (action.also.get("schema", action.on[0]), action.also["to"])
        if action.on in self.tables:
            self.tables[to] = self.tables.pop(action.on)
        if action.on in self.new_tables:
            self.new_tables.discard(action.on)
            self.new_tables.add(to)

    _set_schema = _rename_table

    def _add_column(self, action: Action) -> None:
        table, column = self.table(action.on), action.definition
        table.columns[column.name] = column
        if not action.guarded:
            self.new_columns.add((action.on, column.name))
        for rule in column.constraints:
            _keep(table, rule)

    def _drop_column(self, action: Action) -> None:
        table = self.table(action.on)
        table.columns.pop(action.column, None)
        table.indexes = {name: index for name, index in table.indexes.items() if action.column not in index.columns}
        table.constraints = {
            name: rule for name, rule in table.constraints.items() if action.column not in rule.columns
        }

    def _rename_column(self, action: Action) -> None:
        table, to = self.table(action.on), action.also["to"]
        if action.column in table.columns:
            table.columns[to] = replace(table.columns.pop(action.column), name=to)
        table.indexes = {
            name: replace(index, columns=_renamed(index.columns, action.column, to))
            for name, index in table.indexes.items()
        }
        table.constraints = {
            name: replace(rule, columns=_renamed(rule.columns, action.column, to))
            for name, rule in table.constraints.items()
        }
        if self.is_new_column(action.on, action.column):
            self.new_columns.add((action.on, to))

    def _alter_type(self, action: Action) -> None:
        new = action.definition
        self._change(action, type=new.type, length=new.length)

    def _set_not_null(self, action: Action) -> None:
        self._change(action, not_null=True)

    def _drop_not_null(self, action: Action) -> None:
        self._change(action, not_null=False)

    def _set_default(self, action: Action) -> None:
        self._change(action, default="constant")

    def _drop_default(self, action: Action) -> None:
        self._change(action, default="")

    def _change(self, action: Action, **fields: object) -> None:
        columns = self.table(action.on).columns
        known = columns.get(action.column, Column(name=action.column, type=""))
        # Fields of Column, each with its own type.
        columns[action.column] = replace(known, **fields)  # type: ignore[arg-type]

    def _add_constraint(self, action: Action) -> None:
        if action.constraint is not None:
            table, rule = self.table(action.on), action.constraint
            if rule.index and rule.index in table.indexes:
                rule = replace(rule, columns=table.indexes[rule.index].columns)
            _keep(table, rule)
            self.new_constraints.add((action.on, action.name))

    def _validate_constraint(self, action: Action) -> None:
        rules = self.table(action.on).constraints
        if action.name in rules:
            rules[action.name] = replace(rules[action.name], valid=True)

    def _drop_constraint(self, action: Action) -> None:
        self.table(action.on).constraints.pop(action.name, None)

    def _create_index(self, action: Action) -> None:
        table = self.table(action.on)
        name = action.name or f"{action.on[1]}_{'_'.join(action.also['columns'])}_idx"
        table.indexes[name] = Index(
            name=name, columns=action.also["columns"], unique=action.also["unique"], partial=action.also["partial"]
        )

    def _drop_index(self, action: Action) -> None:
        for table in self.tables.values():
            table.indexes.pop(action.name, None)


def _keep(table: Table, rule: Constraint) -> None:
    table.constraints[rule.name or f"{rule.kind} {' '.join(rule.columns)} {len(table.constraints)}"] = rule


def _renamed(columns: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if column == old else column for column in columns)
