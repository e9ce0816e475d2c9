"""What a native slot asks for: the JSON string in `imp.native.request`, Native Ads 1.0 to 1.2.

A bad string spoils its own impression and nothing else: the caller answers it with the no-bid `native-request`, while
other impressions and other media of the same impression go on. What is refused and what is tolerated stands in
docs/validation.md under `native-request` and `native-…`. Only fields that choose or fill a creative are read.

Publishers send the same few strings all day, so results (good and bad) are kept in a bounded cache.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Struct

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import refusal
from campaign_express.openrtb.request import Int, Ints, Strs, UInt

CACHED_REQUESTS = 1024
# Longer strings are parsed each time, so that the cache stays under 1024 × 8 KB.
CACHED_LENGTH = 8192


class NativeTitle(Struct, frozen=True, gc=False, omit_defaults=True):
    """Native 1.2 section 4.3. `len`: most characters."""

    len: UInt


class NativeImage(Struct, frozen=True, gc=False, omit_defaults=True):
    """Native 1.2 section 4.4, sizes in pixels. `type`: 1 icon, 3 main; `w`/`h` exact, `wmin`/`hmin` at least."""

    type: Int | None = None
    w: UInt | None = None
    wmin: UInt | None = None
    h: UInt | None = None
    hmin: UInt | None = None
    mimes: Strs = ()


class NativeVideo(Struct, frozen=True, gc=False, omit_defaults=True):
    """Native 1.2 section 4.5, durations in seconds. What is left out is not limited, as in `imp.video`."""

    mimes: Strs = ()
    minduration: UInt | None = None
    maxduration: UInt | None = None
    protocols: Ints = ()


class NativeData(Struct, frozen=True, gc=False, omit_defaults=True):
    """Native 1.2 section 4.6. `type`: 1 sponsored, 2 desc, ... 12 ctatext; `len`: most characters."""

    type: Int
    len: UInt | None = None


class NativeAsset(Struct, frozen=True, gc=False):
    """Exactly one of title, img, video, data is given. `id` is what the answer's asset must carry."""

    id: int
    required: bool
    title: NativeTitle | None = None
    img: NativeImage | None = None
    video: NativeVideo | None = None
    data: NativeData | None = None


class NativeTracker(Struct, frozen=True, gc=False):
    """An event the seller fires trackers for (1 impression, 2..4 viewable) and how (1 image, 2 script)."""

    event: int
    methods: tuple[int, ...]


class NativeRequest(Struct, frozen=True, gc=False):
    """A native request that can be answered: at least one asset, ids unique.

    `wrapped` says that the request came as `{"native": {...}}` (the form of 1.0), which the answer then takes too.
    """

    ver: str
    assets: tuple[NativeAsset, ...]
    eventtrackers: tuple[NativeTracker, ...] = ()
    context: int | None = None
    plcmttype: int | None = None
    plcmtcnt: int = 1
    privacy: bool = False
    wrapped: bool = False


def parse_native_request(text: str | None) -> NativeRequest:
    """The request in `text` (the value of `imp.native.request`).

    Raises `InvalidRequest`, rule `native-request`, with a path inside the string; the caller knows which impression.
    """
    if not text:
        raise InvalidRequest("native request is missing or empty", rule="native-request")
    result = _parse(text) if len(text) <= CACHED_LENGTH else _parse.__wrapped__(text)
    if isinstance(result, NativeRequest):
        return result
    message, path = result
    raise InvalidRequest(message, path, "native-request")


class _Asset(Struct, gc=False, omit_defaults=True):
    id: Int | None = None
    required: Int | None = 0
    title: NativeTitle | None = None
    img: NativeImage | None = None
    video: NativeVideo | None = None
    data: NativeData | None = None


class _Tracker(Struct, gc=False, omit_defaults=True):
    event: Int | None = None
    methods: Ints = ()


class _Body(Struct, gc=False, omit_defaults=True):
    ver: str | None = None
    context: Int | None = None
    plcmttype: Int | None = None
    plcmtcnt: UInt | None = 1
    privacy: Int | None = 0
    assets: tuple[_Asset, ...] | None = ()
    eventtrackers: tuple[_Tracker, ...] | None = ()


class _Root(Struct, gc=False, omit_defaults=True):
    native: _Body | None = None


_decode_root = msgspec.json.Decoder(_Root).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def plain_native_request(text: str) -> str:
    """The request in `text` with nothing but the fields that are read here, "" where it cannot be read."""
    try:
        root = _decode_root(text)
        return msgspec.json.encode(root if root.native is not None else _decode_body(text)).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


@lru_cache(maxsize=CACHED_REQUESTS)
def _parse(text: str) -> NativeRequest | tuple[str, str]:
    """The request, or (message, path) of what is wrong: an exception must not be kept, since it collects tracebacks."""
    try:
        return _normalise(text)
    except InvalidRequest as error:
        return error.message, error.path


def _normalise(text: str) -> NativeRequest:
    try:
        body = _decode_root(text).native
        wrapped = body is not None
        if body is None:
            body = _decode_body(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise refusal(error) from None
    trackers = body.eventtrackers or ()
    return NativeRequest(
        ver=body.ver or "",
        assets=_assets(body.assets or (), "$.native.assets" if wrapped else "$.assets"),
        # One that names no event, or no way to report it, asks for nothing.
        eventtrackers=tuple(NativeTracker(t.event, t.methods) for t in trackers if t.event is not None and t.methods),
        context=body.context,
        plcmttype=body.plcmttype,
        plcmtcnt=body.plcmtcnt or 1,
        privacy=body.privacy == 1,
        wrapped=wrapped,
    )


def _assets(wire: tuple[_Asset, ...], path: str) -> tuple[NativeAsset, ...]:
    # Old senders leave all ids out; the answer then refers to assets by position.
    numbered = all(asset.id is None for asset in wire)
    assets: list[NativeAsset] = []
    seen: set[int] = set()
    for index, asset in enumerate(wire):
        place = f"{path}[{index}]"
        asset_id = index if numbered else asset.id
        if asset_id is None:
            raise InvalidRequest("asset has no id while others have", f"{place}.id")
        if asset_id in seen:
            raise InvalidRequest("asset id is used twice", f"{place}.id")
        seen.add(asset_id)
        required = asset.required == 1
        kinds = sum(kind is not None for kind in (asset.title, asset.img, asset.video, asset.data))
        if kinds > 1:
            raise InvalidRequest("asset has more than one of title, img, video, data", place)
        if kinds == 0:
            if required:
                raise InvalidRequest("required asset has none of title, img, video, data", place)
            continue
        assets.append(NativeAsset(asset_id, required, asset.title, asset.img, asset.video, asset.data))
    if not assets:
        raise InvalidRequest("request has no assets", path)
    return tuple(assets)
