"""Run in the application's own environment, by the path of this folder: `python …/in_app inspect --migrations …`.

Only the standard library, Alembic and SQLAlchemy are imported here, and nothing of the kit: it is not installed there.
The last line that is printed begins with `@deploykit ` and is one JSON object, whatever else the application prints.
"""
