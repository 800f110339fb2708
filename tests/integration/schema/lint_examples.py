"""For each rule revisions that it finds something in, and the like in which there is nothing to find.

Each example is a revision of its own on top of the tables in `BEFORE`, rendered by Alembic.
"""

from __future__ import annotations

from dataclasses import dataclass

BEFORE = """
op.create_table("customers", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True))
op.create_table("orders",
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("note", sa.Text), sa.Column("state", sa.Text, nullable=False), sa.Column("other", sa.Text, nullable=False, server_default="x"),
    sa.Column("customer_id", sa.BigInteger), sa.Column("name", sa.String(20)), sa.Column("amount", sa.Numeric(10, 2)))
op.create_index("ix_orders_note", "orders", ["note"])
op.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
"""


@dataclass(frozen=True)
class Example:
    rule: str
    body: str
    finds: bool
    between: str = ""
    down: str = "raise NotImplementedError"
    version: int = 14
    head: str = ""


def bad(rule: str, body: str, **more: object) -> Example:
    return Example(rule, body, True, **more)  # type: ignore[arg-type]


def good(rule: str, body: str, **more: object) -> Example:
    return Example(rule, body, False, **more)  # type: ignore[arg-type]


def sql(*statements: str) -> str:
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


def outside(*statements: str) -> str:
    return "with op.get_context().autocommit_block():\n" + "\n".join(f"    op.execute({one!r})" for one in statements)


NEW = (
    'op.create_table("fresh", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("a",'
    " sa.Text))\n"
)
CHECKED = sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (note IS NOT NULL) NOT VALID")
PROVEN = CHECKED + "\n" + sql("ALTER TABLE orders VALIDATE CONSTRAINT c")
TYPED = 'op.create_table("fresh", sa.Column("id", {}, primary_key=True))'
COLUMN = 'op.add_column("orders", sa.Column("added", {}))'
INDEX = 'op.create_index("ix", "orders", ["name"]{})'
CONCURRENT = "with op.get_context().autocommit_block():\n    " + INDEX.format(", postgresql_concurrently=True")
LONG = "a" * 64

