"""Measurements, each started as `python -m benchmarks.NAME` from the root; README.md lists them."""
