"""Rules about revisions together, and about their comments. `history` and `drift` check them."""

from __future__ import annotations

from deploykit.schema.lint.rules.rule import Rule

__all__ = ["RULES"]

RULES = (
    Rule(
        id="multiple-heads",
        why="two revisions follow the same one, so the target of an upgrade is not defined",
        rewrite="alembic merge heads -m 'Merge heads'",
    ),
    Rule(
        id="edited-revision",
        why="databases that have it will never see the change, so they differ from new ones",
        rewrite="alembic revision -m 'What the edit was to do'",
    ),
    Rule(
        id="downgrade-loses-data",
        why="a downgrade that deletes what its upgrade did not make, or brings back empty what was dropped, "
        "can't undo it",
        rewrite='def downgrade():\n    raise NotImplementedError("restore from the backup, or roll the '
        'application back")',
    ),
    Rule(
        id="downgrade-drops-new-data",
        why="the downgrade drops what users have written since the upgrade",
        rewrite='def downgrade():\n    raise NotImplementedError("roll the application back; the schema stays")',
        on=False,
    ),
    Rule(
        id="model-drift",
        why="the tables that the application declares are not those that the revisions make",
        rewrite="alembic revision --autogenerate -m 'What the models say'",
    ),
    Rule(
        id="unread-statement",
        why="on another database than PostgreSQL: a statement that its grammar does not know, so its effect "
        "was not judged",
        rewrite="# one of Alembic's operations, or SQL that both know; else say what it does:\n# deploykit: "
        "allow unread-statement because …",
    ),
    Rule(
        id="phase-forbidden",
        why="a release runs every branch but `contract`: an old shape would be dropped under the version that "
        "reads it, or a new one never made",
        rewrite="invoke db.revision -m 'What it ends' --contract",
    ),
    Rule(
        id="acknowledgement-without-reason",
        why="a later reader has to know why it was right",
        rewrite="# deploykit: allow RULE because the table has 40 rows and is written once a day",
    ),
    Rule(
        id="acknowledgement-of-no-rule",
        why="a name that no rule has acknowledges nothing",
        rewrite="# deploykit: allow RULE because …",
    ),
)
