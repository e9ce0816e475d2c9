"""The data plane: requests in, batches to agents, answers out.

Moves bytes: no bidding logic, and no request is parsed here but for the id of one that is turned away (`nobids.py`).
"""
