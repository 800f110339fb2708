"""Declared changes: what each comes to in SQL, by phase. Reads the catalog, changes nothing."""
