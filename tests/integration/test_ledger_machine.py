"""The same random play on a ledger in a real Redis: it has to answer as the reference does, to the micro."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from campaign_express.adapters.ledger import Ledger
from tests.support.ledger_machine import ADVERTISER, REMEMBER_S, SETTLE_S, MoneyMachine, accounts


@pytest.fixture
def ledger(valkey: str) -> Iterator[Ledger]:
    made = Ledger(valkey, accounts(), settle_s=SETTLE_S, remember_s=REMEMBER_S)
    yield made
    made.close()


def test_any_interleaving_leaves_the_same_books(ledger: Ledger) -> None:
    class InRedis(MoneyMachine):
        def __init__(self) -> None:
            super().__init__()
            ledger.forget(ADVERTISER)
            fence = ledger.fences([ADVERTISER])[ADVERTISER]
            assert ledger.set_fence(ADVERTISER, fence.run_id)
            self.second = ledger

    run_state_machine_as_test(
        InRedis,
        settings=settings(
            max_examples=1000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
