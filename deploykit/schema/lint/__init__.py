"""Lint of migrations: rules over what Alembic's operations send to PostgreSQL, read by PostgreSQL's own grammar.

`rendered` is what the application's environment tells, `reading` makes statements of it, `actions` makes values of these,
`catalog` follows the schema, `rules/` judge, `linting` joins it all. `python -m deploykit.schema.lint` is the program that
the gate `migrations` asks.
"""
