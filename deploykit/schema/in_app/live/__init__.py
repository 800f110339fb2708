"""Declared changes on a database: their ledger, short locks, backfill, comparison, and the gate before contract."""
