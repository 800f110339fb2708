"""How progress and results are reported."""
