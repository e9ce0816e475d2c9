"""Small catalogues and bidders for unit tests: one call, sensible defaults, everything else by keyword."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from campaign_express.bidder import Bidder
from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Catalog,
    Creative,
    Exchange,
    Flight,
    Goal,
    GoalType,
    Media,
    NativeContent,
    Targeting,
)
from campaign_express.bidding.privacy import PrivacyPolicy, gdpr_countries
from campaign_express.frames import Answer, Ask
from campaign_express.openrtb.notices import NoticeSigner
from campaign_express.ports import DeviceFacts, GeoFacts

WALL_MS = int(datetime(2026, 7, 1, 12, 0, tzinfo=UTC).timestamp() * 1000)  # a Wednesday
USD = 1_000_000
# Requests of tests mostly name no country: of those a test says with `regs.gdpr` whether the GDPR applies.
POLICY = PrivacyPolicy(
    0, gdpr_countries("eea=applies,GB=applies,CH=applies,unknown=does-not-apply,other=does-not-apply")
)


class ConstantScorer:
    """pCTR 1 %, pCVR 10 %: expected values can be worked out by hand."""

    version = "constant"

    def __init__(self, pctr: float = 0.01, pcvr: float = 0.1) -> None:
        self.pctr, self.pcvr = pctr, pcvr

    def embed(self, creative_cat: Any) -> Any:
        return creative_cat.astype(np.float32)

    def score(self, request_cat: Any, request_num: Any, creative: Any, row: Any) -> tuple[Any, Any]:
        assert request_cat.shape[0] == request_num.shape[0]
        assert creative.shape[0] == row.shape[0]
        return np.full(row.shape, self.pctr, np.float32), np.full(row.shape, self.pcvr, np.float32)


class FixedFacts:
    """An enricher that knows what the test tells it."""

    def __init__(
        self,
        device: DeviceFacts | None = None,
        geo: GeoFacts | None = None,
        data_centers: Sequence[str] = (),
        sellers: dict[str, bool] | None = None,
    ) -> None:
        self._device = device or DeviceFacts()
        self._geo = geo or GeoFacts()
        self._data_centers = frozenset(data_centers)
        self._sellers = sellers or {}

    def device(self, user_agent: str) -> DeviceFacts:
        return self._device

    def geo(self, ip: str) -> GeoFacts:
        return self._geo

    def is_data_center(self, ip: str) -> bool:
        return ip in self._data_centers

    def seller_authorised(self, domain_or_bundle: str, exchange: str, publisher_id: str) -> bool | None:
        return self._sellers.get(domain_or_bundle)


def banner(id: str = "k", w: int = 300, h: int = 250, **fields: Any) -> Creative:
    return Creative(
        id=id,
        media=Media.BANNER,
        w=w,
        h=h,
        landing="https://brand.example/",
        html='<a href="{CLICK_URL}">x</a>',
        **fields,
    )


def video(id: str = "k", **fields: Any) -> Creative:
    defaults: dict[str, Any] = {
        "w": 640,
        "h": 360,
        "asset": "https://cdn.example/a.mp4",
        "mime": "video/mp4",
        "duration": 15,
        "bitrate": 1000,
    }
    return Creative(id=id, media=Media.VIDEO, landing="https://brand.example/", **{**defaults, **fields})


def audio(id: str = "k", **fields: Any) -> Creative:
    defaults: dict[str, Any] = {
        "asset": "https://cdn.example/a.mp3",
        "mime": "audio/mpeg",
        "duration": 30,
        "bitrate": 128,
    }
    return Creative(id=id, media=Media.AUDIO, landing="https://brand.example/", **{**defaults, **fields})


def native(id: str = "k", **fields: Any) -> Creative:
    content = NativeContent(
        title="A title",
        description="Some words",
        sponsored="Brand",
        image="https://cdn.example/a.jpg",
        image_w=1200,
        image_h=627,
        icon="https://cdn.example/i.png",
        icon_w=80,
        icon_h=80,
    )
    return Creative(id=id, media=Media.NATIVE, landing="https://brand.example/", **{"native": content, **fields})


def campaign(
    id: str = "c", *creatives: Creative, cpm: float = 2.0, goal: Goal | None = None, **fields: Any
) -> Campaign:
    """An active campaign with a CPM goal unless told otherwise. Creative ids are prefixed so that they are unique."""
    made = creatives or (banner(),)
    defaults: dict[str, Any] = {
        "advertiser": "brand",
        "flight": Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        "max_bid": 50 * USD,
    }
    return Campaign(
        id=id,
        goal=goal or Goal(type=GoalType.CPM, bid=round(cpm * USD)),
        creatives=tuple(msgspec.structs.replace(k, id=f"{id}-{k.id}") for k in made),
        **{**defaults, **fields},
    )


def targeted(targeting: Targeting, *creatives: Creative, **fields: Any) -> Campaign:
    return campaign("c", *creatives, targeting=targeting, **fields)


BRAND = Advertiser(id="brand", name="Brand", domain="brand.example", categories=("IAB2-1",))


def catalog(*campaigns: Campaign, advertisers: Sequence[Advertiser] = (BRAND,)) -> Catalog:
    return Catalog(advertisers=tuple(advertisers), campaigns=campaigns or (campaign(),))


def bidder(
    *campaigns: Campaign,
    advertisers: Sequence[Advertiser] = (BRAND,),
    exchanges: Sequence[Exchange] = (Exchange(name="x"),),
    scorer: Any = None,
    facts: FixedFacts | None = None,
    policy: PrivacyPolicy | None = None,
    **fields: Any,
) -> Bidder:
    """A bidder whose default exchange is the first of `exchanges`."""
    return Bidder(
        catalog=catalog(*campaigns, advertisers=advertisers),
        exchanges={exchange.name: exchange for exchange in exchanges},
        default_exchange=exchanges[0].name,
        rates=load_rates(),
        scorer=scorer or ConstantScorer(),
        enricher=facts or FixedFacts(),
        privacy=policy or POLICY,
        signer=NoticeSigner([("k1", bytes(range(32)))], "https://bid.example"),
        **{"max_candidates": 256, "max_decompressed_bytes": 1 << 20, "tmax_reserve_ms": 10, **fields},
    )


def request(**fields: Any) -> dict[str, Any]:
    """A bid request with one 300x250 banner, unless told otherwise."""
    return {"id": "r1", "imp": [imp()], **fields}


def imp(id: str = "1", **fields: Any) -> dict[str, Any]:
    media = {"banner", "video", "audio", "native"} & fields.keys()
    return {"id": id, **({} if media else {"banner": {"format": [{"w": 300, "h": 250}]}}), **fields}


def ask(body: dict[str, Any] | bytes, exchange: str = "", now_ns: int = 0, **fields: Any) -> Ask:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Ask(exchange, now_ns, raw, **fields)


def answer(
    of: Bidder, body: dict[str, Any] | bytes, exchange: str = "", wall_ms: int = WALL_MS, **fields: Any
) -> Answer:
    return of.answer([ask(body, exchange, **fields)], 0, wall_ms).answers[0]


def bids(of: Bidder, body: dict[str, Any], exchange: str = "", wall_ms: int = WALL_MS) -> list[dict[str, Any]]:
    """Bids of the response, [] for a no-bid."""
    found = answer(of, body, exchange, wall_ms)
    assert found.status in (200, 204), found
    if not found.body:
        return []
    return [bid for seat in msgspec.json.decode(found.body).get("seatbid", []) for bid in seat["bid"]]


def reason(of: Bidder, body: dict[str, Any], exchange: str = "", wall_ms: int = WALL_MS) -> str | None:
    """Name of the no-bid reason, None for a bid."""
    from campaign_express.openrtb.nobid import BY_INDEX

    index = answer(of, body, exchange, wall_ms).reason
    return None if index < 0 else BY_INDEX[index].value
