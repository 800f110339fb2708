"""Declared changes where no two versions run at once: SQLite on a developer's machine. No sync, no batches, no gate."""
