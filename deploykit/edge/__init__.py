"""The proxy in front of the app: weights, drain, per-version counts and latencies."""
