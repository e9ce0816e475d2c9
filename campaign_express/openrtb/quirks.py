"""Habits of exchanges that deviate from OpenRTB 2.6, each as a small pure function, all in this file.

An exchange's entry names the ones it needs (`quirks: [crtype, openrtb-2.5]`); they run in that order, those for
requests after decoding, those for responses before encoding. An exchange without quirks pays nothing: its hooks are
None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct, structs

from campaign_express.errors import ConfigError
from campaign_express.openrtb.request import BidRequest, Format, Imp
from campaign_express.openrtb.response import Bid, BidResponse

T = TypeVar("T")
OnRequest = Callable[[BidRequest], BidRequest]
OnResponse = Callable[[BidResponse], BidResponse]

_vast_version = re.compile(r'<VAST\b[^>]*?\bversion="([0-9.]+)"').search
_numeric_id = re.compile(r"id([0-9]+)").fullmatch
_MRAID = {3: "MRAID 1.0", 5: "MRAID 2.0", 6: "MRAID 3.0"}  # AdCOM "API Frameworks"
_NATIVE = 4  # bid.mtype


class Hooks(Struct, frozen=True):
    """What to do with every request and response of one exchange; None: nothing."""

    on_request: OnRequest | None = None
    on_response: OnResponse | None = None


def numeric_ios_bundle(request: BidRequest) -> BidRequest:
    """Sends iOS apps as `id284882215`, where targeting lists and block lists hold the bare App Store number."""
    app = request.app
    match = _numeric_id(app.bundle) if app is not None and app.bundle else None
    if app is None or match is None:
        return request
    return structs.replace(request, app=structs.replace(app, bundle=match[1]))


def interstitial_device_size(request: BidRequest) -> BidRequest:
    """Sends full-screen banners (`instl: 1`) without a size, meaning the whole screen: `device.w` and `device.h`."""
    device = request.device
    if device is None or not device.w or not device.h:
        return request
    screen = (Format(w=device.w, h=device.h),)
    return structs.replace(request, imp=tuple(_sized(imp, screen) for imp in request.imp))


def _sized(imp: Imp, screen: tuple[Format, ...]) -> Imp:
    banner = imp.banner
    if imp.instl != 1 or banner is None or banner.format or (banner.w and banner.h):
        return imp
    return structs.replace(imp, banner=structs.replace(banner, format=screen))


def crtype(response: BidResponse) -> BidResponse:
    """Wants the kind of markup in words as `bid.ext.crtype`: HTML, MRAID 2.0, VAST 4.2, native.

    In use at Liftoff Monetize (Vungle), AppLovin and others; documented at support.vungle.com, "MRAID Creatives
    Submission Guidelines for DSPs".
    """
    return _each_bid(response, lambda bid: structs.replace(bid, ext={**(bid.ext or {}), "crtype": _crtype(bid)}))


def _crtype(bid: Bid) -> str:
    if bid.mtype == _NATIVE:
        return "native"
    vast = _vast_version(bid.adm[:512]) if bid.adm else None
    if vast:
        return f"VAST {vast[1]}"
    return next((_MRAID[api] for api in bid.apis if api in _MRAID), "HTML")


def native_wrapped(response: BidResponse) -> BidResponse:
    """Wants native markup below a root object `native` as in Native Ads 1.0, whatever version its request says.

    Native Ads 1.1 and later (section 5.1) made the inner object the root.
    """

    def wrap(bid: Bid) -> Bid:
        bare = bid.mtype == _NATIVE and bid.adm and not bid.adm.startswith('{"native":')
        return structs.replace(bid, adm=f'{{"native":{bid.adm}}}') if bare else bid

    return _each_bid(response, wrap)


def openrtb_2_5(response: BidResponse) -> BidResponse:
    """Refuses bids with attributes younger than OpenRTB 2.5: mtype, apis, cattax and dur (all of 2.6 section 4.2.3)."""
    return _each_bid(response, lambda bid: structs.replace(bid, mtype=None, apis=(), cattax=None, dur=None))


REQUEST_QUIRKS: dict[str, OnRequest] = {
    "numeric-ios-bundle": numeric_ios_bundle,
    "interstitial-device-size": interstitial_device_size,
}
RESPONSE_QUIRKS: dict[str, OnResponse] = {
    "crtype": crtype,
    "native-wrapped": native_wrapped,
    "openrtb-2.5": openrtb_2_5,  # after the others, which read mtype and apis
}
NAMES = frozenset(REQUEST_QUIRKS) | frozenset(RESPONSE_QUIRKS)


def hooks(names: Sequence[str]) -> Hooks:
    """The hooks of an exchange with these quirks. Raises ConfigError for names that are not known."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        known = ", ".join(sorted(NAMES))
        raise ConfigError(
            "Exchanges that cannot be used:", [f"quirks: no quirk {name!r} (known: {known})" for name in unknown]
        )
    return Hooks(
        _chain([REQUEST_QUIRKS[name] for name in names if name in REQUEST_QUIRKS]),
        _chain([RESPONSE_QUIRKS[name] for name in names if name in RESPONSE_QUIRKS]),
    )


def _chain(steps: list[Callable[[T], T]]) -> Callable[[T], T] | None:
    if len(steps) <= 1:
        return steps[0] if steps else None

    def run(message: T) -> T:
        for step in steps:
            message = step(message)
        return message

    return run


def _each_bid(response: BidResponse, change: Callable[[Bid], Bid]) -> BidResponse:
    seats = [structs.replace(seat, bid=[change(bid) for bid in seat.bid]) for seat in response.seatbid]
    return structs.replace(response, seatbid=seats)
