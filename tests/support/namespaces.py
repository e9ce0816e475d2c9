"""What tests of whole clusters need of the machine."""

from __future__ import annotations

from benchmarks import namespace
from tests.conftest import absent


def needs_namespaces() -> None:
    """Skips, or fails where everything is required, with the reason why namespaces cannot be made."""
    try:
        namespace.command()
    except RuntimeError as error:
        absent(f"permission to make PID and network namespaces ({error})")
