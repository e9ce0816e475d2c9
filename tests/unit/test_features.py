"""The feature schema: pinned encodings, bounds, privacy, memory, and docs/model.md against the code."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding import features
from campaign_express.bidding.context import Context
from campaign_express.bidding.impression import Slot
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Creative,
    Exchange,
    Flight,
    Goal,
    GoalType,
    Inventory,
    Media,
)
from campaign_express.bidding.privacy import Consent
from campaign_express.openrtb.request import Banner, BidRequest, Imp, Video

ROOT = Path(__file__).resolve().parents[2]
FREE = Consent(identify=True, personalise=True, measure=True, reason="", query="")
CONTEXTUAL = Consent(identify=True, personalise=False, measure=True, reason="coppa", query="")
UNIDENTIFIED = Consent(identify=False, personalise=True, measure=True, reason="gdpr-no-consent", query="")
ROWS = {
    **features.bases(features.REQUEST_SCHEMA),
    **features.bases(features.CREATIVE_SCHEMA),
}


def context(**changes: Any) -> Context:
    c = Context()
    values = {
        "request": BidRequest(id="r", imp=(Imp(id="1", banner=Banner()),)),
        "exchange": Exchange(name="default"),
        "consent": FREE,
        "inventory": Inventory.SITE,
        "domain": "news.example",
        "bundle": "",
        "publisher": "pub-1",
        "categories": ("IAB12", "IAB1"),
        "country": "USA",
        "region": "CA",
        "city": "fresno",
        "device_type": 4,
        "os": "android",
        "browser": "chrome mobile",
        "connection": 2,
        "language": "en",
        "user_id": "u-1",
        "segments": ("s1", "s2"),
        "eid_sources": ("id.example",),
        "utc_hour": 30,
        "user_hour": 22,
        **changes,
    }
    for name, value in values.items():
        setattr(c, name, value)
    return c


def slot(**changes: Any) -> Slot:
    values: dict[str, Any] = {
        "imp": Imp(id="1", banner=Banner(), tagid="top"),
        "index": 0,
        "kinds": 1,
        "sizes": ((300, 250), (728, 90)),
        "position": 1,
        "floor_micros": 1_500_000,
        "interstitial": False,
        "rewarded": False,
        "secure": True,
        **changes,
    }
    return Slot(**values)


def buckets(row: tuple[int, ...], schema: tuple[features.Categorical, ...]) -> dict[str, int]:
    """Bucket by feature name; fails where an index is outside its feature's rows."""
    assert len(row) == len(schema)
    out = {}
    for index, feature in zip(row, schema, strict=True):
        out[feature.name] = index - ROWS[feature.name]
        assert 0 <= out[feature.name] < feature.buckets, feature.name
    return out


def encoded(c: Context, s: Slot) -> dict[str, float]:
    categorical, numeric = features.request_features(c, s)
    return {
        **buckets(categorical, features.REQUEST_SCHEMA),
        **dict(zip(features.REQUEST_NUMERIC, numeric, strict=True)),
    }


ADVERTISER = Advertiser(id="acme", name="Acme", domain="acme.example", categories=("IAB3",))


def campaign(**changes: Any) -> Campaign:
    values: dict[str, Any] = {
        "id": "spring",
        "advertiser": "acme",
        "flight": Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        "goal": Goal(type=GoalType.CPC, bid=500_000),
        "max_bid": 5_000_000,
        "creatives": (creative(),),
    }
    return Campaign(**(values | changes))


def creative(**changes: Any) -> Creative:
    values: dict[str, Any] = {"id": "c1", "media": Media.BANNER, "w": 300, "h": 250, "landing": "https://acme.example/"}
    return Creative(**(values | changes))


# If one of the next two fails because an encoding was meant to change, raise features.REVISION, put the new values
# here, and build the shipped model again (docs/model.md): models made before must no longer load.


