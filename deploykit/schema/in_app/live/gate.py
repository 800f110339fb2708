"""The reasons against a contract. They are read from the application's own database, so they hold for every caller."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..changes.sql import literal, table_name
from .creators import who_may_interfere
from .state import SCHEMA, Known, State

if TYPE_CHECKING:
    from .session import Session

__all__ = ["OVERRIDE", "Gate", "in_sql", "is_empty", "is_fresh", "knowing", "reasons"]

OVERRIDE = "DEPLOYKIT_CONTRACT_OVERRIDE"
"""The variable whose reason lets a contract through; the ledger keeps the reason."""
_DEFAULTS = {"soak": "86400", "restore_age": "86400", "restore_wanted": "no", "restore_waived": ""}
"""The default in seconds, if no release has set one: a day."""


def reasons(session: Session, state: State, known: Known) -> list[str]:
    """Return a sentence for each reason against contract; an empty list allows it."""
    found: list[str] = []
    if known.phase != "filled":
        found.append(f"{known.key} is {known.phase}: its rows are not all there; invoke db.backfill finishes that")
        return found
    if list(known.steps.comparisons()) and known.times["verified_at"] is None:
        found.append("its rows were not compared since they were filled, or not all agreed: invoke db.verify")
    found += [row[0] for row in session.rows(_naming(known.key))]
    found += _needed(session, known)
    settings = {**_DEFAULTS, **state.settings()}
    soak = float(settings["soak"])
    row = session.rows(
        "SELECT extract(epoch FROM now() - greatest(c.filled_at, (SELECT max(coalesce(ended_at, seen_at)) FROM "
        f"{SCHEMA}.release r "
        f"WHERE NOT r.running AND {_lacks(known.key)})))::float8 FROM {SCHEMA}.change c WHERE c.key = "
        f"{literal(known.key)}"
    )[0]
    since = float(row[0] or 0)
    if since < soak:
        found.append(
            f"it soaks for {_span(soak)} after its rows were there and the last release of the old shape ended: "
            f"{_span(soak - since)} left"
        )
    if settings["restore_wanted"] == "yes" and not settings["restore_waived"]:
        age = session.value(f"SELECT extract(epoch FROM now() - max(taken_at))::float8 FROM {SCHEMA}.restore_point")
        limit = float(settings["restore_age"])
        if age is None or float(age) > limit:
            have = "there is none" if age is None else f"the newest is {_span(float(age))} old"
            found.append(f"a restore point no older than {_span(limit)} is wanted: {have}")
    return found


def _naming(key: str) -> str:
    """Return the query for triggers whose functions name a column that would be dropped, each as a sentence.

    PostgreSQL drops the column without a word: it does not read the text of functions, and every write then fails.
    """
    return rf"""
