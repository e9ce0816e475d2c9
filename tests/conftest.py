"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from campaign_express import compiled

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = os.environ.get("CAMPAIGN_EXPRESS_REQUIRE_ALL") == "1"


def absent(what: str) -> None:
    """Skip for want of `what`, or fail where everything is required (CI)."""
    if REQUIRE_ALL:
        pytest.fail(f"{what} is required here and is absent")
    pytest.skip(f"{what} is absent")


class Sharing(LoadScopeScheduling):
    """Which tests stay together when they run in two processes (`-n 2`): those of a file, and all that start Ray.

    Groups by node id, since marks of groups do not reach xdist with this pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "ray" if "tests/e2e/" in file else file


def pytest_configure(config: pytest.Config) -> None:
    """Tests look into what machine code does not show; `integration/test_compiled_copy.py` runs those that fit both."""
    if (compiled.is_compiled() or compiled.stale(ROOT)) and "TEST_COMPILED" not in os.environ:
        raise pytest.UsageError("the hot path is compiled here, and tests are of plain Python: make uncompile")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    return Sharing(config, log)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real bid requests and schemas, outside the repository."""
    path = Path(os.environ.get("CAMPAIGN_EXPRESS_SHARED", ROOT.parent / "shared"))
    if not (path / "openrtb" / "requests.jsonl").exists():
        absent(f"shared data at {path}")
    return path
