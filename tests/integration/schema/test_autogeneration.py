"""What autogenerate finds between models and a real PostgreSQL, as declarations of both phases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.orm import DeclarativeBase, mapped_column

from deploykit.schema.in_app.alembic_operations import register
from deploykit.schema.in_app.autogeneration import split
from deploykit.schema.in_app.model_edits import edit_models

register()


@pytest.fixture
def between(database):
    """`between(before, after)`: what `split` makes of the way from one set of tables to the other; each adds tables
    to a metadata.
    """
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)

    def compared(before, after):
        was, will = sa.MetaData(), sa.MetaData()
        before(was)
        after(will)
        was.create_all(engine)
        with engine.connect() as connection:
            options = {"compare_type": True, "compare_server_default": True}
            upgrade = produce_migrations(MigrationContext.configure(connection, opts=options), will).upgrade_ops
        return split(upgrade.ops, will)

    return compared


def items(*columns, **options):
    def make(metadata):
        sa.Table("items", metadata, sa.Column("id", sa.Integer, primary_key=True), *(make() for make in columns))
        for add in options.get("more", ()):
            add(metadata)

    return make


def column(name, type_=sa.Integer, *arguments, **options):
    """A column can only be part of one table, so it is made each time."""
    return lambda: sa.Column(name, type_, *(make() for make in arguments), **options)


def declared(found):
    """Kind and options of each declaration, and Alembic's own operations by their type."""
    return [
        (item.change.kind, item.change.options) if hasattr(item, "change") else (type(item).__name__, {})
        for item in found.expand
    ]


@pytest.mark.parametrize(
    ("before", "after", "kind", "options", "contracts"),
    [
        pytest.param(
            [column("price")], [column("price", sa.BigInteger)], "change_type", {"to": "price_2"}, True, id="type"
        ),
        pytest.param(
            [column("a", sa.Text)],
            [column("b", sa.Text, info={"renamed_from": "a"})],
            "rename_column",
            {"to": "b"},
            True,
            id="renamed",
        ),
        pytest.param(
            [column("a", sa.Text)],
            [column("b", sa.String(9), info={"renamed_from": "a"})],
            "change_type",
            {"to": "b"},
            True,
            id="renamed, with another type",
        ),
        pytest.param([column("a")], [], "drop_column", {}, True, id="dropped"),
        pytest.param([column("a")], [column("a", nullable=False)], "set_not_null", {}, True, id="not null"),
        pytest.param([column("a", nullable=False)], [column("a")], "drop_not_null", {}, False, id="may be null"),
        pytest.param(
            [column("a", server_default="1")],
            [column("a", server_default="2")],
            "change_default",
            {"default": "'2'"},
            True,
            id="default",
        ),
        pytest.param(
            [],
            [column("a", sa.Text, nullable=False, server_default="box")],
            "add_column",
            {"default": "'box'"},
            False,
            id="added, constant",
        ),
        pytest.param(
            [],
            [column("a", sa.DateTime, server_default=sa.func.now())],
            "add_column",
            {"default": "now()"},
            False,
            id="added, computed by the server",
        ),
        pytest.param(
            [column("a")],
            [column("a"), column("b", sa.Integer, lambda: sa.Computed("a * 2"))],
            "add_column",
            {"generated": "a * 2"},
            False,
            id="added, generated",
        ),
        pytest.param(
            [],
            [column("b", sa.Integer, sa.Identity)],
            "add_column",
            {"identity": True},
            False,
            id="added, identity",
        ),
        pytest.param(
            [column("a")],
            [column("a", index=True)],
            "create_index",
            {"name": "ix_items_a"},
            False,
            id="index",
        ),
        pytest.param(
            [column("a", index=True)], [column("a")], "drop_index", {"name": "ix_items_a"}, True, id="no index"
        ),
        pytest.param(
            [column("a")],
            [column("a", sa.Integer, lambda: sa.ForeignKey("items.id", name="fk_a", ondelete="CASCADE"))],
            "add_foreign_key",
            {"name": "fk_a", "on_delete": "CASCADE"},
            True,
            id="foreign key",
        ),
        pytest.param(
            [column("a", sa.Integer, lambda: sa.ForeignKey("items.id", name="fk_a"))],
            [column("a")],
            "drop_constraint",
            {"name": "fk_a"},
            True,
            id="no foreign key",
        ),
    ],
)
def test_one_difference(between, before, after, kind, options, contracts):
    found = between(items(*before), items(*after))
    ((got, has),) = declared(found)
    assert got == kind
    assert {name: has.get(name) for name in options} == options
    assert bool(found.contract) is contracts
    assert found.contract in ([], found.keys)


