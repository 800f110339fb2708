"""Plan, preflight, build, migrate, roll out, verify, record: the one place that wires the lower floors together."""
