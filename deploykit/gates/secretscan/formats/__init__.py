"""Credential formats that a small parser reads, each a rule with an example that is one and an example that is none."""

from __future__ import annotations

from deploykit.gates.secretscan.formats import (
    account_files,
    config_values,
    ftp_sites,
    key_files,
    sql_dumps,
    yaml_values,
)
from deploykit.gates.secretscan.formats.interface import FormatRule, Place

__all__ = ["FORMATS", "FormatRule", "Place"]

FORMATS: tuple[FormatRule, ...] = (
    *account_files.RULES,
    *key_files.RULES,
    *ftp_sites.RULES,
    *sql_dumps.RULES,
    *yaml_values.RULES,
    *config_values.RULES,
)
