"""Measurements: `make bench`, or one by one, `python -m benchmarks.speed --help`."""