SELECT format('the function %s of the trigger %s names %s.%s, which would be gone for it: replace the function first',
  p.oid::regproc, t.tgname, u #>> '{{table,name}}', u ->> 'column')
FROM {SCHEMA}.change c, jsonb_array_elements(c.steps::jsonb -> 'uses') u
JOIN pg_trigger t ON t.tgrelid = to_regclass(format('%I.%I', u #>> '{{table,schema}}', u #>> '{{table,name}}'))
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE c.key = {literal(key)} AND c.declaration::jsonb ->> 'kind' <> 'execute' AND u ->> 'how' = 'drop'
AND NOT t.tgisinternal AND n.nspname <> 'deploykit'
AND p.prosrc ~* ('\m' || regexp_replace(u ->> 'column', '(\W)', '\\\1', 'g') || '\M') ORDER BY 1"""


def _lacks(key: str) -> str:
    return f"position({literal(f',{key},')} IN r.changes) = 0"


def _needed(session: Session, known: Known) -> list[str]:
    rows = session.rows(
        f"SELECT app, environment, id, version FROM {SCHEMA}.release r WHERE running AND {_lacks(known.key)} "
        "ORDER BY seen_at"
    )
    return [
        f"{row[0]} {row[3]} ({row[2]}) still runs or is kept warm in {row[1]}, and needs the old shape" for row in rows
    ]


def knowing(session: Session, key: str) -> list[str]:
    """Return the releases that run, or are kept warm, and know the change: they read its new shape."""
    rows = session.rows(
        f"SELECT app, environment, id, version FROM {SCHEMA}.release r WHERE running AND NOT ({_lacks(key)}) "
        "ORDER BY seen_at"
    )
    return [f"{row[0]} {row[3]} ({row[2]}) in {row[1]}" for row in rows]


def is_empty(session: Session, known: Known) -> bool:
    """Whether none of the change's tables has a row, so that filling them takes no time."""
    for table in known.steps.tables:
        name = table_name(table)
        there = session.value(f"SELECT to_regclass({literal(name)}) IS NOT NULL")
        if there and session.value(f"SELECT EXISTS (SELECT FROM {name})"):
            return False
    return True


def is_fresh(session: Session, known: Known, run: str, *, alone: bool = True) -> bool:
    """Whether the database is being created: this run expanded it, and it has no releases, rows or other sessions.

    A new developer's `alembic upgrade heads`, or a test's, then runs expand and contract at once. Without `alone` other
    sessions may be there, as in a test with an open pool.
    """
    if (
        known.run != run
        or session.value(f"SELECT EXISTS (SELECT FROM {SCHEMA}.release)")
        or not is_empty(session, known)
    ):
        return False
    if not alone:
        return True
    others = session.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend' AND application_name <> 'deploykit migrations'"
    )
    return not others


class Gate:
    """Decides on contracts, and stores overrides in the ledger."""

    def __init__(self, session: Session, state: State) -> None:
        self._session, self._state = session, state

    def open(self, known: Known, *, run: str, override: str = "") -> list[str]:
        """Return the reasons against a contract. When there are none, the ledger then has the override, if any."""
        if is_fresh(self._session, known, run):
            return []
        against = reasons(self._session, self._state, known)
        reason = override or os.environ.get(OVERRIDE, "").strip()
        if against and reason and known.phase == "filled":
            self._state.event(known.key, "override", f"{reason} [{'; '.join(against)}]")
            return []
        return against


def in_sql(key: str) -> str:
    """Return a block for `--sql` that raises if it runs too early, and else runs the program stored at expand."""
    name = literal(key)
    body = f"""
DECLARE
  this record;
  step jsonb;
  statement text;
  soak float8 := coalesce((SELECT value FROM {SCHEMA}.setting WHERE name = 'soak'), {literal(_DEFAULTS["soak"])})::float8;
  need text;
  bad bigint;
  usual text := current_setting('search_path');
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  SELECT pg_catalog.string_agg(others.said, '; ') INTO need FROM ({who_may_interfere(())}) others (said, remedy);
  PERFORM pg_catalog.set_config('search_path', usual, true);
  IF need IS NOT NULL THEN RAISE EXCEPTION '%', need; END IF;
  SELECT * INTO this FROM {SCHEMA}.change WHERE key = {name} FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'the change {key} was never expanded'; END IF;
  IF this.phase = 'contracted' THEN RETURN; END IF;
  IF this.phase <> 'filled' THEN RAISE EXCEPTION 'the change {key} is %: its rows are not all there', this.phase; END IF;
  IF this.verified_at IS NULL AND jsonb_path_exists(this.steps::jsonb, '$.fill[*] ? (@.is == "comparison")') THEN
    RAISE EXCEPTION 'the rows of {key} were not compared'; END IF;
  SELECT string_agg(format, '; ') INTO need FROM ({_naming(key)}) named;
  IF need IS NOT NULL THEN RAISE EXCEPTION '%', need; END IF;
  SELECT string_agg(r.version, ', ') INTO need FROM {SCHEMA}.release r WHERE r.running AND {_lacks(key)};
  IF need IS NOT NULL THEN RAISE EXCEPTION 'the change {key} is needed in its old shape by %', need; END IF;
  IF extract(epoch FROM now() - greatest(this.filled_at, (SELECT max(coalesce(ended_at, seen_at)) FROM {SCHEMA}.release r
      WHERE NOT r.running AND {_lacks(key)}))) < soak THEN RAISE EXCEPTION 'the change {key} still soaks'; END IF;
  IF (SELECT value FROM {SCHEMA}.setting WHERE name = 'restore_wanted') = 'yes'
      AND coalesce((SELECT value FROM {SCHEMA}.setting WHERE name = 'restore_waived'), '') = ''
      AND coalesce((SELECT max(taken_at) FROM {SCHEMA}.restore_point), '-infinity') < now() - make_interval(secs =>
        coalesce((SELECT value FROM {SCHEMA}.setting WHERE name = 'restore_age'), {literal(_DEFAULTS["restore_age"])})::float8)
      THEN RAISE EXCEPTION 'the change {key} wants a newer restore point'; END IF;
  PERFORM set_config('search_path', this.search_path, true);
  FOR step IN SELECT value FROM jsonb_array_elements(this.steps::jsonb -> 'fill') WHERE value ->> 'is' = 'comparison' LOOP
    EXECUTE format('SELECT count(*) FROM %I.%I source WHERE (%s) IS NOT TRUE', step #>> '{{table,schema}}',
      step #>> '{{table,name}}', step ->> 'agree') INTO bad;
    IF bad > 0 THEN RAISE EXCEPTION '% rows of {key} differ: invoke db.verify names them', bad; END IF;
  END LOOP;
  SET LOCAL lock_timeout = '900ms';
  FOR step IN SELECT jsonb_array_elements(this.steps::jsonb -> 'contract') LOOP
    IF (step ->> 'alone')::boolean THEN RAISE EXCEPTION '{key} has a statement that runs outside a transaction: use invoke db.contract'; END IF;
    FOR statement IN SELECT jsonb_array_elements_text(step -> 'statements') LOOP EXECUTE statement; END LOOP;
  END LOOP;
  PERFORM set_config('search_path', usual, true);
  UPDATE {SCHEMA}.change SET phase = 'contracted', contracted_at = now() WHERE key = {name};
END"""
    return f"DO $deploykit_gate${body}\n$deploykit_gate$"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
