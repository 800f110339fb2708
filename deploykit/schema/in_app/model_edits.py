"""Edits of the models' source: a changed column's attribute keeps its name, `price = mapped_column("price_2", …)`."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["edit_models", "with_column_name"]

_CALLS = {"mapped_column", "Column"}


def edit_models(metadata: Any, moved: Sequence[tuple[str, str, str]]) -> list[str]:
    """Edit the files of the mapped classes. Returns a sentence for each column, also for those left to the reader."""
    said = []
    for table, old, new in moved:
        place = _place(metadata, table, old)
        wanted = f'{place[1] if place else old} = mapped_column("{new}", …)'
        edited = None
        if place is not None:
            cls, attribute = place
            file = Path(inspect.getsourcefile(cls) or "")
            if file.is_file() and Path.cwd() in file.resolve().parents:
                edited = with_column_name(file.read_text(encoding="utf-8"), cls.__name__, attribute, new)
                if edited is not None:
                    file.write_text(edited, encoding="utf-8")
                    said.append(f"{file.resolve().relative_to(Path.cwd())}: {cls.__name__}.{wanted}")
        if edited is None:
            said.append(f"the column of {table}.{old} is {new} from now on: write {wanted} into the model")
    return said


def _place(metadata: Any, table: str, column: str) -> tuple[type[Any], str] | None:
    """Return the mapped class and the attribute of a table's column."""
    from sqlalchemy.orm import configure_mappers
    from sqlalchemy.orm.mapper import _all_registries

    configure_mappers()
    wanted = next((item for item in metadata.tables.values() if item.name == table), None)
    if wanted is None or column not in wanted.columns:
        return None
    for registry in _all_registries():
        for mapper in registry.mappers:
            if mapper.local_table is wanted:
                return mapper.class_, mapper.get_property_by_column(wanted.columns[column]).key
    return None


def with_column_name(source: str, cls: str, attribute: str, name: str) -> str | None:
    """Return the source with the column's name as first argument of the attribute's call; None if impossible."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == cls:
            for line in node.body:
                target = (
                    line.target
                    if isinstance(line, ast.AnnAssign)
                    else line.targets[0]
                    if isinstance(line, ast.Assign)
                    else None
                )
                if (
                    isinstance(target, ast.Name)
                    and target.id == attribute
                    and isinstance(line, ast.Assign | ast.AnnAssign)
                ):
                    return _named(source, line.value, name)
    return None


def _named(source: str, value: ast.expr | None, name: str) -> str | None:
    if not isinstance(value, ast.Call) or _called(value) not in _CALLS:
        return None
    lines = source.splitlines(keepends=True)
    first = value.args[0] if value.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.end_col_offset is not None:
        whole = first.lineno == first.end_lineno
        return _put(lines, first.lineno, first.col_offset, first.end_col_offset, f'"{name}"') if whole else None
    number, end = value.func.end_lineno or 0, value.func.end_col_offset or 0
    if lines[number - 1].encode()[end : end + 1] != b"(":
        return None
    more = ", " if value.args or value.keywords else ""
    return _put(lines, number, end + 1, end + 1, f'"{name}"{more}')


def _called(value: ast.Call) -> str:
    if isinstance(value.func, ast.Attribute):
        return value.func.attr
    return value.func.id if isinstance(value.func, ast.Name) else ""


def _put(lines: list[str], number: int, start: int, end: int, text: str) -> str:
    """Replace part of a line. Offsets are in bytes of UTF-8, as `ast` has them."""
    line = lines[number - 1].encode()
    lines[number - 1] = (line[:start] + text.encode() + line[end:]).decode()
    return "".join(lines)
