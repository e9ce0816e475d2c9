"""The event pipeline: events from JetStream into tables, each once in effect. docs/pipeline.md."""
