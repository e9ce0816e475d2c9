"""Campaign Express: a real-time bidder as an actor system on Ray. `docs/architecture.md` says how its parts fit."""

__version__ = "0.1.0"
