"""What becomes of the money after a bid: events applied to the ledger, leases swept, pace set, spend watched. No Ray."""
