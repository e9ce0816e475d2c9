"""A folder that stands first in an agent's PYTHONPATH: what is named here is absent there. See `agent.create`."""
