"""Ray imports pyarrow into every worker where it is installed, for tables that no agent has: 25 MB and more of each."""

raise ModuleNotFoundError("agents run without pyarrow", name="pyarrow")
