"""Private deals: which lines may bid under a deal, and which in the open auction.

A campaign that includes deals bids only under them; one that includes none bids only in the open auction. A deal may
name seats (wseat) and advertiser domains (wadomain) that alone may use it (section 3.2.12).
"""

from __future__ import annotations

from campaign_express.bidding.bitmaps import Sparse
from campaign_express.bidding.context import Context
from campaign_express.bidding.lines import Lines
from campaign_express.bidding.restrictions import seat_of
from campaign_express.openrtb.request import Deal


class Deals:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._included = lines.sparse(lambda line: line.campaign.targeting.deal.include)
        self._excluded = lines.sparse(lambda line: line.campaign.targeting.deal.exclude)
        self._seats: dict[str, Sparse[str]] = {}
        self.open = lines.where(lambda line: not line.campaign.targeting.deal.include)

    def admitted(self, context: Context, deal: Deal) -> int:
        """Mask of the lines that may bid under `deal`."""
        mask = self._included.get(deal.id)
        mask ^= mask & self._excluded.get(deal.id)
        if not mask:
            return 0
        if deal.wseat:
            exchange = context.exchange
            seats = self._seats.get(exchange.name)
            if seats is None:
                seats = self._seats[exchange.name] = self._lines.sparse(lambda line: (seat_of(line, exchange),))
            wanted = 0
            for name in deal.wseat:
                wanted |= seats.get(name)
            mask &= wanted
        if deal.wadomain:
            wanted = 0
            for domain in deal.wadomain:
                wanted |= self._lines.domains.get(domain.lower())
            mask &= wanted
        return mask
