"""Lint of migrations: rules over what Alembic's operations send to PostgreSQL, read by PostgreSQL's own grammar.

`rendered` is the answer of the application's environment. `parser` makes statements of it, `actions` makes values of
these, and `catalog` follows the schema. `rules/` judge, and `linter` joins it all. The gate `migrations` runs the
program `python -m deploykit.schema.lint`.
"""
