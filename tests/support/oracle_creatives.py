"""Which creatives the oracle lets into an impression: `tests/support/oracle.py`."""

from __future__ import annotations

import json
from typing import Any

from campaign_express.bidding.model import Campaign, Creative
from campaign_express.openrtb.request import Audio, Banner, Imp, Native, Video
from tests.support.oracle_compare import folded, int_passes, passes
from tests.support.oracle_facts import World

SKIP_BUTTON = 16  # AdCOM "Creative Attributes": 16 = has a skip button
VAST_CODES = {"4.0": 7, "4.1": 11, "4.2": 13}  # AdCOM "Creative Subtypes - Audio/Video"
# Native 1.2 section 7.4, "Data Asset Types".
NATIVE_DATA = {
    1: "sponsored",
    2: "description",
    3: "rating",
    6: "price",
    11: "display_url",
    12: "call_to_action",
}
# AdCOM "Placement Subtypes - Video" (deprecated video.placement) as "Plcmt Subtypes - Video".
PLCMT = {1: 1, 2: 4, 3: 4, 4: 4, 5: 3}


def may_show(world: World, imp: Imp, campaign: Campaign, creative: Creative) -> bool:
    """Creative against the impression."""
    rules = campaign.targeting
    offered: Banner | Video | Audio | Native | None = getattr(imp, creative.media.value)
    if offered is None:
        return False
    if rules.media and creative.media not in rules.media:
        return False
    approved = world.exchange.approved_creatives
    if approved is not None and creative.id not in approved:
        return False
    if imp.secure == 1 and not creative.secure:
        return False
    if rules.interstitial is not None and rules.interstitial != (imp.instl == 1):
        return False
    if rules.rewarded is not None and rules.rewarded != (imp.rwdd == 1):
        return False
    attributes = {*creative.attr, *([SKIP_BUTTON] if creative.skippable else [])}
    if attributes & set(offered.battr or ()):
        return False
    if not set(creative.api) <= set(offered.api or ()):
        return False  # section 3.2.6: an API that is not listed is assumed not to be supported
    # An impression is one place on the page, whichever of its media is shown there.
    position = (imp.banner.pos if imp.banner is not None else 0) or (imp.video.pos if imp.video is not None else 0)
    if not int_passes(rules.position, position):
        return False
    if isinstance(offered, Video):  # a rule about video: other media have no such placement to ask for
        placement = offered.plcmt or PLCMT.get(offered.placement or 0)
        if not int_passes(rules.placement, placement):
            return False
    if not passes(rules.size, [size_of(offered, creative)]):
        return False
    if isinstance(offered, Banner):
        return banner_fits(offered, creative)
    if isinstance(offered, Native):
        return native_fits(offered, creative)
    return stream_fits(offered, creative) and (isinstance(offered, Audio) or video_fits(offered, creative))


def size_of(offered: Banner | Video | Audio | Native, creative: Creative) -> str:
    """A banner's own size, a video slot's size."""
    if isinstance(offered, Banner):
        return f"{creative.w}x{creative.h}"
    if isinstance(offered, Video) and offered.w and offered.h:
        return f"{offered.w}x{offered.h}"
    return ""


def banner_fits(banner: Banner, creative: Creative) -> bool:
    """Sections 3.2.6 and 3.2.10. Our banners are HTML."""
    if banner.mimes and "text/html" not in banner.mimes:
        return False
    size = (creative.w, creative.h)
    if (banner.w, banner.h) == size:
        return True
    for format in banner.format or ():
        if (format.w, format.h) == size:
            return True
        if (
            format.wratio
            and format.hratio
            and creative.w * format.hratio == creative.h * format.wratio
            and creative.w >= (format.wmin or 0)
        ):
            return True
    return False


def stream_fits(stream: Video | Audio, creative: Creative) -> bool:
    """Sections 3.2.7 and 3.2.8: what is not stated is not limited."""
    if stream.mimes and creative.mime.lower() not in folded(stream.mimes):
        return False
    protocols = set(stream.protocols or ())
    if isinstance(stream, Video) and not protocols and stream.protocol:
        protocols = {stream.protocol}
    ours = {VAST_CODES[creative.vast]} if creative.vast else set(VAST_CODES.values())
    if protocols and not protocols & ours:
        return False
    if stream.rqddurs and creative.duration not in stream.rqddurs:
        return False
    if stream.minduration is not None and creative.duration < stream.minduration:
        return False
    return stream.maxduration is None or creative.duration <= stream.maxduration


def video_fits(video: Video, creative: Creative) -> bool:
    if video.linearity == 2:
        return False  # wants an overlay
    if video.skip == 0 and creative.skippable:
        return False
    if video.boxingallowed == 0 and video.w and video.h:
        return creative.w * video.h == creative.h * video.w
    return True


def native_fits(native: Native, creative: Creative) -> bool:
    """Native 1.2 section 4: every required asset is there and within its limits, and there is something to show."""
    try:
        asked = json.loads(native.request or "")
    except ValueError:
        return False
    asked = asked.get("native") or asked
    filled = [fills(asset, creative) for asset in asked["assets"]]
    required = [asset.get("required") == 1 for asset in asked["assets"]]
    return any(filled) and all(done for done, must in zip(filled, required, strict=True) if must)


def fills(asset: dict[str, Any], creative: Creative) -> bool:
    content = creative.native
    assert content is not None
    if "title" in asset:
        return bool(len(content.title) <= asset["title"]["len"])
    if "data" in asset:
        text = getattr(content, NATIVE_DATA.get(asset["data"]["type"], ""), "")
        return bool(text) and len(text) <= asset["data"].get("len", len(text))
    if "img" in asset:
        limits = asset["img"]
        if limits.get("type") == 1:
            url, w, h = content.icon, content.icon_w, content.icon_h
        else:
            url, w, h = content.image, content.image_w, content.image_h
        if not url:
            return False
        return side_fits(w, limits.get("w", 0), limits.get("wmin", 0)) and side_fits(
            h, limits.get("h", 0), limits.get("hmin", 0)
        )
    return False


def side_fits(length: int, exact: int, least: int) -> bool:
    """0: not asked for."""
    if least:
        return length >= least
    return not exact or length == exact
