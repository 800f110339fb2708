"""Declared changes on SQLite, where one version runs at a time on a developer's machine: no sync, no batches, no gate."""
