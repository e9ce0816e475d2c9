"""What the model sees: one schema of features, shared by serving, logging and training.

A feature is a name, a number of buckets and an encoding. A categorical value becomes one row index of an embedding
table that all features of a side (request or creative) share: the feature's base + its bucket. So the model needs a
single Gather a side, and no arithmetic on indexes. Bucket 0 of every feature means "unknown". Encodings:

    code   the value is a small integer of a standard list (or made here); anything outside [0, buckets) is unknown
    hash   1 + crc32(value, seeded with the feature's name) mod (buckets - 1), the same in every process and release

Request features come in two parts, since a request's impressions share the first: `request_part` once a request,
`slot_part` once an impression; `join` makes one row of the two and `stack` a batch's arrays of its rows. Creative
features are computed when a catalogue is compiled.

Where the request is contextual (`bidding.privacy`), nothing that belongs to the user is looked at: user id, segments,
eids and city read as unknown.

`SCHEMA_VERSION` is made from the definition below, so a changed feature cannot keep the old version. A changed
meaning that the definition does not show (another divisor, another first category) must raise `REVISION`;
tests/unit/test_features.py pins encoded examples to catch one that does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log1p
from struct import Struct
from typing import TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding.context import Context
from campaign_express.bidding.impression import Slot, video_placement
from campaign_express.bidding.model import Advertiser, Campaign, Creative, GoalType, Inventory, Media

K = TypeVar("K")
REVISION = "ce1"
Part = tuple[tuple[int, ...], tuple[float, ...]]  # (categorical indexes, numeric values)


@dataclass(frozen=True, slots=True)
class Categorical:
    name: str
    buckets: int  # with bucket 0 = unknown
    encoding: str  # "code" or "hash"
    source: str  # where the value comes from, for docs/model.md


@dataclass(frozen=True, slots=True)
class Numeric:
    name: str
    scale: str  # the formula
    source: str


REQUEST_SCHEMA = (
    # Once a request.
    Categorical("exchange", 64, "hash", "exchange name"),
    Categorical("inventory", 4, "code", "1 site, 2 app, 3 DOOH"),
    Categorical("domain", 4096, "hash", "site, app or DOOH domain"),
    Categorical("bundle", 4096, "hash", "app bundle"),
    Categorical("publisher", 4096, "hash", "publisher id"),
    Categorical("category", 512, "hash", "first content category"),
    Categorical("country", 512, "hash", "country, alpha-3"),
    Categorical("region", 1024, "hash", "country and region"),
    Categorical("city", 2048, "hash", "country and city; unknown where contextual"),
    Categorical("device_type", 16, "code", "AdCOM device type"),
    Categorical("os", 64, "hash", "operating system"),
    Categorical("browser", 64, "hash", "browser"),
    Categorical("connection", 16, "code", "AdCOM connection type"),
    Categorical("language", 256, "hash", "device language"),
    Categorical("hour", 337, "code", "hour of week: 1..168 the user's, 169..336 UTC where the user's is unknown"),
    Categorical("user", 5, "code", "1 + (1 user id) + (2 segments); unknown where contextual"),
    # Once an impression.
    Categorical("tag", 4096, "hash", "publisher id and imp.tagid"),
    Categorical("size", 512, "hash", "first size offered"),
    Categorical("position", 16, "code", "AdCOM placement position"),
    Categorical("media", 16, "code", "media offered: banner 1 + video 2 + audio 4 + native 8"),
    Categorical("placement", 8, "code", "AdCOM video placement (plcmt, or the older placement)"),
    Categorical("format", 5, "code", "1 + (1 interstitial) + (2 rewarded)"),
)
REQUEST_NUMBERS = (
    Numeric("segments", "min(n, 32) / 32", "user segments; 0 where contextual"),
    Numeric("eids", "min(n, 8) / 8", "eid sources; 0 where contextual"),
    Numeric("log_floor", "ln(1 + floor in USD CPM) / 4", "floor"),
    Numeric("sizes", "min(n, 8) / 8", "sizes offered"),
)
CREATIVE_SCHEMA = (
    Categorical("advertiser", 2048, "hash", "advertiser id"),
    Categorical("campaign", 4096, "hash", "campaign id"),
    Categorical("creative", 8192, "hash", "campaign id and creative id"),
    Categorical("ad_category", 512, "hash", "taxonomy and first category of the campaign, else of the advertiser"),
    Categorical("ad_size", 512, "hash", "creative size"),
    Categorical("ad_format", 64, "code", "16 x (mtype - 1) + 1 + min(duration in s / 5, 14), rounded down"),
    Categorical("goal", 4, "code", "1 CPM, 2 CPC, 3 CPA"),
)

REQUEST_CATEGORICAL: tuple[str, ...] = tuple(f.name for f in REQUEST_SCHEMA)
REQUEST_NUMERIC: tuple[str, ...] = tuple(f.name for f in REQUEST_NUMBERS)
CREATIVE_CATEGORICAL: tuple[str, ...] = tuple(f.name for f in CREATIVE_SCHEMA)


def bases(schema: tuple[Categorical, ...]) -> dict[str, int]:
    """First table row of each feature of one side, by name."""
    out, base = {}, 0
    for feature in schema:
        out[feature.name] = base
        base += feature.buckets
    return out


REQUEST_ROWS = sum(f.buckets for f in REQUEST_SCHEMA)  # height of the request side's embedding table
CREATIVE_ROWS = sum(f.buckets for f in CREATIVE_SCHEMA)
_REQUEST_BASE = bases(REQUEST_SCHEMA)
_CREATIVE_BASE = bases(CREATIVE_SCHEMA)


def _schema_version() -> str:
    categorical = [(f.name, f.buckets, f.encoding) for f in (*REQUEST_SCHEMA, *CREATIVE_SCHEMA)]
    definition = repr((REVISION, len(REQUEST_SCHEMA), categorical, [(f.name, f.scale) for f in REQUEST_NUMBERS]))
    return f"{REVISION}-{hashlib.sha256(definition.encode()).hexdigest()[:12]}"


SCHEMA_VERSION: str = _schema_version()

# Values come from outside: a memo is emptied when full, and long values are not kept at all, so that no stream of
# made-up domains can make an agent grow.
_MEMO_ENTRIES = 4096
_MEMO_TEXT_LENGTH = 128
_JOIN = "\x1f"  # between the parts of a combined value; cannot be part of a real one


class _Hashed(dict[K, int]):
    """key -> table row of one hashed feature; remembers what it has seen. `spell` gives the text that is hashed."""

    __slots__ = ("base", "buckets", "seed", "spell")

    def __init__(self, feature: Categorical, base: int, spell: Callable[[K], str]) -> None:
        super().__init__()
        self.base = base
        self.buckets = feature.buckets
        self.seed = crc32(feature.name.encode())
        self.spell = spell

    def row(self, text: str) -> int:
        """Table row of a text."""
        if not text:
            return self.base
        # surrogatepass: JSON can carry a lone surrogate, which is no reason to fail
        return self.base + 1 + crc32(text.encode("utf-8", "surrogatepass"), self.seed) % (self.buckets - 1)

    def __missing__(self, key: K) -> int:
        text = self.spell(key)
        row = self.row(text)
        if len(text) <= _MEMO_TEXT_LENGTH and (text or not key):  # not the endless pairs that spell ""
            if len(self) >= _MEMO_ENTRIES:
                self.clear()
            self[key] = row
        return row


def _spell_pair(pair: tuple[str, str]) -> str:
    """A value that means something only within another (a region in its country); unknown where the inner one is."""
    return pair[0] + _JOIN + pair[1] if pair[1] else ""


def _spell_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


class _Coded(dict[int | None, int]):
    """code -> table row of one coded feature; unlisted codes are unknown and are not remembered."""

    __slots__ = ("base",)

    def __init__(self, feature: Categorical, base: int) -> None:
        super().__init__((code, base + code) for code in range(feature.buckets))
        self.base = base

    def __missing__(self, code: int | None) -> int:
        return self.base


_REQUEST = {f.name: f for f in REQUEST_SCHEMA}


def _hashed(name: str) -> _Hashed[str]:
    return _Hashed(_REQUEST[name], _REQUEST_BASE[name], str)


def _paired(name: str) -> _Hashed[tuple[str, str]]:
    return _Hashed(_REQUEST[name], _REQUEST_BASE[name], _spell_pair)


def _coded(name: str) -> _Coded:
    return _Coded(_REQUEST[name], _REQUEST_BASE[name])


_exchange, _domain, _bundle, _publisher = (
    _hashed("exchange"),
    _hashed("domain"),
    _hashed("bundle"),
    _hashed("publisher"),
)
_category, _country, _os, _browser = _hashed("category"), _hashed("country"), _hashed("os"), _hashed("browser")
_language, _region, _city = _hashed("language"), _paired("region"), _paired("city")
_tag = _hashed("tag").row  # of more values than are worth remembering
_size = _Hashed(_REQUEST["size"], _REQUEST_BASE["size"], _spell_size)
_device_type, _connection, _hour = _coded("device_type"), _coded("connection"), _coded("hour")
_position, _media, _placement = _coded("position"), _coded("media"), _coded("placement")
_UNKNOWN_REGION, _UNKNOWN_TAG = _REQUEST_BASE["region"], _REQUEST_BASE["tag"]
_UNKNOWN_CITY, _UNKNOWN_USER = _REQUEST_BASE["city"], _REQUEST_BASE["user"]
_UNKNOWN_INVENTORY, _FORMAT = _REQUEST_BASE["inventory"], _REQUEST_BASE["format"] + 1
_UNKNOWN_SIZE, _UNKNOWN_PLACEMENT = _REQUEST_BASE["size"], _REQUEST_BASE["placement"]
_SITE, _APP, _DOOH = Inventory.SITE, Inventory.APP, Inventory.DOOH  # an Enum's members are slow to look up


def request_part(context: Context) -> Part:
    """Features that all impressions of a request share. About 1.5 µs."""
    consent = context.consent
    country = context.country
    categories = context.categories
    inventory = context.inventory
    hour = context.user_hour
    city, user = _UNKNOWN_CITY, _UNKNOWN_USER
    segments = eids = 0
    if consent.identify and consent.personalise:
        if context.city:
            city = _city[country, context.city]
        segments, eids = len(context.segments), len(context.eid_sources)
        user += 1 + (1 if context.user_id else 0) + (2 if segments else 0)
    return (
        (
            _exchange[context.exchange.name],
            _UNKNOWN_INVENTORY
            + (1 if inventory is _SITE else 2 if inventory is _APP else 3 if inventory is _DOOH else 0),
            _domain[context.domain],
            _bundle[context.bundle],
            _publisher[context.publisher],
            _category[categories[0] if categories else ""],
            _country[country],
            _region[country, context.region] if context.region else _UNKNOWN_REGION,
            city,
            _device_type[context.device_type],
            _os[context.os],
            _browser[context.browser],
            _connection[context.connection],
            _language[context.language],
            _hour[1 + hour if hour >= 0 else 169 + context.utc_hour],
            user,
        ),
        ((segments if segments < 32 else 32) / 32, (eids if eids < 8 else 8) / 8),
    )


def shape_part(slot: Slot) -> Part:
    """Features of one impression that follow from its shape alone."""
    sizes = slot.sizes
    n = len(sizes)
    return (
        (
            _size[sizes[0]] if sizes else _UNKNOWN_SIZE,
            _position[slot.position],
            _media[slot.kinds],
            _placement[video_placement(slot.imp)],
            _FORMAT + (1 if slot.interstitial else 0) + (2 if slot.rewarded else 0),
        ),
        ((n if n < 8 else 8) / 8,),
    )


def slot_part(context: Context, slot: Slot, shape: Part | None = None) -> Part:
    """Features of one impression, beside its request's. `shape`: its `shape_part`, where that is known already."""
    categorical, numeric = shape or shape_part(slot)
    tag = slot.imp.tagid
    return (
        (_tag(f"{context.publisher}{_JOIN}{tag}") if tag else _UNKNOWN_TAG, *categorical),
        (log1p(slot.floor_micros * 1e-6) / 4, *numeric),
    )


