"""Runs the ledger's migrations on the connection, and in the transaction, that
`deploykit.ledger.upgrade` hands over.
"""

from __future__ import annotations

from alembic import context

from deploykit.ledger.upgrade import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite's is, too, once the driver leaves BEGIN to us
)
with context.begin_transaction():
    context.run_migrations()
