"""Upgrade and loss on a Ray cluster of several nodes: what exchanges notice of it through HAProxy."""

from __future__ import annotations

import pytest

from benchmarks import losses
from benchmarks.losses import Losses
from tests.support.namespaces import needs_namespaces


@pytest.fixture(scope="module")
def happened() -> Losses:
    needs_namespaces()
    return losses.run()


@pytest.mark.timeout(300)
def test_a_new_version_rolls_through_the_cells_and_fails_no_request(happened: Losses) -> None:
    assert happened.upgrade.served.failed == 0, happened.upgrade.served.failures
    assert happened.upgrade.served.sent > 500


def test_the_cell_of_a_lost_node_comes_back_elsewhere_and_the_others_carry_on(happened: Losses) -> None:
    assert happened.untouched == losses.CELLS - 1
    assert happened.node.served.failed == 0, happened.node.served.failures
    assert happened.node.took_s < losses.BACK_S


def test_cells_answer_while_the_head_is_away_and_are_the_same_afterwards(happened: Losses) -> None:
    assert happened.head.took_s > losses.HEAD_AWAY_S
    assert happened.head.served.failed == 0, happened.head.served.failures
    assert 0 < happened.most_resident_mb < 6_000
