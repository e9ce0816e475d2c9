"""What is for sale: the parts of bid requests that do not depend on the person or the moment.

A pool of them is made once; a request is a shape, a person and an id put together, which costs a few microseconds.
Shapes may instead come from a file of bid requests, one a line: their impressions, site or app stay, while ids, people,
prices' currency and timing become ours.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from campaign_express.errors import ConfigError
from campaign_express.exchange import market

MEDIA = ("banner", "video", "audio", "native")
# What competitors bid for an impression, in CPM micros of USD: the median of each, by kind; of several the dearest.
_MEDIAN = {"banner": 900_000, "native": 1_300_000, "audio": 3_500_000, "video": 4_500_000}
# Ours to say, or of the person; the rest of a request from a file is its shape.
_REPLACED = ("id", "device", "user", "regs", "at", "tmax", "cur", "test", "ext")


class Slot(Struct, frozen=True, gc=False):
    """One impression: its floor and the median of what others bid, CPM micros of USD."""

    id: str
    media: tuple[str, ...]
    floor_micros: int
    median_micros: int


class Shape(Struct, frozen=True):
    """`head` is members of a request in JSON, ending with a comma. `place`: site domain or bundle, "" where unknown."""

    head: bytes
    slots: dict[str, Slot]  # by impression id
    in_app: bool
    place: str = ""


class Shapes:
    """Shapes by where they fit: apps, mobile web, desktop web."""

    def __init__(self, shapes: Sequence[tuple[Shape, str]]) -> None:
        """`shapes` with the kind of each: "app", "mobile", "desktop" or "web" (either)."""
        if not shapes:
            raise ConfigError("An option that cannot be used:", ["--requests: holds no bid request"])
        everything = [shape for shape, _ in shapes]

        def of(*kinds: str) -> list[Shape]:
            return [shape for shape, kind in shapes if kind in kinds] or everything

        self.app = of("app")
        self.mobile = of("mobile", "web")
        self.desktop = of("desktop", "web")

    def fitting(self, in_app: bool, mobile: bool) -> list[Shape]:
        if in_app:
            return self.app
        return self.mobile if mobile else self.desktop


def generate(seed: int, each: int = 1500) -> Shapes:
    """`each` shapes for apps, as many for mobile web and for desktop web."""
    rng = random.Random(f"shapes/{seed}")  # noqa: S311  # a simulation
    return Shapes([(_shape(rng, kind), kind) for kind in ("app", "mobile", "desktop") for _ in range(each)])


def read(path: Path) -> Shapes:
    """Shapes from a file of OpenRTB requests, one a line. Raises ConfigError naming the line."""
    found: list[tuple[Shape, str]] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            request = msgspec.json.decode(line)
            slots = {imp["id"]: _slot(imp) for imp in request["imp"]}
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            problem = f"--requests {path}: line {number} is not a bid request with impressions"
            raise ConfigError("An option that cannot be used:", [problem]) from None
        kept = {name: value for name, value in request.items() if name not in _REPLACED}
        for imp in kept["imp"]:
            imp.pop("bidfloorcur", None)
            for deal in (imp.get("pmp") or {}).get("deals") or ():
                deal.pop("bidfloorcur", None)
        in_app = "app" in kept
        place = (kept.get("app") or {}).get("bundle") if in_app else (kept.get("site") or {}).get("domain")
        head = msgspec.json.encode(kept)[1:-1] + b","
        found.append((Shape(head, slots, in_app, place or ""), "app" if in_app else "web"))
    return Shapes(found)


def _slot(imp: dict[str, Any]) -> Slot:
    media = tuple(kind for kind in MEDIA if imp.get(kind) is not None)
    floor = round(float(imp.get("bidfloor") or 0) * 1_000_000)
    return Slot(imp["id"], media, floor, max((_MEDIAN[kind] for kind in media), default=_MEDIAN["banner"]))


def _shape(rng: random.Random, kind: str) -> Shape:
    imps = [_imp(rng, str(number + 1), kind) for number in range(rng.choices((1, 2, 3), (94, 5, 1))[0])]
    request: dict[str, Any] = {"imp": imps}
    if kind == "app":
        app = _popular(rng, len(market.APPS))
        place = market.APPS[app]
        request["app"] = {
            "id": str(100_000 + app),
            "bundle": place,
            "cat": [market.CATEGORIES[app % len(market.CATEGORIES)]],
            "publisher": {"id": market.PUBLISHERS[app % len(market.PUBLISHERS)]},
        }
    else:
        scarce = rng.random() < market.SCARCE_SHARE
        sites = market.SCARCE_SITES if scarce else market.SITES
        site = rng.randrange(len(sites)) if scarce else _popular(rng, len(sites))
        place = sites[site]
        request["site"] = {
            "id": str(200_000 + site),
            "domain": place,
            "page": f"https://{place}/{rng.randrange(10**5)}",
            "cat": [market.CATEGORIES[site % len(market.CATEGORIES)]],
            "publisher": {"id": market.PUBLISHERS[site % len(market.PUBLISHERS)]},
        }
    if rng.random() < 0.2:
        request["bcat"] = ["IAB25", "IAB26"]
    return Shape(
        msgspec.json.encode(request)[1:-1] + b",", {imp["id"]: _slot(imp) for imp in imps}, kind == "app", place
    )


def _popular(rng: random.Random, count: int) -> int:
    """Sites and apps have a few that have most of the traffic, and a long tail."""
    return min(int(count * rng.random() ** 2), count - 1)


def _imp(rng: random.Random, number: str, kind: str) -> dict[str, Any]:
    imp: dict[str, Any] = {"id": number, "secure": 1, "bidfloor": round(rng.uniform(0.02, 0.4), 2)}
    media = rng.choices(("banner", "video", "native", "audio", "banner+video"), (62, 14, 14, 5, 5))[0]
    if "banner" in media:
        sizes = rng.sample(market.DESKTOP_SIZES if kind == "desktop" else market.MOBILE_SIZES, rng.choice((1, 1, 2)))
        imp["banner"] = {"format": [{"w": w, "h": h} for w, h in sizes], "pos": rng.choice((0, 1, 3))}
    if "video" in media:
        w, h = rng.choice(market.VIDEO_SIZES)
        imp["video"] = {
            "mimes": ["video/mp4"],
            "minduration": 5,
            "maxduration": 30,
            "protocols": [2, 3, 5, 6, 7, 8],
            "w": w,
            "h": h,
            "plcmt": rng.choice((1, 2, 4)),
            "linearity": 1,
        }
        imp["bidfloor"] = round(rng.uniform(0.5, 2.0), 2)
    if media == "audio":
        imp["audio"] = {"mimes": ["audio/mpeg", "audio/mp4"], "minduration": 5, "maxduration": 60, "protocols": [9, 10]}
    if media == "native":
        assets = [
            {"id": 1, "required": 1, "title": {"len": rng.choice((60, 90))}},
            {"id": 2, "required": 1, "img": {"type": 3, "wmin": 600}},
            {"id": 3, "data": {"type": 1}},
        ]
        wanted: dict[str, Any] = {"ver": "1.2", "assets": assets}
        if rng.random() < 0.5:
            wanted["eventtrackers"] = [{"event": 1, "methods": [1]}]
        imp["native"] = {"request": msgspec.json.encode(wanted).decode(), "ver": "1.2"}
    if rng.random() < 0.06:
        imp["pmp"] = {"private_auction": 0, "deals": [{"id": rng.choice(market.DEALS), "bidfloor": 0.8, "at": 1}]}
    return imp
