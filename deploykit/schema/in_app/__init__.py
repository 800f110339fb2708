"""The part that runs in the application's own environment, by the path of this folder: `python …/in_app inspect …`.

It imports the standard library, Alembic and SQLAlchemy only; the kit is not installed there. Its last line of output
begins with `@deploykit ` and holds one JSON object, whatever else the application prints.
"""
