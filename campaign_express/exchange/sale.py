"""From a bid response to notices: one auction for each bid, and what the exchange, the page and the person then do.

Everything that a bidder must hear of is queued as a `Send` with its time; what it owes and what was shown is written
into the truth at the moment it happens, whatever becomes of the notices.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from campaign_express.exchange import auction
from campaign_express.exchange.draws import CLICK, FAULT, HIDDEN, RENDER, Draws
from campaign_express.exchange.macros import price_of, substitute
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.shown import Impressions
from campaign_express.exchange.stream import Call
from campaign_express.exchange.told import FLAG, PRICE, Sale
from campaign_express.exchange.trackers import find_trackers
from campaign_express.exchange.truth import Charges
from campaign_express.openrtb.response import Bid, BidResponse

_bid_time = re.compile(r"[?&]t=(\d{10,16})(?:&|$)")
_click_id = re.compile(rb"[?&]click(?:_id)?=([A-Za-z0-9_-]{8,64})")
KINDS = ("win", "loss", "billing", "impression", "click", "conversion")


class Send(NamedTuple):
    """A notice on its way. `order` keeps equal times apart."""

    due_ms: int
    order: int
    kind: str
    target: str  # path and query
    sale: Sale | None
    copy: int  # 0, and 1 for what is sent a second time
    conversion: tuple[str, int] | None = None  # of a click: (advertiser, due) of what it leads to


class Sales:
    """All auctions of a run, and the truth about them."""

    def __init__(self, plan: Plan, advertisers: dict[str, str]) -> None:
        """`advertisers`: campaign id -> its advertiser."""
        self._plan = plan
        self._advertisers = advertisers
        self._queue: list[Send] = []
        self._order = 0
        self.charges = Charges(plan.catalog)
        self.impressions = Impressions()
        self.sales: list[Sale] = []
        self.counts: Counter[str] = Counter()
        self.told: Counter[str] = Counter()  # notices that have arrived, each once, by kind
        self._told: set[int] = set()
        self.by_venue: Counter[tuple[str, str]] = Counter()  # (exchange, what)

    # Auctions

    def hold(self, call: Call, response: BidResponse, sent_ms: int, now_ms: int) -> None:
        """The response came in time: sell each impression that it bids on."""
        taken: set[str] = set()
        for seat in response.seatbid:
            for bid in seat.bid:
                slot = call.shape.slots.get(bid.impid)
                if slot is None or bid.impid in taken or response.id != call.id or response.cur not in (None, "USD"):
                    self.counts["bids that are refused"] += 1
                    continue
                taken.add(bid.impid)
                self._sell(call, bid, seat.seat or "", sent_ms, now_ms)

    def _sell(self, call: Call, bid: Bid, seat: str, sent_ms: int, now_ms: int) -> None:
        seed, venue = self._plan.seed, call.venue
        slot = call.shape.slots[bid.impid]
        micros = round(bid.price * 1_000_000)
        others = auction.competitors(seed, call.number, slot)
        outcome = auction.sell(micros, others, slot.floor_micros, venue.second_price and bid.dealid is None)
        self.counts["bids"] += 1
        number = call.number * 64 + auction.hash_of(bid.impid)
        price = price_of(venue, outcome.clear_micros, seed, number)
        values = {
            "AUCTION_ID": call.id,
            "AUCTION_BID_ID": bid.id,
            "AUCTION_IMP_ID": bid.impid,
            "AUCTION_SEAT_ID": seat,
            "AUCTION_AD_ID": bid.adid or "",
            "AUCTION_CURRENCY": "USD",
            "AUCTION_MIN_TO_WIN": f"{outcome.min_to_win_micros / 1_000_000:g}",
            "AUCTION_MULTIPLIER": "1",
            "AUCTION_LOSS": str(outcome.loss or ""),
        }
        faults = Draws(seed, number, FAULT)
        if not outcome.won:
            if bid.lurl:
                self._notify("loss", bid.lurl, call, price, values, None, now_ms + 200, faults)
            return
        self.counts["wins"] += 1
        self.by_venue[venue.name, "wins"] += 1
        campaign = bid.cid or ""
        sale = Sale(campaign, micros, outcome.clear_micros, PRICE[venue.exchange.price_notice])
        self.sales.append(sale)
        bid_ms = self._bid_ms(bid, sent_ms, now_ms)
        if bid.nurl:
            self._notify("win", bid.nurl, call, price, values, sale, now_ms + 100, faults)
        if venue.charged == "win":
            self._charge(sale, venue.name, bid_ms)
        draws, behaviour = Draws(seed, number, RENDER), self._plan.behaviour
        shown_ms = now_ms + 300 + int(min(draws.exponential(behaviour.render_ms), venue.exchange.exp * 900))
        if not draws.chance(behaviour.rendered):
            self.counts["won and not shown"] += 1
            return
        if venue.charged == "impression":
            self._charge(sale, venue.name, bid_ms)
        self.by_venue[venue.name, "impressions"] += 1
        self.impressions.record(call.person.identity(venue.name), campaign, bid.crid or "", shown_ms)
        if bid.burl:
            self._notify("billing", bid.burl, call, price, values, sale, shown_ms + 100, faults)
        trackers = find_trackers(substitute(bid.adm or "", venue.exchange.price_macro, price, values))
        if trackers.impression:
            self._queue_copies("impression", trackers.impression, sale, shown_ms, faults)
        else:
            self.counts["ads without a tracker"] += 1
        self._click(number, call, bid, trackers.click, shown_ms, faults)

    def _bid_ms(self, bid: Bid, sent_ms: int, now_ms: int) -> int:
        """When the bid was made, by its own URLs: to be believed as far as it lies between request and answer."""
        found = _bid_time.search(bid.nurl or bid.burl or bid.lurl or bid.adm or "")
        said = int(found[1]) if found else sent_ms
        if not sent_ms - 1000 <= said <= now_ms + 1000:
            self.counts["bids with a wrong time"] += 1
        return min(max(said, sent_ms), now_ms)

    def _charge(self, sale: Sale, venue: str, bid_ms: int) -> None:
        sale.charged = True
        self.charges.charge(sale.campaign, sale.clear_micros, bid_ms)
        self.by_venue[venue, "spend_nanos"] += sale.clear_micros

    def _click(self, number: int, call: Call, bid: Bid, url: str, shown_ms: int, faults: Draws) -> None:
        """Each creative and each kind of place has a click probability that only we know."""
        seed, behaviour = self._plan.seed, self._plan.behaviour
        draws = Draws(seed, number, CLICK)
        creative = Draws(seed, int.from_bytes((bid.crid or "").encode()[-12:], "big"), HIDDEN)
        place = Draws(seed, int.from_bytes(call.shape.place.encode()[-12:], "big"), HIDDEN)
        rate = behaviour.clicked * creative.lognormal(0.8, 0.6) * place.lognormal(0.9, 0.4)
        if not url or not draws.chance(rate):
            return
        self.counts["clicks"] += 1
        clicked_ms = shown_ms + 500 + int(draws.exponential(behaviour.click_ms))
        conversion = None
        if draws.chance(behaviour.converted * creative.lognormal(0.8, 0.6)):
            advertiser = self._advertisers.get(bid.cid or "", "")
            conversion = (advertiser, clicked_ms + 60_000 + int(draws.exponential(behaviour.convert_ms)))
        self._queue_copies("click", url, None, clicked_ms, faults, conversion)

    # Notices

    def _notify(
        self,
        kind: str,
        url: str,
        call: Call,
        price: str,
        values: dict[str, str],
        sale: Sale | None,
        due_ms: int,
        faults: Draws,
    ) -> None:
        self._queue_copies(kind, substitute(url, call.venue.exchange.price_macro, price, values), sale, due_ms, faults)

    def _queue_copies(
        self,
        kind: str,
        url: str,
        sale: Sale | None,
        due_ms: int,
        faults: Draws,
        conversion: tuple[str, int] | None = None,
    ) -> None:
        """Queue a notice as often as it arrives. Whatever host its URL names, it goes to the bidder under test."""
        target = url[at:] if (at := url.find("/", url.find("//") + 2)) > 0 else "/"
        delays = self._plan.faults.delays(faults)
        self.counts[f"{kind} notices"] += 1
        if not delays:
            self.counts["notices lost"] += 1
        for copy, delay in enumerate(delays):
            self._order += 1
            heapq.heappush(self._queue, Send(due_ms + delay, self._order, kind, target, sale, copy, conversion))
        if len(delays) > 1:
            self.counts["notices sent twice"] += 1

    def convert(self, advertiser: str, head: bytes, due_ms: int, order: str) -> None:
        """A click's redirect brought its person to the advertiser, who will report a conversion."""
        found, tokens = _click_id.search(head), self._plan.tokens
        if found is None or tokens is None or not advertiser:
            return
        self.counts["conversions"] += 1
        target = (
            f"/v1/conversion?advertiser={advertiser}&token={tokens(advertiser)}"
            f"&click_id={found[1].decode()}&order_id={order}&value=25.00"
        )
        self._order += 1
        heapq.heappush(self._queue, Send(due_ms, self._order, "conversion", target, None, 0))

    def due(self, now_ms: int) -> Iterator[Send]:
        """Notices whose time has come, in its order."""
        queue = self._queue
        while queue and queue[0].due_ms <= now_ms:
            yield heapq.heappop(queue)

    @property
    def outstanding(self) -> int:
        return len(self._queue)

    def arrived(self, send: Send) -> None:
        """The bidder answered a notice with success."""
        notice = hash(send.target)
        if notice not in self._told:
            self._told.add(notice)
            self.told[send.kind] += 1
        if send.sale is not None:
            send.sale.told |= FLAG.get(send.kind, 0)

    @staticmethod
    def in_doubt(send: Send) -> None:
        """The bidder did not answer a notice, which it may have taken all the same."""
        if send.sale is not None:
            send.sale.doubtful |= FLAG.get(send.kind, 0)
