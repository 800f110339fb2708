"""The coverage gate: the total, packages and changed lines against their minimum."""
