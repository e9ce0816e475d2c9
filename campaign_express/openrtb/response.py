"""OpenRTB 2.6 bid response (section 4.2). Empty and default fields are not sent."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Bid(Struct, gc=False, omit_defaults=True):
    id: str
    impid: str
    price: float
    adid: str | None = None
    nurl: str | None = None
    burl: str | None = None
    lurl: str | None = None
    adm: str | None = None
    adomain: tuple[str, ...] = ()
    bundle: str | None = None
    cid: str | None = None
    crid: str | None = None
    cat: tuple[str, ...] = ()
    cattax: int | None = None
    attr: tuple[int, ...] = ()
    apis: tuple[int, ...] = ()
    protocol: int | None = None
    language: str | None = None
    dealid: str | None = None
    w: int | None = None
    h: int | None = None
    dur: int | None = None
    exp: int | None = None
    mtype: int | None = None
    ext: dict[str, Any] | None = None


class SeatBid(Struct, gc=False, omit_defaults=True):
    bid: list[Bid]
    seat: str | None = None
    group: int = 0


class BidResponse(Struct, gc=False, omit_defaults=True):
    id: str
    seatbid: list[SeatBid] = []
    bidid: str | None = None
    cur: str | None = None
    nbr: int | None = None
