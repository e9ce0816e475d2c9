"""What becomes of the money after a bid: events applied, leases swept, pace set, spend watched. No Ray."""
