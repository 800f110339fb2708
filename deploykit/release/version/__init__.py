"""One version of an app: how it is run, its variables, its sources, and what the ledger knows of it."""