def join(request: Part, slot: Part) -> Part:
    """One row of ports.Scorer's `request_cat` [len(REQUEST_CATEGORICAL)] and `request_num` [len(REQUEST_NUMERIC)]."""
    return request[0] + slot[0], request[1] + slot[1]


_PACK_CATEGORICAL = Struct(f"{len(REQUEST_SCHEMA)}q").pack
_PACK_NUMERIC = Struct(f"{len(REQUEST_NUMBERS)}f").pack


def stack(parts: Sequence[Part]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(`request_cat` [R, len(REQUEST_CATEGORICAL)], `request_num` [R, len(REQUEST_NUMERIC)]), read-only.

    `struct` takes half the time that numpy takes over a list of tuples.
    """
    categorical = b"".join([_PACK_CATEGORICAL(*part[0]) for part in parts])
    numeric = b"".join([_PACK_NUMERIC(*part[1]) for part in parts])
    r = len(parts)
    return (
        np.frombuffer(categorical, np.int64).reshape(r, len(REQUEST_SCHEMA)),
        np.frombuffer(numeric, np.float32).reshape(r, len(REQUEST_NUMBERS)),
    )


def request_features(context: Context, slot: Slot) -> Part:
    """As `join(request_part(context), slot_part(context, slot))`, for a single impression."""
    return join(request_part(context), slot_part(context, slot))


_GOAL = {GoalType.CPM: 1, GoalType.CPC: 2, GoalType.CPA: 3}


_BY_NAME = {f.name: f for f in (*REQUEST_SCHEMA, *CREATIVE_SCHEMA)}


def bucket(name: str, text: str) -> int:
    """Bucket of a hashed feature's value: 0 for "". Not memoised; for compile time, recipes and tests."""
    return _Hashed(_BY_NAME[name], 0, str)[text]


def _creative_hash(name: str, text: str) -> int:
    return _CREATIVE_BASE[name] + bucket(name, text)


def ad_format(media: Media, duration: int) -> int:
    """Bucket of `ad_format`: 16 per media kind, in steps of 5 seconds up to 70 seconds and more."""
    return 16 * (media.mtype - 1) + 1 + min(duration // 5, 14)


def creative_features(creative: Creative, campaign: Campaign, advertiser: Advertiser) -> tuple[int, ...]:
    """One row of ports.Scorer's `creative_cat` [len(CREATIVE_CATEGORICAL)]. For catalogue compile time: about 10 µs."""
    category = ""
    if campaign.categories:
        category = f"{campaign.cattax}:{campaign.categories[0]}"
    elif advertiser.categories:
        category = f"{advertiser.cattax}:{advertiser.categories[0]}"
    return (
        _creative_hash("advertiser", advertiser.id),
        _creative_hash("campaign", campaign.id),
        _creative_hash("creative", campaign.id + _JOIN + creative.id),
        _creative_hash("ad_category", category),
        _creative_hash("ad_size", f"{creative.w}x{creative.h}" if creative.w and creative.h else ""),
        _CREATIVE_BASE["ad_format"] + ad_format(creative.media, creative.duration),
        _CREATIVE_BASE["goal"] + _GOAL[campaign.goal.type],
    )
