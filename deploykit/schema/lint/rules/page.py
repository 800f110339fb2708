"""The rules as docs/migrations.md shows them: `python -m deploykit.schema.lint.rules.page` prints them."""

from __future__ import annotations

import sys

from deploykit.schema.lint.rules import GROUPS, Rule

__all__ = ["page"]


def page() -> str:
    """Return a table for each group of rules."""
    parts = []
    for title, rules in GROUPS.items():
        rows = [f"### {title}", "", "| rule | why | lock, and for how long | the safe way |", "|---|---|---|---|"]
        rows += [_row(rule) for rule in rules]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _row(rule: Rule) -> str:
    asked = "" if rule.on else " (only when enabled)"
    lock = f"`{rule.lock}`: {rule.how_long}" if rule.lock else ""
    code = "<br>".join(f"`{line.strip()}`" for line in rule.safe_way().splitlines())
    return f"| `{rule.id}`{asked} | {rule.why} | {lock} | {code} |".replace("||", "\\|\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
