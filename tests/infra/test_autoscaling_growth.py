"""Ray's own autoscaler adds nodes for cells under load and takes them away after it, and no bid fails meanwhile."""

from __future__ import annotations

import pytest

from benchmarks import autoscale
from tests.support.namespaces import needs_namespaces


@pytest.mark.timeout(300)
def test_one_node_grows_to_three_under_load_and_shrinks_again() -> None:
    needs_namespaces()
    seen = autoscale.grow()
    nodes = [nodes for _, nodes, _ in seen.course]
    assert max(nodes) == 3
    assert nodes[-1] == 1
    assert seen.served.failed == 0, seen.served.failures
    # While nodes start on the same cores a request may be late, which is a no-bid in time and no failure.
    assert seen.served.bids > 0.95 * seen.served.sent > 1_000
    assert 0 < seen.most_resident_mb < 6_000
