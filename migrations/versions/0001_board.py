"""Apps, environments, releases with their stages, and the events they come from

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite counts by itself only for a column of exactly INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("id", Id, sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_apps"),
        sa.UniqueConstraint("name", name="uq_apps_name"),
        sa.CheckConstraint("name <> ''", name=op.f("ck_apps_name_not_empty")),
    )
    op.create_table(
        "environments",
        sa.Column("id", Id, sa.Identity(always=True), nullable=False),
        sa.Column("app_id", Id, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name="fk_environments_app_id_apps", ondelete="CASCADE"),
        sa.UniqueConstraint("app_id", "name", name="uq_environments_app_id_name"),
        sa.CheckConstraint("name <> ''", name=op.f("ck_environments_name_not_empty")),
    )
    op.create_table(
        "releases",
        sa.Column("id", Id, sa.Identity(always=True), nullable=False),
        sa.Column("environment_id", Id, nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("release", sa.String(100), nullable=False),
        sa.Column("operation", sa.String(20), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(200), nullable=False),
        sa.Column("commit", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=True),
        sa.Column("last_event_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_releases"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_releases_environment_id_environments", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("environment_id", "source", "release", name="uq_releases_environment_id_source_release"),
        sa.CheckConstraint(
            "outcome IN ('running', 'done', 'failed', 'rolled back', 'cancelled')",
            name=op.f("ck_releases_outcome_known"),
        ),
        sa.CheckConstraint("operation IN ('release', 'rollback')", name=op.f("ck_releases_operation_known")),
        sa.CheckConstraint(
            "(outcome = 'running') = (finished_at IS NULL)", name=op.f("ck_releases_ended_when_not_running")
        ),
    )
    op.create_index("ix_releases_environment_id_started_at", "releases", ["environment_id", "started_at"])
    op.create_index("ix_releases_live", "releases", ["environment_id", "outcome", "finished_at"])
    op.create_index("ix_releases_started_at", "releases", ["started_at"])
    op.create_table(
        "stages",
        sa.Column("release_id", Id, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("outcome", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "position", name="pk_stages"),
        sa.ForeignKeyConstraint(
            ["release_id"], ["releases.id"], name="fk_stages_release_id_releases", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("release_id", "name", name="uq_stages_release_id_name"),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_stages_seconds_not_negative")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("release_id", Id, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(
            ["release_id"], ["releases.id"], name="fk_events_release_id_releases", ondelete="CASCADE"
        ),
        sa.CheckConstraint("kind IN ('started', 'stage', 'finished')", name=op.f("ck_events_kind_known")),
    )
    op.create_index("ix_events_release_id_at", "events", ["release_id", "at"])


def downgrade() -> None:
    op.drop_table("events")
    op.drop_table("stages")
    op.drop_table("releases")
    op.drop_table("environments")
    op.drop_table("apps")
