"""Declared changes on SQLite, where one version runs at a time: no sync, no batches, no gate."""
