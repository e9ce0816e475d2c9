"""A decision as an OpenRTB 2.6 response: seats, prices in the exchange's currency, notice URLs, markup.

Texts that a request could make large (its ids) are echoed as they are where the specification wants that (`id`,
`impid`, `dealid`), and through `notices.portable_id` where they are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from campaign_express.bidding.context import Context
from campaign_express.bidding.currency import price_for
from campaign_express.bidding.impression import Slot
from campaign_express.bidding.lines import VAST_PROTOCOLS, Line
from campaign_express.bidding.model import Exchange, Media
from campaign_express.bidding.money import MICROS
from campaign_express.bidding.pipeline import Decision, Win
from campaign_express.bidding.restrictions import seat_of
from campaign_express.bidding.slots import native_request, offered_protocols
from campaign_express.events import bid_key
from campaign_express.openrtb.notices import NoticeSigner, portable_id
from campaign_express.openrtb.request import Imp
from campaign_express.openrtb.response import Bid, BidResponse, SeatBid

_copy: Callable[[Bid], Bid] = Bid.__copy__  # type: ignore[attr-defined]  # msgspec's stubs leave it out
_LONG = 64  # an auction id longer than this is not repeated in ours


def build_response(decision: Decision, signer: NoticeSigner) -> BidResponse:
    """The response for a decision with at least one win."""
    context = decision.context
    exchange = context.exchange
    request_id = context.request.id
    seats: dict[str, list[Bid]] = {}
    for win in decision.wins:
        bid = _bid(decision, win, request_id, signer)
        seat = seat_of(win.line, exchange)
        if seat in seats:
            seats[seat].append(bid)
        else:
            seats[seat] = [bid]
    return BidResponse(
        id=request_id,
        seatbid=[SeatBid(bid=bids, seat=seat) for seat, bids in seats.items()],
        bidid=_own_id(request_id),
        cur=decision.currency,
    )


def bid_id_of(request_id: str, slot: Slot) -> str:
    """Our id of the bid for one impression of a request."""
    return f"{_own_id(request_id)}.{slot.index}"


def key_of(context: Context, win: Win) -> str:
    """What all events of this bid are known by; a notice's own fields give the same (`events.bid_key`)."""
    if not win.key:  # holds and events both ask
        request_id = context.request.id
        imp, bid = portable_id(win.slot.imp.id), bid_id_of(request_id, win.slot)
        portable = portable_id(bid)
        # An id that stands whole in ours is portable where ours is.
        auction = request_id if portable is bid and len(request_id) <= _LONG else portable_id(request_id)
        win.key = bid_key(context.exchange_name, auction, imp, portable)
    return win.key


def _own_id(request_id: str) -> str:
    return request_id if len(request_id) <= _LONG else request_id[:_LONG]


def vast_version(line: Line, imp: Imp) -> str:
    """The newest VAST that both the creative and the player know, "" for what is not VAST."""
    if not line.protocols:
        return ""
    media_object = imp.video if line.creative.media is Media.VIDEO else imp.audio
    offered = offered_protocols(media_object) if media_object is not None else ()
    for protocol, version in line.protocols.items():
        if not offered or protocol in offered:
            return version
    raise AssertionError("a line whose protocols do not fit was filtered before")


def _bid(decision: Decision, win: Win, request_id: str, signer: NoticeSigner) -> Bid:
    context = decision.context
    exchange = context.exchange
    line, slot, person = win.line, win.slot, decision.person
    creative, campaign, advertiser = line.creative, line.campaign, line.advertiser
    media = creative.media
    bid_id = bid_id_of(request_id, slot)
    urls = signer.urls(
        exchange,
        advertiser.id,
        campaign.id,
        creative.id,
        request_id,
        slot.imp.id,
        bid_id,
        win.price_micros,
        context.wall_ms,
        context.consent.query,
        context.request.test == 1,
        win.lease,
        person.key if win.entities and person is not None else "",
    )
    bid = _copy(line.bid)
    bid.id = bid_id
    bid.impid = slot.imp.id
    bid.price = win.price_micros / MICROS if decision.rate == 1.0 else _in_currency(decision, win)
    bid.nurl, bid.burl, bid.lurl = urls.nurl, urls.burl, urls.lurl
    native = None
    vast = ""
    if media is Media.NATIVE:
        native = native_request(slot)
    elif media is not Media.BANNER:
        vast = vast_version(line, slot.imp)
        bid.protocol = VAST_PROTOCOLS[vast]
        video = slot.imp.video
        if media is Media.VIDEO and video is not None:
            bid.w, bid.h = video.w or bid.w, video.h or bid.h
    bid.adm = line.markup(vast, signer).render(urls, bid.w or 0, bid.h or 0, native)
    if win.deal is not None:
        bid.dealid = win.deal.id
    bid.exp = min(exchange.exp, slot.imp.exp) if slot.imp.exp else exchange.exp
    if context.request.regs is not None:
        bid.ext = _disclosure(decision, line)
    return bid


def _in_currency(decision: Decision, win: Win) -> float:
    """The price in the response's currency: never a rounding below the floor, whatever currency that is in."""
    floor, currency = (
        (win.deal.bidfloor, win.deal.bidfloorcur)
        if win.deal is not None
        else (win.slot.imp.bidfloor, win.slot.imp.bidfloorcur)
    )
    price = price_for(win.price_micros, decision.rate, (floor or 0.0) if currency == decision.currency else 0.0)
    if price * decision.rate * MICROS < win.floor_micros:
        price = round(price + 1e-6, 6)
    return price


def _disclosure(decision: Decision, line: Line) -> dict[str, Any] | None:
    """bid.ext.dsa where the request speaks of the DSA at all and the advertiser states who pays."""
    regs = decision.context.request.regs
    dsa = line.advertiser.dsa
    if regs is None or regs.ext is None or regs.ext.dsa is None or dsa is None:
        return None
    disclosed: dict[str, Any] = {"behalf": dsa.behalf, "paid": dsa.paid, "adrender": 0}
    if dsa.params:
        disclosed["transparency"] = [{"domain": line.advertiser.domain, "dsaparams": list(dsa.params)}]
    return {"dsa": disclosed}


def no_bid_response(request_id: str, exchange: Exchange, nbr: int) -> BidResponse:
    """For exchanges that want a body with every no-bid."""
    return BidResponse(id=request_id, nbr=nbr)
