"""docs/ledger.md names every key of the ledger's scripts, every script, and what a user needs of Redis."""

from __future__ import annotations

import re

import pytest

from campaign_express.adapters.ledger import KEEP_DAYS_S, KEEP_HOURS_S, LATEST_S, REMEMBER_S
from campaign_express.config import Settings
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "ledger.md").read_text()
SCRIPTS = {path.stem: path.read_text() for path in (ROOT / "campaign_express/adapters/lua").glob("ledger_*.lua")}


def names(pattern: str) -> set[str]:
    return {name for source in SCRIPTS.values() for name in re.findall(pattern, source)}


def test_every_key() -> None:
    keys = names(r"key\('([a-z]+)'\)") | names(r"add\('([a-z]+)'") | names(r"field\('([a-z]+)'")
    assert len(keys) >= 8
    for key in keys:
        assert f"`{{A}}:{key}`" in TEXT, key
    prefixes = names(r"'([a-z]+:)' \.\.") - {"n:", "micros:"}  # those are fields
    assert prefixes == {"lease:", "bids:", "lost:"}
    for prefix in prefixes:
        assert f"`{{A}}:{prefix}<" in TEXT, prefix


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - {"ledger_common"}))
def test_every_script(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_every_flow() -> None:
    for flow in names(r"count\('([a-z]+)'"):
        assert f"`{flow}`" in TEXT, flow


def test_how_long_things_are_kept() -> None:
    assert f"after {KEEP_HOURS_S // 86_400} days, days after {KEEP_DAYS_S // 86_400}" in TEXT
    kept = f"`notice_url_life_s` and {LATEST_S // 3600} hours after its hour, {REMEMBER_S // 3600} hours by default"
    assert f"deleted {kept}" in TEXT
    assert Settings().notice_url_life_s + LATEST_S == REMEMBER_S


def test_no_script_sets_a_ttl() -> None:
    for name, source in SCRIPTS.items():
        assert not re.search(r"EXPIRE|'EX'|'PX'", source), name