EXAMPLES = (
    bad("require-concurrent-index-creation", INDEX.format("")),
    bad("require-concurrent-index-creation", 'with op.batch_alter_table("orders") as batch:\n    batch.create_index("ix", ["name"])'),
    good("require-concurrent-index-creation", CONCURRENT),
    good("require-concurrent-index-creation", NEW + 'op.create_index("ix", "fresh", ["a"])'),
    bad("require-concurrent-index-deletion", 'op.drop_index("ix_orders_note", "orders")'),
    good("require-concurrent-index-deletion", 'with op.get_context().autocommit_block():\n    op.drop_index("ix_orders_note", postgresql_concurrently=True)'),
    good("require-concurrent-index-deletion", NEW + 'op.create_index("ix", "fresh", ["a"])\nop.drop_index("ix")'),
    bad("require-concurrent-reindex", sql("REINDEX TABLE orders")),
    good("require-concurrent-reindex", outside("REINDEX TABLE CONCURRENTLY orders")),
    good("require-concurrent-reindex", sql("REINDEX TABLE orders"), version=11),
    bad("require-concurrent-partition-detach", sql("ALTER TABLE orders DETACH PARTITION p")),
    good("require-concurrent-partition-detach", outside("ALTER TABLE orders DETACH PARTITION p CONCURRENTLY")),
    good("require-concurrent-partition-detach", sql("ALTER TABLE orders DETACH PARTITION p"), version=13),
    bad("ban-concurrent-index-creation-in-transaction", INDEX.format(", postgresql_concurrently=True")),
    good("ban-concurrent-index-creation-in-transaction", CONCURRENT),
    bad("wide-index", 'op.create_index("ix", "orders", ["note", "state", "name", "amount"])'),
    good("wide-index", 'op.create_index("ix", "orders", ["note", "state", "name", "amount"], unique=True)'),
    bad("missing-foreign-key-index", 'op.create_foreign_key("fk", "orders", "customers", ["customer_id"], ["id"], postgresql_not_valid=True)'),
    good("missing-foreign-key-index", 'op.create_foreign_key("fk", "orders", "customers", ["customer_id"], ["id"])',
         between='op.create_index("ix", "orders", ["customer_id", "note"])'),
    good("missing-foreign-key-index", 'op.create_table("fresh", sa.Column("c", sa.BigInteger, sa.ForeignKey("customers.id"), index=True))'),
    bad("constraint-missing-not-valid", 'op.create_check_constraint("c", "orders", "amount > 0")'),
    bad("constraint-missing-not-valid", sql("ALTER TABLE orders ADD COLUMN added int CHECK (added > 0)")),
    good("constraint-missing-not-valid", 'op.create_check_constraint("c", "orders", "amount > 0", postgresql_not_valid=True)'),
    bad("adding-foreign-key-constraint", 'op.create_foreign_key("fk", "orders", "customers", ["customer_id"], ["id"])'),
    bad("adding-foreign-key-constraint", 'op.add_column("orders", sa.Column("c", sa.BigInteger, sa.ForeignKey("customers.id")))'),
    good("adding-foreign-key-constraint", 'op.create_foreign_key("fk", "orders", "customers", ["customer_id"], ["id"], postgresql_not_valid=True)'),
    good("adding-foreign-key-constraint", 'op.create_table("fresh", sa.Column("c", sa.BigInteger, sa.ForeignKey("customers.id")))'),
    bad("disallowed-unique-constraint", 'op.create_unique_constraint("u", "orders", ["name"])'),
    bad("disallowed-unique-constraint", 'op.add_column("orders", sa.Column("c", sa.Text, unique=True))\n' + sql("ALTER TABLE orders ADD UNIQUE (c)")),
    good("disallowed-unique-constraint", sql("ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX ix"),
         between='op.create_index("ix", "orders", ["name"], unique=True)'),
    bad("exclusion-constraint", sql("ALTER TABLE orders ADD CONSTRAINT e EXCLUDE USING gist (name WITH =)")),
    good("exclusion-constraint", NEW + sql("ALTER TABLE fresh ADD CONSTRAINT e EXCLUDE USING gist (a WITH =)")),
    bad("adding-not-nullable-field", 'op.alter_column("orders", "note", nullable=False)'),
    bad("adding-not-nullable-field", 'op.alter_column("orders", "note", nullable=False)', between=CHECKED),
    bad("adding-not-nullable-field", 'op.alter_column("orders", "note", nullable=False)', between=PROVEN, version=11),
    good("adding-not-nullable-field", 'op.alter_column("orders", "note", nullable=False)', between=PROVEN),
    bad("constraint-validated-at-once", PROVEN),
    good("constraint-validated-at-once", sql("ALTER TABLE orders VALIDATE CONSTRAINT c"), between=CHECKED),
    bad("ban-create-domain-with-constraint", sql("CREATE DOMAIN positive AS int CHECK (value > 0)")),
    good("ban-create-domain-with-constraint", sql("CREATE DOMAIN positive AS int")),
    bad("ban-alter-domain-with-add-constraint", sql("ALTER DOMAIN positive ADD CONSTRAINT c CHECK (value > 0)")),
    good("ban-alter-domain-with-add-constraint", sql("ALTER DOMAIN positive DROP CONSTRAINT c")),
    bad("adding-field-with-default", COLUMN.format('sa.Uuid, server_default=sa.text("gen_random_uuid()")')),
    bad("adding-field-with-default", COLUMN.format('sa.Text, server_default="x"'), version=10),
    good("adding-field-with-default", COLUMN.format("sa.DateTime(timezone=True), server_default=sa.func.now()")),
    good("adding-field-with-default", COLUMN.format('sa.Text, server_default="x", nullable=False')),
    bad("stored-generated-column", COLUMN.format('sa.Text, sa.Computed("upper(note)", persisted=True)')),
    good("stored-generated-column", sql("ALTER TABLE orders ADD COLUMN u text GENERATED ALWAYS AS (upper(note)) VIRTUAL"), version=18),
    bad("adding-serial-primary-key-field", sql("ALTER TABLE orders ADD COLUMN n bigserial")),
    bad("adding-serial-primary-key-field", COLUMN.format("sa.BigInteger, sa.Identity()")),
    good("adding-serial-primary-key-field", COLUMN.format("sa.BigInteger")),
    bad("changing-column-type", 'op.alter_column("orders", "name", type_=sa.Integer, postgresql_using="name::int")'),
    bad("changing-column-type", 'op.alter_column("orders", "name", type_=sa.String(10), existing_type=sa.String(5))'),
    good("changing-column-type", 'op.alter_column("orders", "name", type_=sa.String(40))'),
    good("changing-column-type", 'op.alter_column("orders", "name", type_=sa.Text)'),
    good("changing-column-type", 'op.alter_column("elsewhere", "name", type_=sa.String(40), existing_type=sa.String(30))'),
    bad("adding-required-field", COLUMN.format("sa.Text, nullable=False")),
    good("adding-required-field", COLUMN.format("sa.Text, nullable=False, server_default='x'")),
    good("adding-required-field", NEW + 'op.add_column("fresh", sa.Column("b", sa.Text, nullable=False))'),
    bad("not-null-in-expand", CHECKED),
    bad("not-null-in-expand", 'op.alter_column("orders", "note", nullable=False)'),
    good("not-null-in-expand", CHECKED, head="# deploykit: phase contract"),
    good("not-null-in-expand", sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (other IS NOT NULL) NOT VALID")),
    bad("ban-drop-column", 'op.drop_column("orders", "note")'),
    good("ban-drop-column", 'op.drop_column("orders", "note")', head="# deploykit: phase contract"),
    good("ban-drop-column", COLUMN.format("sa.Text") + '\nop.drop_column("orders", "added")'),
    bad("ban-drop-not-null", 'op.alter_column("orders", "state", nullable=True)'),
    good("ban-drop-not-null", NEW + 'op.alter_column("fresh", "a", nullable=True)'),
    bad("ban-drop-default", 'op.alter_column("orders", "other", server_default=None)'),
    good("ban-drop-default", 'op.alter_column("orders", "note", server_default=None)'),
    bad("renaming-column", 'op.alter_column("orders", "note", new_column_name="remark")'),
    good("renaming-column", NEW + 'op.alter_column("fresh", "a", new_column_name="b")'),
    bad("ban-drop-table", 'op.drop_table("orders")'),
    good("ban-drop-table", 'op.drop_table("orders")', head="# deploykit: phase contract"),
    bad("renaming-table", 'op.rename_table("orders", "sales")'),
    good("renaming-table", NEW + 'op.rename_table("fresh", "fresher")'),
    bad("ban-drop-constraint", sql("ALTER TABLE orders DROP CONSTRAINT c"), between=CHECKED),
    good("ban-drop-constraint", sql("ALTER TABLE orders DROP CONSTRAINT c"),
         between=PROVEN + '\nop.alter_column("orders", "note", nullable=False)'),
    good("ban-drop-constraint", CHECKED + "\n" + sql("ALTER TABLE orders DROP CONSTRAINT c")),
    bad("ban-drop-view", sql("DROP VIEW sums")),
    good("ban-drop-view", sql("CREATE VIEW sums AS SELECT 1", "DROP VIEW sums")),
    bad("ban-drop-type", sql("DROP TYPE mood")),
    good("ban-drop-type", sql("CREATE TYPE taste AS ENUM ('sour')", "DROP TYPE taste")),
    bad("ban-drop-domain", sql("DROP DOMAIN positive")),
    good("ban-drop-domain", sql("CREATE DOMAIN positive AS int", "DROP DOMAIN positive")),
    bad("ban-drop-function", sql("DROP FUNCTION total(int)")),
    good("ban-drop-function", sql("CREATE FUNCTION total() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION total()")),
    bad("ban-drop-sequence", sql("DROP SEQUENCE numbers")),
    good("ban-drop-sequence", sql("CREATE SEQUENCE numbers", "DROP SEQUENCE numbers")),
    bad("ban-drop-extension", sql("DROP EXTENSION citext")),
    good("ban-drop-extension", sql("DROP EXTENSION citext"), head="# deploykit: phase contract"),
    bad("ban-set-schema", sql("ALTER TABLE orders SET SCHEMA archive")),
    good("ban-set-schema", NEW + sql("ALTER TABLE fresh SET SCHEMA archive")),
    bad("ban-drop-generated-expression", sql("ALTER TABLE orders ALTER COLUMN note DROP EXPRESSION")),
    good("ban-drop-generated-expression", sql("ALTER TABLE orders ALTER COLUMN note DROP DEFAULT")),
    bad("ban-alter-identity", sql("ALTER TABLE orders ALTER COLUMN id DROP IDENTITY")),
    good("ban-alter-identity", NEW + sql("ALTER TABLE fresh ALTER COLUMN id SET GENERATED ALWAYS")),
    bad("renaming-object", sql("ALTER INDEX ix_orders_note RENAME TO ix")),
    bad("renaming-object", sql("ALTER TABLE orders RENAME CONSTRAINT c TO d")),
    good("renaming-object", NEW + sql("ALTER TABLE fresh RENAME CONSTRAINT c TO d")),
    bad("renaming-schema", sql("ALTER SCHEMA app RENAME TO shop")),
    good("renaming-schema", sql("CREATE SCHEMA shop")),
    bad("ban-drop-schema", sql("DROP SCHEMA shop CASCADE")),
    good("ban-drop-schema", sql("CREATE SCHEMA shop")),
    bad("ban-drop-database", sql("DROP DATABASE shop")),
    good("ban-drop-database", sql("COMMENT ON DATABASE shop IS 'drop database'")),
    bad("ban-truncate-cascade", sql("TRUNCATE orders CASCADE")),
    good("ban-truncate-cascade", sql("TRUNCATE orders")),
    bad("truncate", sql("TRUNCATE TABLE ONLY orders")),
    good("truncate", NEW + sql("TRUNCATE fresh")),
    bad("prefer-repack", outside("VACUUM (FULL, ANALYZE) orders")),
    bad("prefer-repack", sql("CLUSTER orders USING ix_orders_note")),
    good("prefer-repack", outside("VACUUM (ANALYZE) orders")),
    bad("table-rewrite", sql("ALTER TABLE orders SET TABLESPACE fast")),
    good("table-rewrite", sql("ALTER TABLE orders SET (fillfactor = 80)")),
    bad("attach-partition-scan", sql("ALTER TABLE orders ATTACH PARTITION y2026 FOR VALUES IN (1)")),
    good("attach-partition-scan", sql("ALTER TABLE orders ATTACH PARTITION y2026 FOR VALUES IN (1)"),
         between=sql("ALTER TABLE y2026 ADD CONSTRAINT bounds CHECK (id = 1)")),
    bad("refresh-not-concurrent", sql("REFRESH MATERIALIZED VIEW sums")),
    good("refresh-not-concurrent", sql("REFRESH MATERIALIZED VIEW CONCURRENTLY sums")),
    bad("enum-value-in-transaction", sql("ALTER TYPE mood ADD VALUE 'odd' AFTER 'bad'"), version=11),
    bad("enum-value-in-transaction", sql("ALTER TYPE mood ADD VALUE 'odd' AFTER 'bad'", "ALTER TABLE orders ALTER state SET DEFAULT 'odd'")),
    good("enum-value-in-transaction", sql("ALTER TYPE mood ADD VALUE 'odd' AFTER 'bad'")),
    good("enum-value-in-transaction", outside("ALTER TYPE mood ADD VALUE 'odd' AFTER 'bad'"), version=11),
    bad("require-enum-value-ordering", sql("ALTER TYPE mood ADD VALUE 'odd'")),
    good("require-enum-value-ordering", sql("ALTER TYPE mood ADD VALUE 'odd' BEFORE 'bad'")),
    bad("renaming-enum-value", sql("ALTER TYPE mood RENAME VALUE 'bad' TO 'poor'")),
    good("renaming-enum-value", sql("ALTER TYPE mood ADD VALUE 'poor' AFTER 'bad'")),
    bad("prefer-bigint-over-int", TYPED.format("sa.Integer")),
    good("prefer-bigint-over-int", TYPED.format("sa.BigInteger")),
    good("prefer-bigint-over-int", COLUMN.format("sa.Integer")),
    bad("prefer-bigint-over-smallint", TYPED.format("sa.SmallInteger")),
    good("prefer-bigint-over-smallint", TYPED.format("sa.BigInteger")),
    bad("prefer-identity", TYPED.format("sa.BigInteger")),
    good("prefer-identity", TYPED.format("sa.BigInteger, sa.Identity()")),
    bad("prefer-text-field", COLUMN.format("sa.String(20)")),
    good("prefer-text-field", COLUMN.format("sa.String")),
    bad("ban-char-field", COLUMN.format("sa.CHAR(3)")),
    good("ban-char-field", COLUMN.format("sa.Text")),
    bad("prefer-timestamp-tz", COLUMN.format("sa.DateTime")),
    good("prefer-timestamp-tz", COLUMN.format("sa.DateTime(timezone=True)")),
    bad("prefer-jsonb", COLUMN.format("sa.JSON")),
    good("prefer-jsonb", COLUMN.format("sa.dialects.postgresql.JSONB"), head="import sqlalchemy.dialects.postgresql"),
    bad("identifier-too-long", sql(f"CREATE INDEX {LONG} ON orders (name)")),
    good("identifier-too-long", sql(f"CREATE INDEX {LONG[1:]} ON orders (name)")),
    bad("unbatched-data-change", sql("UPDATE orders SET state = 'x' WHERE note IS NULL")),
    bad("unbatched-data-change", 'op.execute(sa.table("orders", sa.column("state")).delete())'),
    bad("unbatched-data-change", sql("UPDATE orders SET state = 'x' WHERE id > 5")),
    good("unbatched-data-change", sql("UPDATE orders SET state = 'x' WHERE id IN (SELECT id FROM orders WHERE note IS NULL LIMIT 1000)")),
    good("unbatched-data-change", sql("UPDATE orders SET state = 'x' WHERE id BETWEEN 1 AND 1000")),
    good("unbatched-data-change", sql("DELETE FROM orders WHERE id >= 1 AND id < 1000")),
    good("unbatched-data-change", sql("UPDATE orders SET state = 'x' WHERE id = 7")),
    good("unbatched-data-change", NEW + sql("UPDATE fresh SET a = 'x'")),
    bad("backfill-with-schema-change", COLUMN.format("sa.Text") + "\n" + sql("UPDATE orders SET added = note")),
    good("backfill-with-schema-change", sql("UPDATE orders SET added = note"), between=COLUMN.format("sa.Text")),
    bad("ban-duplicate-column-assignments", sql("UPDATE orders SET state = 'a', state = 'b' WHERE id = 1")),
    good("ban-duplicate-column-assignments", sql("UPDATE orders SET state = 'a', note = 'b' WHERE id = 1")),
    bad("opaque-block", sql("DO $$ BEGIN DROP TABLE orders; END $$")),
    bad("opaque-block", sql("SELECT drop_everything()")),
    bad("opaque-block", sql("DROP OWNED BY somebody")),
    good("opaque-block", sql("CREATE SCHEMA shop CREATE TABLE t (a text)")),
    bad("unbatched-data-change", sql("WITH gone AS (DELETE FROM orders RETURNING *) INSERT INTO archive SELECT * FROM gone")),
    bad("unbatched-data-change", sql("MERGE INTO orders USING customers c ON c.id = customer_id WHEN MATCHED THEN DELETE")),
    good("unbatched-data-change", sql("MERGE INTO orders USING customers c ON c.id = customer_id WHEN NOT MATCHED THEN DO NOTHING")),
    good("opaque-block", sql("SELECT setval('orders_id_seq', 7)")),
    bad("require-lock-timeout", COLUMN.format("sa.Text")),
    good("require-lock-timeout", sql("SET LOCAL lock_timeout = '2s'") + "\n" + COLUMN.format("sa.Text")),
    bad("require-statement-timeout", COLUMN.format("sa.Text")),
    good("require-statement-timeout", sql("SET statement_timeout = '9s'") + "\n" + COLUMN.format("sa.Text")),
    bad("many-tables-locked", COLUMN.format("sa.Text") + '\nop.add_column("customers", sa.Column("a", sa.Text))'),
    bad("many-tables-locked", COLUMN.format("sa.Text") + '\nop.drop_constraint("fk", "orders")',
        between='op.create_foreign_key("fk", "orders", "customers", ["customer_id"], ["id"])'),
    good("many-tables-locked", COLUMN.format("sa.Text") + '\nop.drop_constraint("c", "orders")', between=CHECKED),
    good("many-tables-locked", COLUMN.format("sa.Text") + '\nop.alter_column("orders", "note", server_default="x")'),
    good("many-tables-locked", COLUMN.format("sa.Text") + "\n" + NEW + 'op.add_column("fresh", sa.Column("b", sa.Text))'),
    bad("lock-order", sql("LOCK TABLE customers, orders"), between=sql("LOCK TABLE orders, customers")),
    good("lock-order", sql("LOCK TABLE orders, customers"), between=sql("LOCK TABLE orders, customers")),
    bad("transaction-nesting", sql("COMMIT")),
    good("transaction-nesting", outside("VACUUM orders")),
    bad("prefer-robust-stmts", CONCURRENT),
    good("prefer-robust-stmts", outside("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON orders (name)")),
    bad("require-table-schema", NEW),
    good("require-table-schema", 'op.create_table("fresh", sa.Column("a", sa.Text), schema="app")'),
    bad("downgrade-loses-data", COLUMN.format("sa.Text"), down='op.drop_column("orders", "note")'),
    bad("downgrade-loses-data", 'op.drop_column("orders", "note")', down='op.add_column("orders", sa.Column("note", sa.Text))'),
    good("downgrade-loses-data", COLUMN.format("sa.Text"), down='op.drop_column("orders", "added")'),
    good("downgrade-loses-data", 'op.drop_column("orders", "note")'),
    bad("downgrade-drops-new-data", COLUMN.format("sa.Text"), down='op.drop_column("orders", "added")'),
    good("downgrade-drops-new-data", COLUMN.format("sa.Text")),
    bad("acknowledgement-without-reason", "pass", head="# deploykit: allow truncate"),
    good("acknowledgement-without-reason", "pass", head="# deploykit: allow truncate because nobody reads it"),
    bad("acknowledgement-of-no-rule", "pass", head="# deploykit: allow trunkate because nobody reads it"),
    good("acknowledgement-of-no-rule", "pass", head="# deploykit: allow truncate, wide-index because nobody reads it"),
)  # fmt: skip
