"""A catalogue as it is written, for tests that change something in it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bidding.catalog import (
    load_catalog,
    parse_catalog,
)
from campaign_express.bidding.exchanges import load_exchanges
from campaign_express.errors import CatalogError

ROOT = Path(__file__).resolve().parent.parent.parent


EXAMPLES = Path(str(files("campaign_express").joinpath("data", "examples")))


BANNER = {
    "id": "b1",
    "media": "banner",
    "w": 300,
    "h": 250,
    "image": "https://cdn.acme.example/1.png",
    "landing": "https://acme.example/",
}


VIDEO = {
    "id": "v1",
    "media": "video",
    "w": 640,
    "h": 360,
    "asset": "https://cdn.acme.example/1.mp4",
    "mime": "video/mp4",
    "duration": 15,
    "landing": "https://acme.example/",
}


AUDIO = {
    "id": "a1",
    "media": "audio",
    "asset": "https://cdn.acme.example/1.mp3",
    "mime": "audio/mpeg",
    "duration": 20,
    "landing": "https://acme.example/",
}


NATIVE = {"id": "n1", "media": "native", "landing": "https://acme.example/", "native": {"title": "Hello"}}


def raw(**changes: Any) -> dict[str, Any]:
    """A good catalogue of one campaign, with some of the campaign's keys changed (None: left out)."""
    campaign: dict[str, Any] = {
        "id": "spring-sale",
        "advertiser": "acme",
        "flight": {"start": "2026-01-01", "end": "2026-06-30"},
        "goal": {"type": "cpm", "bid": 2.5},
        "max_bid": "4.00",
        "creatives": [dict(BANNER)],
    }
    campaign.update(changes)
    return {
        "advertisers": [{"id": "acme", "name": "Acme", "domain": "acme.example", "categories": ["IAB1"]}],
        "campaigns": [{key: value for key, value in campaign.items() if value is not None}],
    }


def problems(value: Any, **options: Any) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(value, **options)
    return list(caught.value.problems)


# There and back.


def example() -> Any:
    return load_catalog(EXAMPLES / "catalog.yaml", load_exchanges(EXAMPLES / "exchanges.yaml"))