def test_pinned_request() -> None:
    assert features.REVISION == "ce1"
    assert encoded(context(), slot()) == {
        "exchange": 28,
        "inventory": 1,
        "domain": 2581,
        "bundle": 0,
        "publisher": 3131,
        "category": 142,
        "country": 266,
        "region": 647,
        "city": 292,
        "device_type": 4,
        "os": 31,
        "browser": 15,
        "connection": 2,
        "language": 21,
        "hour": 23,
        "user": 4,
        "tag": 675,
        "size": 320,
        "position": 1,
        "media": 1,
        "placement": 0,
        "format": 1,
        "segments": 0.0625,
        "eids": 0.125,
        "log_floor": 0.22907268296853878,
        "sizes": 0.25,
    }


def test_pinned_creative() -> None:
    assert buckets(features.creative_features(creative(), campaign(), ADVERTISER), features.CREATIVE_SCHEMA) == {
        "advertiser": 1476,
        "campaign": 3459,
        "creative": 5184,
        "ad_category": 378,
        "ad_size": 399,
        "ad_format": 1,
        "goal": 2,
    }


def test_unknown_is_bucket_0() -> None:
    nothing = context(
        exchange=Exchange(name="x"), consent=FREE, inventory=None, domain="", publisher="", categories=(), country="",
        region="", city="", device_type=0, os="", browser="", connection=0, language="", user_id="", segments=(),
        eid_sources=(),
    )  # fmt: skip
    empty = slot(imp=Imp(id="1"), kinds=0, sizes=(), position=0, floor_micros=0)
    got = encoded(nothing, empty)
    known = {name for name, value in got.items() if value}
    assert known == {"exchange", "hour", "user", "format"}


@pytest.mark.parametrize("code", [-1, 16, 2**31 - 1, -(2**31)])
def test_unlisted_codes_are_unknown(code: int) -> None:
    got = encoded(context(device_type=code, connection=code), slot(position=code))
    assert (got["device_type"], got["connection"], got["position"]) == (0, 0, 0)


@pytest.mark.parametrize("consent", [CONTEXTUAL, UNIDENTIFIED])
def test_contextual_uses_nothing_of_the_user(consent: Consent) -> None:
    with_user = encoded(context(consent=consent), slot())
    without = encoded(context(consent=consent, user_id="", segments=(), eid_sources=(), city=""), slot())
    assert with_user == without
    assert (with_user["user"], with_user["city"], with_user["segments"], with_user["eids"]) == (0, 0, 0.0, 0.0)
    assert encoded(context(), slot()) != with_user


def test_hour_is_the_users_where_known() -> None:
    assert encoded(context(user_hour=0), slot())["hour"] == 1
    assert encoded(context(user_hour=167), slot())["hour"] == 168
    assert encoded(context(user_hour=-1, utc_hour=0), slot())["hour"] == 169
    assert encoded(context(user_hour=-1, utc_hour=167), slot())["hour"] == 336


def test_a_region_means_something_only_in_its_country() -> None:
    assert encoded(context(country="USA"), slot())["region"] != encoded(context(country="CAN"), slot())["region"]


def test_a_tag_means_something_only_at_its_publisher() -> None:
    assert encoded(context(publisher="a"), slot())["tag"] != encoded(context(publisher="b"), slot())["tag"]


def test_video_placement_and_format() -> None:
    video = Imp(id="1", video=Video(plcmt=2))
    got = encoded(context(), slot(imp=video, kinds=2, interstitial=True, rewarded=True))
    assert (got["placement"], got["media"], got["format"]) == (2, 2, 4)


def test_parts_join_to_the_whole() -> None:
    c, s = context(), slot()
    assert features.join(features.request_part(c), features.slot_part(c, s)) == features.request_features(c, s)


def test_stack_is_the_rows_below_each_other() -> None:
    parts = [features.request_features(context(domain=f"{i}.example"), slot(floor_micros=i * 10**6)) for i in range(3)]
    categorical, numeric = features.stack(parts)
    assert categorical.dtype == np.int64
    assert numeric.dtype == np.float32
    assert categorical.tolist() == [list(part[0]) for part in parts]
    np.testing.assert_allclose(numeric, [part[1] for part in parts])


