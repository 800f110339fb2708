"""The chain of entries, and the tables that say what they add up to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_APPEND_ONLY = "entries of the ledger are never changed or removed"


def _scope() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("app", sa.String, primary_key=True),
        sa.Column("environment", sa.String, primary_key=True),
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _times(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Float(53), nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "deploykit_entries",
        *_scope(),
        _key("sequence"),
        *_times("at"),
        *_texts("kind", "release", "payload", "previous", "hash"),
    )
    op.create_table("deploykit_chains", *_scope(), sa.Column("sequence", sa.Integer, nullable=False), *_texts("hash"))
    op.create_table(
        "deploykit_releases",
        *_scope(),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        *_texts("version", "digest", "commit", "tree", "actor", "kind", "previous", "outcome", "reason"),
        *_times("started_at"),
        sa.Column("finished_at", sa.Float(53)),
        sa.Column("live_sequence", sa.Integer),
    )
    op.create_index("deploykit_releases_order", "deploykit_releases", ["app", "environment", "sequence"])
    op.create_table(
        "deploykit_steps",
        *_scope(),
        _key("sequence"),
        sa.Column("release", sa.String, nullable=False),
        *_texts("name", "action", "state", "result"),
        *_times("started_at"),
        sa.Column("finished_at", sa.Float(53)),
        sa.ForeignKeyConstraint(
            ["app", "environment", "release"],
            ["deploykit_releases.app", "deploykit_releases.environment", "deploykit_releases.id"],
            name="deploykit_steps_release",
        ),
    )
    op.create_index("deploykit_steps_order", "deploykit_steps", ["app", "environment", "release", "sequence"])
    op.create_table(
        "deploykit_evidence", *_scope(), _key("sequence"), *_texts("gate", "tree", "verdict"), *_times("at")
    )
    op.create_index(
        "deploykit_evidence_newest", "deploykit_evidence", ["app", "environment", "tree", "gate", "sequence"]
    )
    op.create_table(
        "deploykit_timers",
        *_scope(),
        _key("sequence"),
        *_texts("kind", "release"),
        *_times("due_at"),
        *_texts("payload"),
    )
    op.create_table(
        "deploykit_locks",
        *_scope(),
        *_texts("owner", "reason"),
        sa.Column("token", sa.Integer, nullable=False),
        *_times("acquired_at", "heartbeat_at", "expires_at"),
        *_texts("seal"),
    )
    _append_only()


def _append_only() -> None:
    """Keep honest hands off the entries; dishonest ones are what the chain is for."""
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER deploykit_entries_no_{event.lower()} BEFORE {event} ON deploykit_entries"
                f" BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION deploykit_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER deploykit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON deploykit_entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION deploykit_entries_append_only()"
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger has no downgrade: its entries must stay")
