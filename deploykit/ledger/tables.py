"""The tables, as the queries see them. `migrations/` creates them, with their types, keys and indexes; a test compares
the names.

`entries` is the chain itself and only grows. `chains` knows where each chain ends. All others are projections: what the
entries add up to, kept so that a question takes one query. Every table carries the app and the environment, so that a
team's database holds many ledgers.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "CHAINS",
    "ENTRIES",
    "EVIDENCE",
    "LOCKS",
    "PROJECTIONS",
    "RELEASES",
    "REPOSITORIES",
    "SCOPE",
    "STEPS",
    "TABLES",
    "TIMERS",
    "Table",
]

SCOPE = ("app", "environment")


class Table(NamedTuple):
    """`key` are the columns of the primary key beside the scope, `columns` all others."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of the database."""
        return (*SCOPE, *self.key, *self.columns)


ENTRIES = Table("deploykit_entries", ("sequence",), ("at", "kind", "release", "payload", "previous", "hash"))

CHAINS = Table("deploykit_chains", (), ("sequence", "hash"))

RELEASES = Table(
    "deploykit_releases",
    ("id",),
    (
        *("sequence", "version", "digest", "commit", "tree", "actor", "kind", "previous", "outcome", "reason"),
        *("started_at", "finished_at"),
        "live_sequence",  # of the entry by which it last got the traffic: the greatest one is live
    ),
)

STEPS = Table(
    "deploykit_steps",
    ("sequence",),
    ("release", "name", "action", "state", "result", "started_at", "finished_at"),
)

EVIDENCE = Table("deploykit_evidence", ("sequence",), ("gate", "tree", "verdict", "at"))

TIMERS = Table("deploykit_timers", ("sequence",), ("kind", "release", "due_at", "payload"))

LOCKS = Table(
    "deploykit_locks",
    (),
    # Heartbeats are no entries (there would be thousands); `seal` is a hash over what they change.
    ("owner", "reason", "token", "acquired_at", "heartbeat_at", "expires_at", "seal"),
)

REPOSITORIES = Table("deploykit_repositories", ("sequence",), ("repository", "at"))

PROJECTIONS = (RELEASES, STEPS, EVIDENCE, TIMERS, LOCKS, REPOSITORIES)
TABLES = (ENTRIES, CHAINS, *PROJECTIONS)
