"""Declarations, expressions, names: the pure parts of declared changes."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from deploykit.schema.in_app.changes.declaration_source import declaration_source
from deploykit.schema.in_app.changes.model import (
    Backfill,
    Block,
    Change,
    Comparison,
    Refused,
    Steps,
    Table,
    steps_from_json,
    steps_to_json,
)
from deploykit.schema.in_app.changes.operations import load
from deploykit.schema.in_app.changes.operations.columns import is_cheap
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS, type_name
from deploykit.schema.in_app.changes.sql import bind, literal, name_for, names_in, quote, rename_in, replace_in
from deploykit.schema.in_app.model_edits import with_column_name

load()


@pytest.mark.parametrize(
    ("expression", "bound"),
    [
        ("price / 100.0", 'NEW."price" / 100.0'),
        ("Price", 'NEW."price"'),
        ('"Total" + price', 'NEW."Total" + NEW."price"'),
        ("price::text || 'price'", "NEW.\"price\"::text || 'price'"),
        ("lower(name)", 'lower(NEW."name")'),
        ("name(1)", "name(1)"),
        ("other.price", "other.price"),
        ("$$price$$ || name", '$$price$$ || NEW."name"'),
        ("E'it\\'s price' || name", "E'it\\'s price' || NEW.\"name\""),
        ("x::price", "x::price"),
    ],
)
def test_names_of_columns_are_bound_and_nothing_else(expression, bound):
    assert bind(expression, ["price", "name", "Total"], "NEW") == bound


def test_a_comment_in_an_expression_is_refused():
    with pytest.raises(Refused, match="no comments"):
        bind("price /* cents */", ["price"], "NEW")


def test_names_and_literals():
    assert quote('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\b") == "E'a\\\\b'"
    assert literal(None) == "NULL"
    assert literal(True) == "TRUE"
    assert literal(3) == "3"
    assert rename_in("lower(price) > other", {"price": "cost"}) == 'lower("cost") > other'
    assert replace_in("price / 100", {"price": "(7)"}) == "(7) / 100"
    assert names_in("a + b + a", ["a", "b", "c"]) == ("a", "b")


def test_a_name_that_is_too_long_is_cut_and_stays_the_only_one():
    one, two = name_for("x" * 70, "a"), name_for("x" * 70, "b")
    assert len(one.encode()) == len(two.encode()) == 63
    assert one != two
    assert len(name_for("ü" * 40, "a").encode()) <= 63


def test_programs_survive_json():
    steps = Steps(
        expand=(Block(("a", "b"), "t", builds=("public", "i"), alone=True),),
        fill=(Backfill(Table("t", "public"), (("a", "b"),), "x", "k"), Comparison(Table("t", "s"), "a", "b", "c", "d")),
        lost="much",
        tables=(Table("t", "public"),),
        notes=("n",),
    )
    assert steps_from_json(steps_to_json(steps)) == steps


EXAMPLES = {
    "rename_column": (("t", "a", "b"), {}),
    "change_type": (("t", "a", sa.Numeric(12, 2)), {"up": "a / 100.0"}),
    "split_column": (
        ("t", "a", {"x": sa.Text(), "y": "int"}),
        {"up": {"x": "a", "y": "1"}, "down": "x", "required": ["x"]},
    ),
    "merge_columns": (
        ("t", ["x", "y"], "a", "text"),
        {"up": "x || y", "down": {"x": "a", "y": "''"}, "nullable": False},
    ),
    "set_not_null": (("t", "a"), {"fill": "0"}),
    "drop_not_null": (("t", "a"), {}),
    "change_default": (("t", "a", None), {}),
    "add_column": (("t", "a", sa.Integer()), {"nullable": False, "default": "3"}),
    "drop_column": (("t", "a"), {"fill": "'x'"}),
    "add_check": (("t", "ck", "a > 0"), {"phase": "expand"}),
    "add_foreign_key": (("t", "fk", ["a"], "o", ["id"]), {"on_delete": "CASCADE", "index": False}),
    "add_unique": (("t", "uq", ["a", "b"]), {}),
    "add_primary_key": (("t", "pk", ["a"]), {}),
    "add_exclusion": (("t", "ex", "USING gist (a WITH =)"), {}),
    "drop_constraint": (("t", "ck"), {}),
    "create_index": (("t", "ix", ["a"]), {"unique": True, "where": "a > 1", "include": ["b"]}),
    "drop_index": (("t", "ix"), {}),
    "rebuild_index": (("t", "ix"), {}),
    "attach_partition": (("t", "p", "DEFAULT"), {}),
    "detach_partition": (("t", "p"), {}),
    "rename_table": (("t", "u"), {}),
    "drop_table": (("t",), {}),
    "execute": (("c",), {"table": "t", "expand": "SELECT 1;", "contract": ["SELECT 2"]}),
    "split_table": (("t", ["a"], "u"), {"fill": {"a": "0"}}),
    "move_column": (("t", "a", "u"), {"on": {"id": "t_id"}}),
    "add_enum_value": (("t", "a", "v"), {"after": "w"}),
    "change_enum": (("t", "a", ["v", "w"]), {"mapping": {"x": "v"}}),
    "change_key": (("t", "id"), {"references": {"o.t_id": "t_key"}}),
}


def test_every_operation_has_an_example():
    assert set(EXAMPLES) == set(DECLARATIONS)


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("schema", [None, "shop"])
def test_what_is_spelled_declares_the_same_change(kind, schema):
    arguments, options = EXAMPLES[kind]
    change = DECLARATIONS[kind](*arguments, **options, schema=schema)
    text = declaration_source(change)

    class Op:
        def __getattr__(self, name):
            return DECLARATIONS[name.removeprefix("expand_")]

    assert eval(text, {"op": Op()}) == change
    assert Change.from_json(change.to_json()) == change


def test_a_name_that_is_none_is_refused():
    with pytest.raises(Refused, match="letters, digits"):
        DECLARATIONS["rename_column"]("t", "a", "b", change="a-b'")


def test_types_are_postgresqls_own():
    assert type_name(sa.Numeric(12, 2)) == "NUMERIC(12, 2)"
    assert type_name(sa.String(20)) == "VARCHAR(20)"
    assert type_name("bigint") == "bigint"


@pytest.mark.parametrize("default", ["3", "-1.5", "'x'", "'x'::text", "TRUE", "now()", "null"])
def test_cheap_defaults(default):
    assert is_cheap(default)


@pytest.mark.parametrize("default", ["random()", "clock_timestamp()", "nextval('s')", "gen_random_uuid()", "1 + f()"])
def test_dear_defaults(default):
    assert not is_cheap(default)


MODEL = """
class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    größe: Mapped[int] = orm.mapped_column()
    price: Mapped[Decimal] = mapped_column(Numeric(8, 3))
    named = Column("named_1", Integer)
    bare: Mapped[int]
"""


@pytest.mark.parametrize(
    ("attribute", "line"),
    [
        ("price", '    price: Mapped[Decimal] = mapped_column("price_2", Numeric(8, 3))'),
        ("größe", '    größe: Mapped[int] = orm.mapped_column("price_2")'),
        ("named", '    named = Column("price_2", Integer)'),
    ],
)
def test_the_columns_name_is_written_into_the_model(attribute, line):
    edited = with_column_name(MODEL, "Item", attribute, "price_2")
    assert edited is not None
    changed = [new for new, old in zip(edited.splitlines(), MODEL.splitlines(), strict=True) if new != old]
    assert changed == [line]


@pytest.mark.parametrize(("cls", "attribute"), [("Item", "bare"), ("Item", "nothing"), ("Other", "price")])
def test_what_cant_be_edited_is_left_alone(cls, attribute):
    assert with_column_name(MODEL, cls, attribute, "x") is None