@given(
    st.builds(
        context,
        domain=st.text(max_size=300),
        bundle=st.text(max_size=20),
        publisher=st.text(max_size=20),
        country=st.text(max_size=4),
        region=st.text(max_size=4),
        city=st.text(max_size=9),
        device_type=st.integers(),
        connection=st.integers(),
        categories=st.lists(st.text(max_size=6), max_size=3).map(tuple),
        segments=st.lists(st.text(max_size=3), max_size=50).map(tuple),
        consent=st.sampled_from([FREE, CONTEXTUAL, UNIDENTIFIED]),
    ),
    st.builds(
        slot,
        position=st.integers(),
        kinds=st.integers(0, 15),
        floor_micros=st.integers(-1, 10**15),
        sizes=st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)), max_size=20).map(tuple),
    ),
)
def test_every_request_stays_in_its_rows(c: Context, s: Slot) -> None:
    got = encoded(c, s)
    assert all(-1e-6 < got[name] <= 10 for name in features.REQUEST_NUMERIC)  # a floor of -1 micro: currency unknown


def test_a_lone_surrogate_is_no_failure() -> None:
    assert encoded(context(domain="a\ud800"), slot())["domain"] > 0


def test_memos_are_bounded() -> None:
    first = encoded(context(domain="first.example"), slot())["domain"]
    for i in range(3 * features._MEMO_ENTRIES):
        encoded(
            context(domain=f"{i}.example", publisher=f"p{i}", city=f"c{i}"),
            slot(sizes=((i + 1, 1),), imp=Imp(id="1", tagid="" if i % 2 else "t")),
        )
    encoded(context(domain="x" * 100_000), slot())
    memos = [value for value in vars(features).values() if isinstance(value, features._Hashed)]
    assert len(memos) == 12
    assert all(len(memo) <= features._MEMO_ENTRIES for memo in memos)
    assert all(len(memo.spell(key)) <= features._MEMO_TEXT_LENGTH for memo in memos for key in memo)
    assert encoded(context(domain="first.example"), slot())["domain"] == first


def test_creative_features() -> None:
    def of(c: Creative, k: Campaign, a: Advertiser = ADVERTISER) -> dict[str, int]:
        return buckets(features.creative_features(c, k, a), features.CREATIVE_SCHEMA)

    base = of(creative(), campaign())
    assert base["ad_category"] == features.bucket("ad_category", "1:IAB3")
    assert of(creative(), campaign(categories=("IAB4",)))["ad_category"] == features.bucket("ad_category", "1:IAB4")
    assert of(creative(), campaign(), Advertiser(id="a", name="a", domain="a.example"))["ad_category"] == 0
    assert of(creative(w=0, h=0), campaign())["ad_size"] == 0
    assert of(creative(), campaign(id="autumn"))["creative"] != base["creative"]
    assert of(creative(media=Media.VIDEO, duration=15), campaign())["ad_format"] == 16 + 1 + 3
    assert of(creative(media=Media.AUDIO, duration=3600), campaign())["ad_format"] == 32 + 1 + 14


def test_another_process_encodes_the_same() -> None:
    code = "from campaign_express.bidding.features import bucket, SCHEMA_VERSION as v; print(bucket('domain', 'é'), v)"
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert out.stdout.split() == [str(features.bucket("domain", "é")), features.SCHEMA_VERSION]


def test_version_follows_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = (features.Categorical("exchange", 65, "hash", ""), *features.REQUEST_SCHEMA[1:])
    monkeypatch.setattr(features, "REQUEST_SCHEMA", changed)
    assert features._schema_version() != features.SCHEMA_VERSION


def test_docs_hold_the_schema() -> None:
    text = (ROOT / "docs" / "model.md").read_text()
    rows = [
        tuple(cell.strip() for cell in line.strip("| \n").split("|"))
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    documented = {(row[0].strip("`"), *row[1:]) for row in rows if len(row) == 4}
    expected = {
        (f.name, str(f.buckets), f.encoding, f.source) for f in (*features.REQUEST_SCHEMA, *features.CREATIVE_SCHEMA)
    } | {(f.name, "", f.scale, f.source) for f in features.REQUEST_NUMBERS}
    assert documented == expected
    assert re.search(rf"`{re.escape(features.SCHEMA_VERSION)}`", text)
