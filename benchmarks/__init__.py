"""Where the figures of the README come from: `nox -s bench`, or `python -m benchmarks`."""
