"""Is this VAST? The structure that vast_4.2.xsd asks of an InLine with one linear ad, written as the obvious table.

`check_vast` raises AssertionError saying what is wrong and returns what tests look at. Order matters where the schema
has a sequence, and every required child and attribute must be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

NAMESPACE = "{http://www.iab.com/VAST}"
# fmt: off
INLINE = [
    "AdSystem", "Error", "Extensions", "Impression", "Pricing", "ViewableImpression", "AdServingId", "AdTitle",
    "AdVerifications", "Advertiser", "Category", "Creatives", "Description", "Expires", "Survey",
]
LINEAR = ["Icons", "TrackingEvents", "AdParameters", "Duration", "MediaFiles", "VideoClicks"]
EVENTS = [
    "mute", "unmute", "pause", "resume", "rewind", "skip", "playerExpand", "playerCollapse", "loaded", "start",
    "firstQuartile", "midpoint", "thirdQuartile", "complete", "progress", "closeLinear", "creativeView",
    "acceptInvitation", "adExpand", "adCollapse", "minimize", "close", "overlayViewDuration", "otherAdInteraction",
]
# fmt: on
_time = re.compile(r"\d{2}:[0-5]\d:[0-5]\d(\.\d\d\d)?")
_url = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Vast:
    version: str
    audio: bool
    impressions: list[str]
    click: str
    media: dict[str, str]  # attributes of MediaFile, and its URL as "url"
    duration: int  # seconds
    skip_offset: int | None
    serving_id: str
    title: str


def check_vast(adm: str) -> Vast:
    """The parts of a VAST document with one linear InLine ad."""
    root = ET.fromstring(adm)
    assert root.tag == NAMESPACE + "VAST", f"root is {root.tag}"
    for element in root.iter():
        assert element.tag.startswith(NAMESPACE), f"{element.tag} is in another namespace"
        element.tag = element.tag.removeprefix(NAMESPACE)
    version = root.attrib["version"]
    assert version in ("4.0", "4.1", "4.2"), f"version {version}"
    ad = _only(root, "Ad")
    audio = ad.get("adType") == "audio"
    inline = _only(ad, "InLine")
    _ordered(inline, INLINE)
    assert _text(inline, "AdSystem")
    impressions = [_address(element) for element in inline.findall("Impression")]
    assert impressions, "no Impression"
    serving_id = ""
    if version != "4.0":
        serving_id = _text(inline, "AdServingId")
        assert all(serving_id in url for url in impressions), "AdServingId is not in the tracking URLs"
    creative = _only(_only(inline, "Creatives"), "Creative")
    universal = _only(creative, "UniversalAdId")
    assert universal.get("idRegistry")
    assert universal.text
    if version == "4.0":
        assert universal.get("idValue")
    linear = _only(creative, "Linear")
    _ordered(linear, LINEAR)
    for tracking in linear.findall("TrackingEvents/Tracking"):
        assert tracking.get("event") in EVENTS
        _address(tracking)
    skip = linear.get("skipoffset")
    media = _only(_only(linear, "MediaFiles"), "MediaFile")
    assert media.get("delivery") in ("progressive", "streaming")
    assert "/" in media.attrib["type"]
    size = int(media.attrib["width"]), int(media.attrib["height"])
    assert size == (0, 0) if media.attrib["type"].startswith("audio/") else min(size) > 0, f"size {size}"
    if "bitrate" in media.attrib:
        assert int(media.attrib["bitrate"]) > 0
    return Vast(
        version=version,
        audio=audio,
        impressions=impressions,
        click=_address(_only(_only(linear, "VideoClicks"), "ClickThrough")),
        media={**media.attrib, "url": _address(media)},
        duration=_seconds(_text(linear, "Duration")),
        skip_offset=None if skip is None else _seconds(skip),
        serving_id=serving_id,
        title=_text(inline, "AdTitle"),
    )


def _only(parent: ET.Element, name: str) -> ET.Element:
    found = parent.findall(name)
    assert len(found) == 1, f"{parent.tag} has {len(found)} {name}"
    return found[0]


def _text(parent: ET.Element, name: str) -> str:
    text = (_only(parent, name).text or "").strip()
    assert text, f"{name} is empty"
    return text


def _address(element: ET.Element) -> str:
    text = (element.text or "").strip()
    assert _url.fullmatch(text), f"{element.tag} holds no URL but {text!r}"
    return text


def _seconds(clock: str) -> int:
    assert _time.fullmatch(clock), f"{clock!r} is not HH:MM:SS"
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(float(seconds))


def _ordered(parent: ET.Element, names: list[str]) -> None:
    order = [child.tag for child in parent]
    unknown = [name for name in order if name not in names]
    assert not unknown, f"{parent.tag} has {unknown}"
    assert order == sorted(order, key=names.index), f"children of {parent.tag} are out of order: {order}"
