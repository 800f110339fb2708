"""Declared changes: the SQL of each, by phase. It reads the catalog and changes nothing."""
