"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = os.environ.get("CAMPAIGN_EXPRESS_REQUIRE_ALL") == "1"


def absent(what: str) -> None:
    """Skip for want of `what`, or fail where everything is required (CI)."""
    if REQUIRE_ALL:
        pytest.fail(f"{what} is required here and is absent")
    pytest.skip(f"{what} is absent")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real bid requests and schemas, outside the repository."""
    path = Path(os.environ.get("CAMPAIGN_EXPRESS_SHARED", ROOT.parent / "shared"))
    if not (path / "openrtb" / "requests.jsonl").exists():
        absent(f"shared data at {path}")
    return path
