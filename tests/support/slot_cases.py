"""What each filter of impressions admits and stops."""

from __future__ import annotations

from typing import Any

from campaign_express.bidding.model import (
    Campaign,
    IntMatch,
    Match,
    Media,
    Targeting,
)
from campaign_express.openrtb.nobid import NoBidReason
from tests.support.bidders import (
    audio,
    banner,
    campaign,
    imp,
    native,
    targeted,
    video,
)
from tests.support.filter_cases import audio_imp, native_imp, video_imp, video_wanting, wanting

# As in filter_cases.py.
SLOT_CASES: list[tuple[NoBidReason, Campaign, dict[str, Any], dict[str, Any]]] = [
    (NoBidReason.MEDIA, campaign("c", video()), {"imp": video_imp()}, {}),
    (
        NoBidReason.MEDIA,
        targeted(Targeting(media=(Media.VIDEO,)), banner("b"), video("v")),
        {"imp": video_imp()},
        {},
    ),
    (NoBidReason.SECURE, campaign("c", banner(secure=False)), {"imp": [imp(secure=0)]}, {"imp": [imp(secure=1)]}),
    (
        NoBidReason.SIZE,
        campaign(),
        {"imp": [imp(banner={"w": 300, "h": 250})]},
        {"imp": [imp(banner={"w": 250, "h": 300})]},
    ),
    (
        NoBidReason.SIZE,
        campaign(),
        {"imp": [imp(banner={"format": [{"wratio": 6, "hratio": 5, "wmin": 300}]})]},
        {"imp": [imp(banner={"format": [{"wratio": 6, "hratio": 5, "wmin": 301}]})]},
    ),
    (NoBidReason.SIZE, campaign(), {}, {"imp": [imp(banner={})]}),
    (
        NoBidReason.SIZE,
        video_wanting(size=Match(include=("640x360",))),
        {"imp": video_imp(w=640, h=360)},
        {"imp": video_imp(w=640, h=480)},
    ),
    (
        NoBidReason.SIZE,
        campaign("c", video()),
        {"imp": video_imp(w=1280, h=720, boxingallowed=0)},
        {"imp": video_imp(w=640, h=480, boxingallowed=0)},
    ),
    (NoBidReason.INTERSTITIAL, wanting(interstitial=True), {"imp": [imp(instl=1)]}, {}),
    (NoBidReason.INTERSTITIAL, wanting(interstitial=False), {}, {"imp": [imp(instl=1)]}),
    (NoBidReason.REWARDED, wanting(rewarded=True), {"imp": [imp(rwdd=1)]}, {}),
    (
        NoBidReason.POSITION,
        wanting(position=IntMatch(include=(1,))),
        {"imp": [imp(banner={"w": 300, "h": 250, "pos": 1})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "pos": 3})]},
    ),
    (
        NoBidReason.BLOCKED_ATTRIBUTE,
        campaign("c", banner(attr=(1, 8))),
        {"imp": [imp(banner={"w": 300, "h": 250, "battr": [2]})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "battr": [2, 8]})]},
    ),
    (
        NoBidReason.BLOCKED_ATTRIBUTE,
        campaign("c", video(skippable=True)),
        {"imp": video_imp(battr=[1])},
        {"imp": video_imp(battr=[16])},
    ),
    (NoBidReason.API, campaign("c", video(api=(7,))), {"imp": video_imp(api=[2, 7])}, {"imp": video_imp(api=[2])}),
    (NoBidReason.MIME, campaign("c", video()), {"imp": video_imp()}, {"imp": [imp(video={"mimes": ["video/webm"]})]}),
    (
        NoBidReason.MIME,
        campaign("c", audio()),
        {"imp": [imp(audio={"mimes": ["audio/MP3"]})]},
        {"imp": [imp(audio={"mimes": ["audio/ogg"]})]},
    ),
    (
        NoBidReason.MIME,
        campaign(),
        {"imp": [imp(banner={"w": 300, "h": 250, "mimes": ["text/html"]})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "mimes": ["image/gif"]})]},
    ),
    (
        NoBidReason.PROTOCOL,
        campaign("c", video()),
        {"imp": video_imp(protocols=[2, 7])},
        {"imp": video_imp(protocols=[2, 3])},
    ),
    (
        NoBidReason.PROTOCOL,
        campaign("c", video(vast="4.0")),
        {"imp": video_imp(protocols=[7])},
        {"imp": video_imp(protocols=[13])},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(minduration=15, maxduration=15)},
        {"imp": video_imp(maxduration=14)},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(rqddurs=[15, 30])},
        {"imp": video_imp(rqddurs=[10, 20])},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(rqddurs=[15], maxduration=15)},
        {"imp": video_imp(rqddurs=[15], maxduration=14)},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", audio()),
        {"imp": audio_imp(minduration=30)},
        {"imp": audio_imp(minduration=31)},
    ),
    (
        NoBidReason.SKIPPABLE,
        campaign("c", video(skippable=True)),
        {"imp": video_imp(skip=1)},
        {"imp": video_imp(skip=0)},
    ),
    (NoBidReason.SKIPPABLE, campaign("c", video()), {"imp": video_imp(linearity=1)}, {"imp": video_imp(linearity=2)}),
    (
        NoBidReason.PLACEMENT,
        video_wanting(placement=IntMatch(include=(1,))),
        {"imp": video_imp(plcmt=1)},
        {"imp": video_imp(plcmt=4)},
    ),
    (
        NoBidReason.PLACEMENT,
        video_wanting(placement=IntMatch(include=(3,))),
        {"imp": video_imp(placement=5)},
        {"imp": video_imp()},
    ),
    (
        NoBidReason.NATIVE_ASSET,
        campaign("c", native()),
        {"imp": native_imp({"required": 1, "title": {"len": 25}})},
        {"imp": native_imp({"required": 1, "title": {"len": 3}})},
    ),
    (
        NoBidReason.NATIVE_ASSET,
        campaign("c", native()),
        {"imp": native_imp({"required": 0, "data": {"type": 12}}, {"required": 1, "title": {"len": 90}})},
        {"imp": native_imp({"required": 1, "data": {"type": 12}})},
    ),
]
