"""The Alembic environment of the release board. The database is the one that DATABASE_URL names."""

from __future__ import annotations

import os

import sqlalchemy
from alembic import context

from deploykit.board import database, tables

PATIENCE = "-c lock_timeout=2000"


def url() -> sqlalchemy.engine.URL:
    configured = context.config.get_main_option("sqlalchemy.url")
    return database.normalise(os.environ.get("DATABASE_URL", "").strip() or configured or "")


def run(connection: sqlalchemy.engine.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        transaction_per_migration=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def online() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    target = url()
    # Waiting for a lock holds up every query that comes after it, so a migration gives up early and is run again.
    arguments = {"options": PATIENCE} if target.get_backend_name() == "postgresql" else {}
    engine = sqlalchemy.create_engine(target, poolclass=sqlalchemy.pool.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        run(connection)
    engine.dispose()


def offline() -> None:
    context.configure(
        url=url(),
        target_metadata=tables.metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    offline()
else:
    online()
