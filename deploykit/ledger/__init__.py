"""The ledger: journal, releases, evidence, timers, lock, in one hash chain."""
