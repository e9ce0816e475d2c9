"""What a page or player finds in an ad's markup: the impression tracker that it loads, and where a click goes."""

from __future__ import annotations

import html
import re
from typing import Any, NamedTuple

import msgspec

_pixel = re.compile(r'<img\b[^>]*\bsrc="([^"]+)"[^>]*\bwidth="1"[^>]*\bheight="1"')
_link = re.compile(r'<a\b[^>]*\bhref="([^"]+)"')
_vast_impression = re.compile(r"<Impression\b[^>]*>\s*<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_vast_click = re.compile(r"<ClickThrough\b[^>]*>\s*<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


class Trackers(NamedTuple):
    """URLs, "" where the markup holds none."""

    impression: str
    click: str


def find_trackers(adm: str) -> Trackers:
    """By the kind that the markup looks like: VAST, native JSON, or HTML."""
    start = adm.lstrip()[:5]
    if start in ("<?xml", "<VAST"):
        return Trackers(_first(_vast_impression, adm), _first(_vast_click, adm))
    if start.startswith("{"):
        return _native(adm)
    return Trackers(html.unescape(_first(_pixel, adm)), html.unescape(_first(_link, adm)))


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1].strip() if found else ""


def _native(adm: str) -> Trackers:
    """Native 1.2 section 5: `eventtrackers` (event 1, an impression, by an image), or the older `imptrackers`."""
    try:
        ad: dict[str, Any] = msgspec.json.decode(adm)
    except msgspec.DecodeError:
        return Trackers("", "")
    ad = ad.get("native") or ad
    urls = [one["url"] for one in ad.get("eventtrackers") or () if one.get("event") == 1 and one.get("method") == 1]
    urls += ad.get("imptrackers") or ()
    return Trackers(urls[0] if urls else "", (ad.get("link") or {}).get("url") or "")