def test_what_is_new_is_left_to_alembic_and_what_nobody_minds_too(between):
    def with_another(metadata):
        sa.Table(
            "others", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer, index=True)
        )

    found = between(items(), items(column("note", sa.Text), more=[with_another]))
    assert [kind for kind, _ in declared(found)] == ["CreateTableOp", "CreateIndexOp", "AddColumnOp"]
    assert (found.contract, found.notes) == ([], [])


def test_a_comment_is_no_change_of_shape(between):
    found = between(items(column("a")), items(column("a", comment="in cents")))
    assert [kind for kind, _ in declared(found)] == ["AlterColumnOp"]


def test_a_table_that_goes_and_one_with_another_name(between):
    def old(metadata):
        sa.Table("gone", metadata, sa.Column("id", sa.Integer, primary_key=True))
        sa.Table(
            "people", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, index=True)
        )

    def new(metadata):
        sa.Table(
            "persons",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.Text, index=True),
            info={"renamed_from": "people"},
        )

    found = between(old, new)
    assert [kind for kind, _ in declared(found)] == ["rename_table", "drop_table"]
    assert found.contract == found.keys


def test_a_column_that_has_to_be_filled_is_said(between):
    found = between(items(column("old", sa.Text, nullable=False)), items(column("new", sa.Text, nullable=False)))
    assert sorted(kind for kind, _ in declared(found)) == ["add_column", "drop_column"]
    assert any("items.new may not be NULL: write into `fill`" in note for note in found.notes)
    assert any("items.old may not be NULL: write into `fill`" in note for note in found.notes)


def test_what_stands_on_a_column_follows_it(between):
    found = between(
        items(column("price", sa.Integer, index=True)),
        items(column("price", sa.BigInteger, unique=True)),
    )
    kinds = [kind for kind, _ in declared(found)]
    assert kinds[0] == "change_type"
    assert found.moved == [("items", "price", "price_2")]
    (unique,) = (options for kind, options in declared(found) if kind == "add_unique")
    assert unique["columns"] == ["price_2"]


def test_an_index_with_all_that_it_can_have(between):
    def with_index(metadata):
        table = metadata.tables["items"]
        sa.Index(
            "ix_whole",
            sa.func.lower(table.c.a),
            table.c.b.desc(),
            table.c.a + "x",
            unique=True,
            postgresql_where=table.c.b > 3,
            postgresql_include=["b"],
        )

    plain = [column("a", sa.Text), column("b")]
    found = between(items(*plain), items(*plain, more=[with_index]))
    ((kind, options),) = declared(found)
    assert (kind, options["on"], options["unique"]) == ("create_index", ["lower(a)", "b DESC", "(a || 'x')"], True)
    assert options["where"] == "b > 3"
    assert options["include"] == ["b"]


def test_a_model_is_edited_where_its_source_is_at_hand_and_said_where_not(tmp_path, monkeypatch):
    (tmp_path / "shop_models.py").write_text(
        "from sqlalchemy import Integer\n"
        "from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\n"
        "class Item(Base):\n    __tablename__ = 'items'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    price: Mapped[int] = mapped_column(Integer)\n"
        "    bare: Mapped[int]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop_models

    moved = [("items", "price", "price_2"), ("items", "bare", "bare_2"), ("others", "a", "a_2")]
    said = edit_models(shop_models.Base.metadata, moved)
    assert said == [
        'shop_models.py: Item.price = mapped_column("price_2", …)',
        'the column of items.bare is bare_2 from now on: write bare = mapped_column("bare_2", …) into the model',
        'the column of others.a is a_2 from now on: write a = mapped_column("a_2", …) into the model',
    ]
    assert 'price: Mapped[int] = mapped_column("price_2", Integer)' in (tmp_path / "shop_models.py").read_text()


def test_a_model_outside_of_the_repo_is_left_alone(tmp_path, monkeypatch):
    class Base(DeclarativeBase):
        pass

    class Item(Base):
        __tablename__ = "items"
        id = mapped_column(sa.Integer, primary_key=True)
        price = mapped_column(sa.Integer)

    monkeypatch.chdir(tmp_path)
    (said,) = edit_models(Base.metadata, [("items", "price", "price_2")])
    assert said.startswith("the column of items.price is price_2 from now on")
