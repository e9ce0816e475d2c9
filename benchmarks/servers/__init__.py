"""The servers under test, each a module that runs one: `python -m benchmarks.servers.<name> --port N ...`."""
