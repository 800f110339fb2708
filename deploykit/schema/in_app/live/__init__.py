"""Performing declared changes on a database: the record of them, short locks, backfill, comparison, the gate before contract."""
