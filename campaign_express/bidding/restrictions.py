"""What the exchange and the calendar forbid for a whole request: builders as in `targeting.py`.

Where the request forbids something that a campaign does not state (its categories in the request's taxonomy, say), the
campaign does not bid: what is forbidden is obeyed even when it cannot be proven to apply.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime

import numpy as np

from campaign_express.bidding.bitmaps import OneValue, Sparse, mask_of_flags
from campaign_express.bidding.context import Context
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.model import Exchange, Status
from campaign_express.bidding.targeting import Allow


def paused(lines: Lines) -> Allow | None:
    active = lines.where(lambda line: line.campaign.status is Status.ACTIVE)
    return (lambda c: active) if active != lines.everything else None


def flight(lines: Lines) -> Allow:
    """Flights include their start and exclude their end. A mask holds from one such moment to the next."""
    starts = np.array([_ms(line.campaign.flight.start) for line in lines], dtype=np.int64)
    ends = np.array([_ms(line.campaign.flight.end) for line in lines], dtype=np.int64)
    moments = np.unique(np.concatenate([starts, ends])).tolist()
    present = (0, 0, 0)  # since, until, mask: one tuple, so that another thread never sees half of a new one

    def allow(c: Context) -> int:
        nonlocal present
        now = c.wall_ms
        since, until, mask = present
        if since <= now < until:
            return mask
        at = bisect_right(moments, now)
        since = moments[at - 1] if at else 0
        until = moments[at] if at < len(moments) else _NEVER_MS
        mask = mask_of_flags((starts <= now) & (now < ends))
        present = (since, until, mask)
        return mask

    return allow


_NEVER_MS = 1 << 62


def _ms(moment: datetime | None) -> int:
    return _NEVER_MS if moment is None else int(moment.timestamp() * 1000)


def exchange(lines: Lines) -> Allow | None:
    index = OneValue(lines.everything, lines.rules(lambda c: (c.exchanges, ())))
    return (lambda c: index.allow.get(c.exchange.name, index.default)) if index.used else None


def approval(lines: Lines) -> Allow:
    """Creatives an exchange has approved, where it asks for that."""
    known: dict[str, int] = {}

    def allow(c: Context) -> int:
        if c.exchange.approved_creatives is None:
            return lines.everything
        mask = known.get(c.exchange.name)
        if mask is None:
            approved = frozenset(c.exchange.approved_creatives)
            mask = known[c.exchange.name] = lines.where(lambda line: line.creative.id in approved)
        return mask

    return allow


def seat_of(line: Line, exchange: Exchange) -> str:
    advertiser = line.advertiser
    return exchange.seats.get(advertiser.id) or advertiser.seat or advertiser.id


def seat(lines: Lines) -> Allow:
    """wseat (allowed seats, empty = all) and bseat (blocked seats), section 3.2.1."""
    known: dict[str, Sparse[str]] = {}

    def allow(c: Context) -> int:
        wanted, blocked = c.request.wseat, c.request.bseat
        if not wanted and not blocked:
            return lines.everything
        seats = known.get(c.exchange.name)
        if seats is None:
            seats = known[c.exchange.name] = lines.sparse(lambda line: (seat_of(line, c.exchange),))
        mask = lines.everything
        if wanted:
            mask = 0
            for name in wanted:
                mask |= seats.get(name)
        for name in blocked or ():
            mask &= ~seats.get(name)
        return mask

    return allow


def blocked_category(lines: Lines) -> Allow:
    """bcat in its taxonomy (cattax). In IAB Content 1.0 a blocked tier-1 code blocks its tier-2 codes."""

    def codes(line: Line) -> list[tuple[int, str]]:
        found = [(line.cattax, code.upper()) for code in line.cat]
        return found + [(1, code.partition("-")[0]) for tax, code in found if tax == 1 and "-" in code]

    having = lines.sparse(codes)
    stated = lines.by(lambda line: (line.cattax,) if line.cat else ())

    def allow(c: Context) -> int:
        blocked = c.request.bcat
        if not blocked:
            return lines.everything
        taxonomy = c.request.cattax or c.exchange.cattax
        mask = stated.get(taxonomy, 0)
        for code in blocked:
            mask &= ~having.get((taxonomy, code.upper()))
        return mask

    return allow


def blocked_advertiser(lines: Lines) -> Allow:
    """badv: a blocked domain blocks its subdomains too."""
    domains = lines.domains

    def allow(c: Context) -> int:
        blocked = c.request.badv
        mask = lines.everything
        if blocked:
            for domain in blocked:
                mask ^= mask & domains.get(domain.lower())
        return mask

    return allow


def blocked_app(lines: Lines) -> Allow:
    """bapp: bundles of apps that must not be advertised."""
    bundles = lines.sparse(lambda line: (line.advertiser.bundle.lower(),) if line.advertiser.bundle else ())

    def allow(c: Context) -> int:
        blocked = c.request.bapp
        mask = lines.everything
        if blocked:
            for bundle in blocked:
                mask &= ~bundles.get(bundle.lower())
        return mask

    return allow


def dsa(lines: Lines) -> Allow | None:
    """A bid that must disclose who paid comes only from advertisers who say so (IAB "DSA Transparency" extension).

    We do not draw the disclosure into the ad (adrender 0), so where the publisher cannot either nobody bids.
    """
    disclosed = lines.where(lambda line: line.advertiser.dsa is not None)
    masks = (lines.everything, disclosed, 0)
    return lambda c: masks[c.dsa]
