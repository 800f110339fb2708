"""Find secrets: detect-secrets' findings, many times faster, and credential formats that it does not know."""
