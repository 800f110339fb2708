"""The operations, each with tables, and with the statements of the version before and of the one after."""

from __future__ import annotations

import dataclasses
from functools import partial

from changed_database import Case, Shape

from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE

ITEMS = """
CREATE TABLE t (id serial PRIMARY KEY, note text, price int NOT NULL DEFAULT 7 CHECK (price >= 0), other int);
CREATE INDEX ix_t_price ON t (price);
CREATE INDEX ix_t_other ON t (other) WHERE other > 5;
"""


def shape(
    column: str,
    write: str = "%(v)s",
    read: str = "",
    table: str = "t",
    more: str = "",
    values: str = "",
    key: str = "id",
) -> Shape:
    """A version that writes one column; `write` and `read` say how a whole number becomes a value and comes back."""
    names, given = f"note, {column}{more}", f"'n', {write}{values}"
    return Shape(
        insert=f"INSERT INTO {table} ({names}) VALUES ({given}) RETURNING {key}",
        update=f"UPDATE {table} SET {column} = {write} WHERE {key} = %(id)s",
        read=f"SELECT {read or column} FROM {table} WHERE {key} = %(id)s",
        delete=f"DELETE FROM {table} WHERE {key} = %(id)s",
    )


PRICE = shape("price")
CENTS = shape("price_2", "%(v)s / 100.0", "(price_2 * 100)::int")
NAMES = "CREATE TABLE t (id serial PRIMARY KEY, note text, name text NOT NULL, CONSTRAINT t_name_uq UNIQUE (name, id));"
NAME = shape("name", "'p' || %(v)s::int || ' l'", "substr(split_part(name, ' ', 1), 2)::int")
FIRST = shape("first", "'p' || %(v)s::int", "substr(first, 2)::int", more=", last", values=", 'l'")
PLAIN = "CREATE TABLE t (id serial PRIMARY KEY, note text, price int);"
ENUM = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE TABLE t (id serial PRIMARY KEY, note text, m mood NOT NULL DEFAULT 'ok', price int);
"""
PARENT = "CREATE TABLE p (id serial PRIMARY KEY); INSERT INTO p SELECT FROM generate_series(1, 50);"
PARTED = """
CREATE TABLE t (id bigserial, note text, price int NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (MINVALUE) TO (700);
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (700) TO (100000000);
CREATE INDEX ix_t_price ON t (price);
"""


def upserting(known: Shape, column: str, write: str = "%(v)s", table: str = "t") -> Shape:
    """The version that also sends upserts of rows that are there, as an ORM does."""
    put = f"INSERT INTO {table} (id, note, {column}) VALUES (%(id)s, 'u', {write})"
    return dataclasses.replace(known, upsert=f"{put} ON CONFLICT (id) DO UPDATE SET {column} = excluded.{column}")


UPSERT = upserting(PRICE, "price")

# Writes NULL for every odd value; what it meant stands in the note.
LEAVES_OUT = Shape(
    insert="INSERT INTO t (note, price) VALUES (%(v)s::text, CASE WHEN %(v)s %% 2 = 0 THEN %(v)s END) RETURNING id",
    update="UPDATE t SET note = %(v)s::text, price = CASE WHEN %(v)s %% 2 = 0 THEN %(v)s END WHERE id = %(id)s",
    read=(
        "SELECT CASE WHEN note::int %% 2 = 0 THEN price WHEN coalesce(price, -1) = -1 THEN note::int END FROM t WHERE"
        " id = %(id)s"
    ),
    delete="DELETE FROM t WHERE id = %(id)s",
)

CASES = [
    Case(
        "rename_column",
        ITEMS,
        partial(DECLARE["rename_column"], "t", "price", "cost", change="c"),
        UPSERT,
        upserting(shape("cost"), "cost"),
        "SELECT * FROM t WHERE price IS DISTINCT FROM cost",
    ),
    Case(
        "change_type",
        ITEMS,
        partial(
            DECLARE["change_type"],
            "t",
            "price",
            "numeric(12,2)",
            up="price / 100.0",
            down="(price_2 * 100)::int",
            change="c",
        ),
        UPSERT,
        upserting(CENTS, "price_2", "%(v)s / 100.0"),
        "SELECT * FROM t WHERE price / 100.0 <> price_2",
    ),
    Case(
        "change_type_unique",
        NAMES,
        partial(DECLARE["change_type"], "t", "name", "varchar(40)", to="title", change="c"),
        NAME,
        shape("title", "'p' || %(v)s::int || ' l'", "substr(split_part(title, ' ', 1), 2)::int"),
        "SELECT * FROM t WHERE name IS DISTINCT FROM title",
    ),
    Case(
        "change_type_partitioned",
        PARTED,
        partial(
            DECLARE["change_type"],
            "t",
            "price",
            "numeric(12,2)",
            up="price / 100.0",
            down="(price_2 * 100)::int",
            change="c",
        ),
        PRICE,
        CENTS,
        "SELECT * FROM t WHERE price / 100.0 <> price_2",
        tables=("t", "t_1", "t_2"),
    ),
    Case(
        "change_type_without_key",
        "CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s'), note text, price int NOT NULL); CREATE INDEX"
        " ix_t ON t (id);",
        partial(
            DECLARE["change_type"],
            "t",
            "price",
            "numeric(12,2)",
            up="price / 100.0",
            down="(price_2 * 100)::int",
            change="c",
        ),
        PRICE,
        CENTS,
        "SELECT * FROM t WHERE price / 100.0 <> price_2",
    ),
    Case(
        "split_column",
        NAMES,
        partial(
            DECLARE["split_column"],
            "t",
            "name",
            {"first": "text", "last": "text"},
            up={"first": "split_part(name, ' ', 1)", "last": "split_part(name, ' ', 2)"},
            down="first || ' ' || last",
            required=["first"],
            change="c",
        ),
        NAME,
        FIRST,
        "SELECT * FROM t WHERE name IS DISTINCT FROM first || ' ' || last",
    ),
    Case(
        "merge_columns",
        "CREATE TABLE t (id serial PRIMARY KEY, note text, first text, last text);",
        partial(
            DECLARE["merge_columns"],
            "t",
            ["first", "last"],
            "name",
            "text",
            up="first || ' ' || last",
            down={"first": "split_part(name, ' ', 1)", "last": "split_part(name, ' ', 2)"},
            nullable=False,
            change="c",
        ),
        FIRST,
        NAME,
        "SELECT * FROM t WHERE name IS DISTINCT FROM first || ' ' || last",
    ),
    Case(
        "set_not_null_filled",
        PLAIN,
        partial(DECLARE["set_not_null"], "t", "price", fill="-1", change="c"),
        LEAVES_OUT,
        dataclasses.replace(
            PRICE,
            insert=PRICE.insert.replace("'n'", "'0'"),
            update="UPDATE t SET note = '0', price = %(v)s WHERE id = %(id)s",
            read=LEAVES_OUT.read,
        ),
    ),
    Case("set_not_null", PLAIN, partial(DECLARE["set_not_null"], "t", "price", change="c"), PRICE, PRICE),
    Case(
        "drop_not_null",
        "CREATE TABLE t (id serial PRIMARY KEY, note text, price int NOT NULL);",
        partial(DECLARE["drop_not_null"], "t", "price", fill="0", change="c"),
        PRICE,
        None,
    ),
    Case("change_default", ITEMS, partial(DECLARE["change_default"], "t", "price", "9", change="c"), PRICE, PRICE),
    Case("drop_default", ITEMS, partial(DECLARE["change_default"], "t", "price", None, change="c"), PRICE, PRICE),
    Case(
        "add_column",
        ITEMS,
        partial(DECLARE["add_column"], "t", "extra", "int", change="c"),
        PRICE,
        PRICE,
        reopens=False,
    ),
    Case(
        "add_column_constant",
        ITEMS,
        partial(DECLARE["add_column"], "t", "extra", "int", nullable=False, default="3", change="c"),
        PRICE,
        shape("price", more=", extra", values=", 4"),
        reopens=False,
    ),
    Case(
        "add_column_volatile",
        ITEMS,
        partial(DECLARE["add_column"], "t", "extra", "float8", nullable=False, default="random()", change="c"),
        PRICE,
        shape("price", more=", extra", values=", 4"),
    ),
    Case(
        "add_column_filled",
        ITEMS,
        partial(DECLARE["add_column"], "t", "extra", "int", nullable=False, fill="price * 2", change="c"),
        PRICE,
        shape("price", more=", extra", values=", 4"),
    ),
    Case(
        "add_column_generated",
        ITEMS,
        partial(DECLARE["add_column"], "t", "twice", "int", generated="price * 2", change="c"),
        PRICE,
        shape("price", read="twice / 2"),
        "SELECT * FROM t WHERE twice IS DISTINCT FROM price * 2",
        reopens=False,
    ),
    Case(
        "add_column_virtual",
        ITEMS,
        partial(DECLARE["add_column"], "t", "twice", "int", generated="price * 2", virtual=True, change="c"),
        PRICE,
        shape("price", read="twice / 2"),
        reopens=False,
        versions=(18,),
    ),
    Case(
        "add_column_identity",
        ITEMS,
        partial(DECLARE["add_column"], "t", "number", "bigint", identity=True, change="c"),
        PRICE,
        PRICE,
        "SELECT number FROM t GROUP BY number HAVING count(*) > 1 OR number IS NULL",
        reopens=False,
    ),
    Case(
        "drop_column",
        ITEMS.replace("other int", "other int, legacy text NOT NULL"),
        partial(DECLARE["drop_column"], "t", "legacy", fill="'gone'", change="c"),
        shape("price", more=", legacy", values=", 'x'"),
        PRICE,
        lost=True,
    ),
    Case("add_check", PLAIN, partial(DECLARE["add_check"], "t", "t_positive", "price > 0", change="c"), PRICE, PRICE),
    Case(
        "add_check_at_once",
        PLAIN,
        partial(DECLARE["add_check"], "t", "t_positive", "price > 0", phase="expand", change="c"),
        PRICE,
        PRICE,
        reopens=False,
    ),
    Case(
        "add_foreign_key",
        PARENT + "CREATE TABLE t (id serial PRIMARY KEY, note text, price int, p_id int DEFAULT 3);",
        partial(DECLARE["add_foreign_key"], "t", "t_p_fk", ["p_id"], "p", ["id"], change="c"),
        PRICE,
        shape("price", more=", p_id", values=", 5"),
        tables=("t", "p"),
    ),
    Case(
        "add_unique",
        PLAIN,
        partial(DECLARE["add_unique"], "t", "t_uq", ["price", "id"], change="c"),
        PRICE,
        PRICE,
    ),
    Case(
        "add_primary_key",
        "CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s'), note text, price int); CREATE INDEX ix_t ON t"
        " (id);",
        partial(DECLARE["add_primary_key"], "t", "t_pkey", ["id"], change="c"),
        PRICE,
        PRICE,
    ),
    Case(
        "add_exclusion",
        "CREATE TABLE t (id serial PRIMARY KEY, note text, price int);",
        partial(DECLARE["add_exclusion"], "t", "t_ex", "USING btree (id WITH =)", change="c"),
        PRICE,
        PRICE,
    ),
    Case(
        "drop_constraint",
        ITEMS,
        partial(DECLARE["drop_constraint"], "t", "t_price_check", change="c"),
        PRICE,
        PRICE,
    ),
    Case(
        "create_index",
        ITEMS,
        partial(DECLARE["create_index"], "t", "ix_new", ["price", "id DESC"], where="price > 10", change="c"),
        PRICE,
        PRICE,
        reopens=False,
    ),
    Case(
        "create_index_partitioned",
        PARTED,
        partial(DECLARE["create_index"], "t", "ix_new", ["price", "id"], change="c"),
        PRICE,
        PRICE,
        reopens=False,
        tables=("t", "t_1", "t_2"),
    ),
    Case("drop_index", ITEMS, partial(DECLARE["drop_index"], "t", "ix_t_price", change="c"), PRICE, PRICE),
    Case(
        "rebuild_index",
        ITEMS,
        partial(DECLARE["rebuild_index"], "t", "ix_t_price", change="c"),
        PRICE,
        PRICE,
        reopens=False,
    ),
    Case(
        "attach_partition",
        PARTED
        + "CREATE TABLE t_3 (LIKE t INCLUDING ALL); ALTER TABLE t_3 ALTER id DROP DEFAULT; INSERT INTO t_3 VALUES"
        " (100000001, 'x', 1);",
        partial(DECLARE["attach_partition"], "t", "t_3", "FOR VALUES FROM (100000000) TO (200000000)", change="c"),
        PRICE,
        PRICE,
        tables=("t", "t_1", "t_2", "t_3"),
        reopens=False,
    ),
    Case(
        "detach_partition",
        PARTED + "CREATE TABLE t_3 PARTITION OF t FOR VALUES FROM (100000000) TO (200000000); INSERT INTO t_3 VALUES"
        " (100000001, 'x', 1);",
        partial(DECLARE["detach_partition"], "t", "t_3", change="c"),
        PRICE,
        PRICE,
        tables=("t", "t_1", "t_2", "t_3"),
    ),
    Case(
        "rename_table",
        ITEMS,
        partial(DECLARE["rename_table"], "t", "things", change="c"),
        UPSERT,
        upserting(shape("price", table="things"), "price", table="things"),
        tables=("t",),
    ),
    Case(
        "drop_table",
        ITEMS + "CREATE TABLE gone (id int PRIMARY KEY REFERENCES t ON DELETE CASCADE);",
        partial(DECLARE["drop_table"], "gone", change="c"),
        PRICE,
        PRICE,
        reopens=False,
    ),
    Case(
        "split_table",
        "CREATE TABLE t (id serial PRIMARY KEY, note text, price int, bio text NOT NULL DEFAULT 'b');",
        partial(DECLARE["split_table"], "t", ["price", "bio"], "profile", change="c"),
        PRICE,
        Shape(
            insert=(
                "WITH made AS (INSERT INTO t (note) VALUES ('n') RETURNING id) INSERT INTO profile (t_id, price, bio)"
                " SELECT id, %(v)s, 'c' FROM made RETURNING t_id"
            ),
            update="UPDATE profile SET price = %(v)s WHERE t_id = %(id)s",
            read="SELECT price FROM profile WHERE t_id = %(id)s",
            delete="DELETE FROM t WHERE id = %(id)s",
        ),
        "SELECT * FROM t FULL JOIN profile p ON p.t_id = t.id WHERE (t.price, t.bio) IS DISTINCT FROM (p.price, p.bio)",
        late=True,
    ),
    Case(
        "move_column",
        "CREATE TABLE t (id serial PRIMARY KEY, note text, price int);"
        "CREATE TABLE account (id serial PRIMARY KEY, t_id int UNIQUE REFERENCES t ON DELETE CASCADE);",
        partial(DECLARE["move_column"], "t", "price", "account", on={"id": "t_id"}, change="c"),
        Shape(
            insert=(
                "WITH made AS (INSERT INTO t (note, price) VALUES ('n', %(v)s) RETURNING id) INSERT INTO account (t_id)"
                " SELECT id FROM made RETURNING t_id"
            ),
            update="UPDATE t SET price = %(v)s WHERE id = %(id)s",
            read="SELECT price FROM t WHERE id = %(id)s",
            delete="DELETE FROM t WHERE id = %(id)s",
        ),
        Shape(
            insert=(
                "WITH made AS (INSERT INTO t (note) VALUES ('n') RETURNING id) INSERT INTO account (t_id, price) SELECT"
                " id, %(v)s FROM made RETURNING t_id"
            ),
            update="UPDATE account SET price = %(v)s WHERE t_id = %(id)s",
            read="SELECT price FROM account WHERE t_id = %(id)s",
            delete="DELETE FROM t WHERE id = %(id)s",
        ),
        "SELECT * FROM t JOIN account a ON a.t_id = t.id WHERE t.price IS DISTINCT FROM a.price",
        tables=("t", "account"),
        late=True,
    ),
    Case(
        "add_enum_value",
        ENUM,
        partial(DECLARE["add_enum_value"], "t", "m", "great", after="glad", change="c"),
        PRICE,
        shape("price", more=", m", values=", 'great'"),
        reopens=False,
    ),
    Case(
        "change_enum",
        ENUM,
        partial(
            DECLARE["change_enum"],
            "t",
            "m",
            ["unhappy", "ok", "happy"],
            mapping={"sad": "unhappy", "glad": "happy"},
            change="c",
        ),
        shape("price", more=", m", values=", CASE WHEN %(v)s %% 2 = 0 THEN 'sad' ELSE 'glad' END::mood"),
        shape("price", more=", m_2", values=", CASE WHEN %(v)s %% 2 = 0 THEN 'unhappy' ELSE 'happy' END::mood_2"),
        "SELECT * FROM t WHERE (m::text, m_2::text) NOT IN (('sad', 'unhappy'), ('ok', 'ok'), ('glad', 'happy'))",
    ),
    *(
        Case(
            f"change_key_{kind}",
            f"CREATE TABLE t (id {definition} PRIMARY KEY, note text, price int, parent int REFERENCES t ON DELETE SET"
            " NULL);CREATE TABLE r (id serial PRIMARY KEY, t_id int NOT NULL REFERENCES t ON DELETE CASCADE); CREATE"
            " INDEX ix_r ON r (t_id);",
            partial(DECLARE["change_key"], "t", "id", change="c"),
            Shape(
                insert=(
                    "WITH made AS (INSERT INTO t (note, price) VALUES ('n', %(v)s) RETURNING id) INSERT INTO r (t_id)"
                    " SELECT id FROM made RETURNING t_id"
                ),
                update="UPDATE t SET price = %(v)s, parent = id WHERE id = %(id)s",
                read="SELECT t.price FROM t JOIN r ON r.t_id = t.id WHERE t.id = %(id)s",
                delete="DELETE FROM t WHERE id = %(id)s",
            ),
            Shape(
                insert=(
                    "WITH made AS (INSERT INTO t (note, price) VALUES ('n', %(v)s) RETURNING id_2) INSERT INTO r"
                    " (t_id_2) SELECT id_2 FROM made RETURNING t_id_2"
                ),
                update="UPDATE t SET price = %(v)s, parent_2 = id_2 WHERE id_2 = %(id)s",
                read="SELECT t.price FROM t JOIN r ON r.t_id_2 = t.id_2 WHERE t.id_2 = %(id)s",
                delete="DELETE FROM t WHERE id_2 = %(id)s",
            ),
            "SELECT t.id FROM t JOIN r ON r.t_id = t.id WHERE (t.id, t.parent, r.t_id) IS DISTINCT FROM (t.id_2::int,"
            " t.parent_2::int, r.t_id_2::int)",
            tables=("t", "r"),
            late=True,
        )
        for kind, definition in (
            ("serial", "serial"),
            ("identity", "int GENERATED BY DEFAULT AS IDENTITY"),
            ("always", "int GENERATED ALWAYS AS IDENTITY"),
        )
    ),
    Case(
        "change_key_of_members",
        "CREATE TABLE t (id serial PRIMARY KEY, price int); CREATE TABLE tag (id serial PRIMARY KEY);CREATE TABLE r"
        " (tag_id int NOT NULL DEFAULT 1, t_id int NOT NULL REFERENCES t ON DELETE CASCADE, PRIMARY KEY (t_id,"
        " tag_id));",
        partial(DECLARE["change_key"], "t", "id", change="c"),
        Shape(
            insert=(
                "WITH made AS (INSERT INTO t (price) VALUES (%(v)s) RETURNING id) INSERT INTO r (t_id) SELECT id FROM"
                " made RETURNING t_id"
            ),
            update="UPDATE t SET price = %(v)s WHERE id = %(id)s",
            read="SELECT t.price FROM t JOIN r ON r.t_id = t.id WHERE t.id = %(id)s",
            delete="DELETE FROM t WHERE id = %(id)s",
        ),
        Shape(
            insert=(
                "WITH made AS (INSERT INTO t (price) VALUES (%(v)s) RETURNING id_2) INSERT INTO r (t_id_2) SELECT id_2"
                " FROM made RETURNING t_id_2"
            ),
            update="UPDATE t SET price = %(v)s WHERE id_2 = %(id)s",
            read="SELECT t.price FROM t JOIN r ON r.t_id_2 = t.id_2 WHERE t.id_2 = %(id)s",
            delete="DELETE FROM t WHERE id_2 = %(id)s",
        ),
        "SELECT t.id FROM t JOIN r ON r.t_id = t.id WHERE (t.id, r.t_id) IS DISTINCT FROM (t.id_2::int, r.t_id_2::int)",
        tables=("t", "r"),
        late=True,
    ),
    Case(
        "execute",
        ITEMS,
        partial(
            DECLARE["execute"],
            "c",
            table="t",
            expand="ALTER TABLE t ADD COLUMN extra int",
            undo="ALTER TABLE t DROP COLUMN extra",
            contract="ALTER TABLE t DROP COLUMN other",
            reopen=["ALTER TABLE t ADD COLUMN other int", "CREATE INDEX ix_t_other ON t (other) WHERE other > 5"],
        ),
        PRICE,
        PRICE,
    ),
]
