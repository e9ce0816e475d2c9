"""The rules of money, played with at random on a ledger without Redis."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.support.ledger_machine import MoneyMachine

TestMoney = MoneyMachine.TestCase
TestMoney.settings = settings(
    max_examples=3000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
