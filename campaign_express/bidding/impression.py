"""What the decision sees of one impression: a `Slot`, with its media, sizes, flags and floor in one spelling."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from campaign_express.bidding.currency import Rates
from campaign_express.bidding.money import floor_to_micros
from campaign_express.openrtb.request import Audio, Banner, Imp, Video

# Bits of Slot.kinds.
BANNER, VIDEO, AUDIO, NATIVE = 1, 2, 4, 8

# AdCOM 1.0 list "Video Placement Subtypes" (plcmt) for the older "placement": in-stream, in-banner, in-article, in-
# feed, interstitial.
_PLCMT_OF_PLACEMENT = {1: 1, 2: 4, 3: 4, 4: 4, 5: 3}


class Slot(Struct, gc=False):
    """One impression, normalised. All but the first three follow from its shape (`shape_of`)."""

    imp: Imp
    index: int = 0
    floor_micros: int = 0  # CPM micros of USD; -1: the floor's currency is unknown to us
    kinds: int = 0
    sizes: tuple[tuple[int, int], ...] = ()  # of the banner, as offered; video's w and h when there is no banner
    position: int = 0
    interstitial: bool = False
    rewarded: bool = False
    secure: bool = False
    dynamic_pod: bool = False  # the exchange wants as many ads as fit (section 7.6.1, dynamic portion of an ad pod)


Shape = tuple[Banner | None, Video | None, Audio | None, tuple[object, ...] | None, int | None, int | None, int | None]
_copy: Callable[[Slot], Slot] = Slot.__copy__  # type: ignore[attr-defined]  # msgspec's stubs leave it out


def shape_of(imp: Imp) -> Shape:
    """What decides which creatives fit an impression, but for a native request: equal shapes are equal slots."""
    native = imp.native
    offered = None if native is None else (native.battr, native.api)
    return imp.banner, imp.video, imp.audio, offered, imp.instl, imp.rwdd, imp.secure


def place_slot(like: Slot, imp: Imp, index: int, rates: Rates) -> Slot:
    """A slot for `imp`, which has the shape of `like`."""
    slot = _copy(like)
    slot.imp = imp
    slot.index = index
    slot.floor_micros = floor_in_micros(imp.bidfloor, imp.bidfloorcur, rates)
    return slot


def build_slot(imp: Imp, index: int, rates: Rates) -> Slot:
    kinds = 0
    sizes: tuple[tuple[int, int], ...] = ()
    position = 0
    video = imp.video
    if video is not None:
        kinds = VIDEO
        position = video.pos or 0
        if video.w and video.h:
            sizes = ((video.w, video.h),)
    banner = imp.banner
    if banner is not None:
        kinds |= BANNER
        position = banner.pos or position
        formats = banner.format
        sizes = tuple([(f.w, f.h) for f in formats if f.w and f.h]) if formats else ()
        w, h = banner.w, banner.h
        # With a format list w and h only repeat one of it (section 3.2.6), so they count when the list is absent or
        # differs.
        if w and h and w > 0 and h > 0 and (w, h) not in sizes:
            sizes = (*sizes, (w, h))
    if imp.audio is not None:
        kinds |= AUDIO
    if imp.native is not None:
        kinds |= NATIVE
    return Slot(
        imp=imp,
        index=index,
        floor_micros=floor_in_micros(imp.bidfloor, imp.bidfloorcur, rates),
        kinds=kinds,
        sizes=sizes,
        position=position,
        interstitial=imp.instl == 1,
        rewarded=imp.rwdd == 1,
        secure=imp.secure == 1,
        dynamic_pod=_is_dynamic_pod(video) or _is_dynamic_pod(imp.audio),
    )


def _is_dynamic_pod(media_object: Video | Audio | None) -> bool:
    return media_object is not None and bool(media_object.poddur or (media_object.maxseq or 0) > 1)


def floor_in_micros(floor: float | None, currency: str | None, rates: Rates) -> int:
    """CPM micros of USD of a floor, 0 when there is none, -1 when its currency is unknown to us."""
    if not floor:
        return 0
    if not currency or currency == "USD":
        return floor_to_micros(floor, 1.0)
    rate = rates.usd_per(currency)
    return -1 if rate is None else floor_to_micros(floor, rate)


def video_placement(imp: Imp) -> int:
    """AdCOM `plcmt` of a video impression, from the older `placement` where need be; 0 unknown."""
    video = imp.video
    if video is None:
        return 0
    return video.plcmt or _PLCMT_OF_PLACEMENT.get(video.placement or 0, 0)
