"""Every figure that the project claims, measured in one go: `python -m benchmarks` (see docs/benchmarks.md)."""
