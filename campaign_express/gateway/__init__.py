"""The data plane: requests in, batches to agents, answers out.

Moves bytes: no bidding logic, and no JSON is parsed here.
"""
