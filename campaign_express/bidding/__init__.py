"""The decision: pure, synchronous, no clock, no I/O, no Ray. Read `pipeline.py` first."""
