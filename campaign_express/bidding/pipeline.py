"""READ THIS FIRST. The decision: a batch of requests in, for each of them the bids or the reason there are none.

For each request: may any campaign bid on it (`eligibility`), for each of its impressions: which creatives fit, and
which of those may bid just now (`standing`: switches, money, frequency, pace). The candidates of the whole batch are
then scored in one run, priced in one pass over columns (`pricing`), and the best of each impression wins, if its
campaign can take the money and the person's count for it. Everything before (decoding, facts, consent, what is known of
the person) and after (URLs, markup, encoding) is `bidder.py`'s.

An impression is offered once in the open auction and once under each of its deals; each such *offer* is a row of the
batch, with its own candidates and floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from zlib import crc32

import numpy as np

from campaign_express.bidding.bitmaps import candidates
from campaign_express.bidding.context import Context
from campaign_express.bidding.currency import Rates
from campaign_express.bidding.deals import Deals
from campaign_express.bidding.eligibility import Matcher
from campaign_express.bidding.features import Part, request_part, slot_part, stack
from campaign_express.bidding.impression import Slot, floor_in_micros, place_slot
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.pricing import Priced, price
from campaign_express.bidding.slots import native_request
from campaign_express.bidding.standing import ANYBODY, Standing
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.request import Deal
from campaign_express.ports import Scorer, UserState

MAX_OFFERS = 256  # of one request: impressions and their deals beyond it get no bid
CHUNK = 256  # offers scored in one run: bounds the memory of a batch, whatever its requests hold
STRUCK = -1.0  # value of a candidate that cannot take what its bid needs
FIXED_PRICE = 3  # deal.at: "the value passed in bidfloor is the agreed upon deal price" (section 3.2.12)


class Win:
    """The bid for one impression."""

    __slots__ = ("deal", "entities", "floor_micros", "key", "lease", "line", "pctr", "pcvr", "price_micros", "slot")

    def __init__(
        self, slot: Slot, deal: Deal | None, line: Line, price_micros: int, floor_micros: int, pctr: float, pcvr: float
    ) -> None:
        self.slot = slot
        self.floor_micros = floor_micros  # of the impression or the deal
        self.deal = deal
        self.line = line
        self.price_micros = price_micros  # CPM micros of USD
        self.pctr = pctr
        self.pcvr = pcvr
        self.lease = 0  # from which the impression's cost is authorised; 0: no budget limits it
        self.key = ""  # what its events are known by, once `respond.key_of` was asked
        self.entities: tuple[str, ...] = ()  # what the impression counts for in the person's frequency


class Decision:
    """Bids in the order of the impressions, or the reason there are none: that of the impression that came furthest."""

    __slots__ = ("context", "currency", "person", "rate", "reason", "spends", "wins")

    def __init__(self, context: Context, person: UserState | None = ANYBODY, spends: bool = True) -> None:
        self.context = context
        self.person = person
        self.spends = spends and context.request.test != 1
        self.wins: list[Win] = []
        self.reason: NoBidReason | None = None
        self.currency = "USD"
        self.rate = 1.0  # USD that one unit of `currency` is worth

    def lose(self, reason: NoBidReason) -> None:
        """Keep the reason of the furthest filter; reasons are declared in the order in which filters run."""
        if self.reason is None or reason.index > self.reason.index:
            self.reason = reason


class Offer:
    """One impression, openly or under one deal, and the lines that may bid on it."""

    __slots__ = ("deal", "decision", "floor", "mask", "part", "slot")

    def __init__(self, decision: Decision, slot: Slot, deal: Deal | None, mask: int, floor: int, part: Part) -> None:
        self.decision = decision
        self.slot = slot
        self.deal = deal
        self.mask = mask
        self.floor = floor
        self.part = part


class Pipeline:
    """The decision for one catalogue. Immutable once made: a new catalogue is a new pipeline."""

    def __init__(
        self,
        lines: Lines,
        scorer: Scorer,
        rates: Rates,
        max_candidates: int,
        version: int = 0,
        standing: Standing | None = None,
    ) -> None:
        self.version = version  # of the catalogue
        self.standing = standing or Standing(lines)
        self.lines = lines
        self.scorer = scorer
        self.rates = rates
        self.max_candidates = max_candidates
        self.matcher = Matcher(lines)
        self.deals = Deals(lines)
        self.creatives = scorer.embed(lines.creative_cat)

    def decide(
        self, contexts: Sequence[Context], people: Sequence[UserState | None] | None = None, spends: bool = True
    ) -> list[Decision]:
        """One decision a context, in order.

        `people`: what is known of each context's person (see `standing`); None: frequency caps are not kept. `spends`:
        whether money is authorised for what is won; an explanation does not.
        """
        if people is None:
            decisions = [Decision(context, ANYBODY, spends) for context in contexts]
        else:
            decisions = [Decision(context, who, spends) for context, who in zip(contexts, people, strict=True)]
        offers = self.match(decisions)
        start = 0
        while start < len(offers):
            end = min(start + CHUNK, len(offers))
            while end < len(offers) and offers[end].slot is offers[end - 1].slot:
                end += 1  # an impression is awarded as a whole
            chunk = offers[start:end]
            self._award(chunk, self.score(chunk))
            start = end
        for decision in decisions:
            if decision.wins:
                decision.reason = None
        return decisions

    def match(self, decisions: Sequence[Decision]) -> list[Offer]:
        """What is offered to whom, in the order of the decisions; or else why nothing is, noted in the decision."""
        offers: list[Offer] = []
        admitted = self.matcher.requests([decision.context for decision in decisions])
        for decision, mask in zip(decisions, admitted, strict=True):
            if not self._settle_currency(decision):
                decision.lose(NoBidReason.CURRENCY)
            elif not mask:
                decision.lose(self.matcher.why_not_request(decision.context))
            else:
                self._offer(decision, mask, offers)
        return offers

    def _offer(self, decision: Decision, admitted: int, offers: list[Offer]) -> None:
        """Append the offers of one request, which admits the lines of `admitted`."""
        context = decision.context
        able = self.standing.able(context, decision.person)
        shared = request_part(context)
        most = len(offers) + MAX_OFFERS
        for index, imp in enumerate(context.request.imp):
            if len(offers) >= most:
                decision.lose(NoBidReason.NO_SCORE)
                break
            fit = self.matcher.fit(imp, self.rates)
            slot = place_slot(fit.slot, imp, index, self.rates)
            reason = refused(slot)
            if reason is not None:
                decision.lose(reason)
                continue
            mask = self.matcher.slot(slot, fit, admitted)
            if not mask:
                decision.lose(self.matcher.why_not_slot(slot, admitted))
                continue
            if not mask & able:
                decision.lose(self.standing.why_not(context, decision.person, mask))
                continue
            mask &= able
            own = slot_part(context, slot, fit.part)
            part = (shared[0] + own[0], shared[1] + own[1])
            pmp = imp.pmp
            if pmp is None:
                mask &= self.deals.open
                if mask:
                    offers.append(Offer(decision, slot, None, mask, slot.floor_micros, part))
                else:
                    decision.lose(NoBidReason.DEAL)
                continue
            before = len(offers)
            for deal in (pmp.deals or ())[: most - before]:
                floor = floor_in_micros(deal.bidfloor, deal.bidfloorcur, self.rates)
                under = mask & self.deals.admitted(context, deal) if floor >= 0 else 0
                if under:
                    offers.append(Offer(decision, slot, deal, under, floor, part))
            if pmp.private_auction != 1:
                mask &= self.deals.open
                if mask:
                    offers.append(Offer(decision, slot, None, mask, slot.floor_micros, part))
            if len(offers) == before:
                decision.lose(NoBidReason.PRIVATE_AUCTION if pmp.private_auction == 1 else NoBidReason.DEAL)

    def score(self, offers: Sequence[Offer]) -> Priced:
        """Candidates of all offers, scored in one run and priced."""
        masks = [o.mask for o in offers]
        counts = [mask.bit_count() for mask in masks]
        row, line = candidates(masks, counts, self.lines.count)
        if max(counts) > self.max_candidates:
            # Lines are in order of their max bid, so the first ones are those that can pay most.
            rank = np.arange(row.size) - (np.cumsum(counts) - counts)[row]
            keep = rank < self.max_candidates
            row, line = row[keep], line[keep]
            counts = [min(count, self.max_candidates) for count in counts]
        request_cat, request_num = stack([o.part for o in offers])
        # `take` is several times faster than indexing.
        pctr, pcvr = self.scorer.score(request_cat, request_num, self.creatives.take(line, axis=0), row)
        return Priced(counts, row, line, pctr, pcvr, price(self.lines, line, pctr, pcvr, self.standing.multiplier))

    def _settle_currency(self, decision: Decision) -> bool:
        """The first currency of `cur` that we can convert, USD first; the exchange's when the request names none."""
        context = decision.context
        wanted = context.request.cur or (context.exchange.currency,)
        if "USD" in wanted:
            return True
        for currency in wanted:
            rate = self.rates.usd_per(currency)
            if rate is not None:
                decision.currency, decision.rate = currency, rate
                return True
        return False

    def _award(self, offers: list[Offer], priced: Priced) -> None:
        """Sell each impression that is offered. Offers of one impression are neighbours."""
        ends = list(accumulate(priced.counts))
        first, total = 0, len(offers)
        while first < total:
            slot, after = offers[first].slot, first + 1
            while after < total and offers[after].slot is slot:
                after += 1
            self._sell(range(first, after), offers, ends, priced)
            first = after

    def _sell(self, rows: range, offers: list[Offer], ends: list[int], priced: Priced) -> None:
        """The best of the offers `rows` of one impression wins, if it can take the money and the person's count for it.

        If not, the next best does.
        """
        decision = offers[rows.start].decision
        while True:
            win: Win | None = None
            for row in rows:
                found = self._best(offers[row], ends[row - 1] if row else 0, ends[row], priced)
                # On equal prices the deal wins, which stands before the open auction.
                if found is not None and (win is None or found.price_micros > win.price_micros):
                    win = found
            if win is None:
                return
            obstacle = self.standing.take(decision, win) if decision.spends else None
            if obstacle is None:
                decision.wins.append(win)
                return
            decision.lose(obstacle)
            for at in range(ends[rows.start - 1] if rows.start else 0, ends[rows.stop - 1]):
                line = self.lines.lines[priced.line.item(at)]
                # Money is the campaign's, a count may be that of one creative.
                if line is win.line or (obstacle is NoBidReason.BUDGET and line.campaign is win.line.campaign):
                    priced.value[at] = STRUCK

    def _best(self, offer: Offer, start: int, end: int, priced: Priced) -> Win | None:
        """The best of an offer's candidates `start` to `end`, if it is worth the floor."""
        # Single elements are read by `item`, which is several times faster than indexing.
        value, line_at = priced.value.item, priced.line.item
        at = start + int(priced.value[start:end].argmax())
        best = value(at)
        if best < (offer.floor or 1):
            if best != STRUCK:
                offer.decision.lose(NoBidReason.FLOOR)
            return None
        deal = offer.deal
        amount = offer.floor if deal is not None and deal.at == FIXED_PRICE and offer.floor else int(best)
        limit = self.lines.campaign_end[line_at(at)]
        tied = [at]
        for other in range(at + 1, end):  # lines of a campaign are neighbours
            if line_at(other) >= limit:
                break
            if value(other) == best:
                tied.append(other)
        if len(tied) > 1:
            at = self._rotate(offer, tied, priced)
        line = self.lines.lines[line_at(at)]
        return Win(offer.slot, deal, line, amount, offer.floor, priced.pctr.item(at), priced.pcvr.item(at))

    def _rotate(self, offer: Offer, tied: list[int], priced: Priced) -> int:
        """Among creatives of the winning campaign that are worth the same, one by weight, fixed by the auction's id."""
        weights = [self.lines.lines[priced.line.item(at)].creative.weight for at in tied]
        text = offer.decision.context.request.id + offer.slot.imp.id
        ticket = crc32(text.encode("utf-8", "surrogatepass")) % sum(weights)
        for at, weight in zip(tied, weights, strict=True):
            ticket -= weight
            if ticket < 0:
                return at
        raise AssertionError("the ticket is below the sum of the weights")


def refused(slot: Slot) -> NoBidReason | None:
    """What we do not sell into, rather than half: ad pods of flexible length, DOOH multipliers, unknown currencies,
    broken
    native requests. A slot of a structured pod (with its own durations) is an impression like any other."""
    imp = slot.imp
    if slot.floor_micros < 0:
        return NoBidReason.CURRENCY
    if imp.qty is not None and imp.qty.multiplier is not None and imp.qty.multiplier != 1:
        return NoBidReason.DOOH_QUANTITY
    if slot.dynamic_pod:
        return NoBidReason.AD_POD
    if imp.native is not None and slot.kinds == 8 and native_request(slot) is None:
        return NoBidReason.NATIVE_REQUEST
    return None
