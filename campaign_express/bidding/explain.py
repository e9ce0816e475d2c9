"""Every decision explained: per campaign the first filter that stopped it, or its features, score, price and rank.

It runs the same filters and the same arithmetic as a bid, with somebody watching.
"""

from __future__ import annotations

from typing import Any

from campaign_express.bidding.bitmaps import bits
from campaign_express.bidding.context import Context
from campaign_express.bidding.features import CREATIVE_CATEGORICAL, REQUEST_CATEGORICAL, REQUEST_NUMERIC
from campaign_express.bidding.impression import build_slot
from campaign_express.bidding.money import MICROS
from campaign_express.bidding.pipeline import Decision, Offer, Pipeline, refused
from campaign_express.bidding.standing import ANYBODY
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.ports import UserState


def explain(
    pipeline: Pipeline, context: Context, refusal: NoBidReason | None = None, person: UserState | None = ANYBODY
) -> dict[str, Any]:
    """The story of one request. `refusal`: why it was not decided at all (invalid traffic, say).

    `person`: see `standing`. Nothing is spent or counted.
    """
    decision = Decision(context)
    offers: list[Offer] = []
    if refusal is not None:
        decision.lose(refusal)
    else:
        decision = pipeline.decide([context], [person], spends=False)[0]
        offers = pipeline.match([Decision(context, person, spends=False)])
    return {
        "id": context.request.id,
        "exchange": context.exchange_name,
        "outcome": "bid" if decision.wins else "no-bid",
        "reason": decision.reason.value if decision.reason is not None else None,
        "facts": _facts(context),
        "impressions": [] if refusal is not None else _impressions(pipeline, context, decision, offers),
    }


def _facts(context: Context) -> dict[str, Any]:
    """What was known when deciding. No user id: explanations are for operators, not for finding people."""
    consent = context.consent
    return {
        "inventory": context.inventory.value if context.inventory is not None else None,
        "domain": context.domain,
        "bundle": context.bundle,
        "publisher": context.publisher,
        "country": context.country,
        "region": context.region,
        "city": context.city,
        "device_type": context.device_type,
        "os": context.os,
        "os_version": context.os_version,
        "browser": context.browser,
        "language": context.language,
        "user_known": bool(context.user_id),
        "segments": len(context.segments),
        "contextual": consent.contextual,
        "contextual_because": consent.reason,
        "hour_of_week": {"utc": context.utc_hour, "user": context.user_hour if context.user_hour >= 0 else None},
    }


def _impressions(pipeline: Pipeline, context: Context, decision: Decision, offers: list[Offer]) -> list[dict[str, Any]]:
    stopped_by_request: dict[int, str] = {}

    def note(stopped: dict[int, str]) -> Any:
        def watch(reason: NoBidReason, before: int, after: int) -> None:
            for bit in bits(before & ~after):
                stopped[bit] = reason.value

        return watch

    pipeline.matcher.why_not_request(context, note(stopped_by_request))
    (admitted,) = pipeline.matcher.requests([context])
    wins = {win.slot.index: win for win in decision.wins}
    payable = decision.reason is not NoBidReason.CURRENCY
    stories = []
    for index, imp in enumerate(context.request.imp):
        slot = build_slot(imp, index, pipeline.rates)
        stopped = dict(stopped_by_request)
        reason = refused(slot)
        pipeline.matcher.why_not_slot(slot, admitted, note(stopped))
        mine = [o for o in offers if o.slot.index == index]
        offered = 0
        for offer in mine:
            offered |= offer.mask
        fitting = pipeline.matcher.slot(slot, pipeline.matcher.fit(imp, pipeline.rates), admitted)
        for obstacle, allowed in pipeline.standing.conditions(context, decision.person):
            for bit in bits(fitting & ~allowed):
                stopped[bit] = obstacle.value
            fitting &= allowed
        for bit in bits(fitting & ~offered):
            stopped[bit] = (reason or (NoBidReason.DEAL if payable else NoBidReason.CURRENCY)).value
        scored = _scored(pipeline, mine)
        win = wins.get(index)
        stories.append(
            {
                "impid": imp.id,
                "floor": slot.floor_micros / MICROS,
                "refused": reason.value if reason is not None else None,
                "winner": (
                    {
                        "campaign": win.line.campaign.id,
                        "creative": win.line.creative.id,
                        "price": win.price_micros / MICROS,
                        "dealid": win.deal.id if win.deal is not None else None,
                    }
                    if win is not None
                    else None
                ),
                "campaigns": _campaigns(pipeline, stopped, scored),
                "features": _features(mine[0]) if mine else None,
            }
        )
    return stories


def _scored(pipeline: Pipeline, offers: list[Offer]) -> dict[int, list[dict[str, Any]]]:
    """By line: what each offer made of it, with its rank there."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not offers:
        return found
    priced = pipeline.score(offers)
    for row, offer in enumerate(offers):
        at = (priced.row == row).nonzero()[0]
        order = sorted(at.tolist(), key=lambda i: (-priced.value[i], priced.line[i]))
        for rank, i in enumerate(order, 1):
            line = int(priced.line[i])
            found.setdefault(line, []).append(
                {
                    "dealid": offer.deal.id if offer.deal is not None else None,
                    "pctr": float(priced.pctr[i]),
                    "pcvr": float(priced.pcvr[i]),
                    "price": float(priced.value[i]) / MICROS,
                    "floor": offer.floor / MICROS,
                    "rank": rank,
                    "below_floor": bool(priced.value[i] < (offer.floor or 1)),
                }
            )
        if len(order) < offer.mask.bit_count():
            for line in bits(offer.mask):
                found.setdefault(line, [])  # cut by max_candidates
    return found


def _campaigns(
    pipeline: Pipeline, stopped: dict[int, str], scored: dict[int, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    stories = []
    for campaign, _, mask in pipeline.lines.campaigns:
        creatives = []
        for bit in bits(mask):
            line = pipeline.lines.lines[bit]
            story: dict[str, Any] = {"creative": line.creative.id}
            if bit in scored:
                story["offers"] = scored[bit]
                story["features"] = dict(
                    zip(CREATIVE_CATEGORICAL, pipeline.lines.creative_cat[bit].tolist(), strict=True)
                )
                if not scored[bit]:
                    story["stopped_by"] = NoBidReason.NO_SCORE.value
                elif all(offer["below_floor"] for offer in scored[bit]):
                    story["stopped_by"] = NoBidReason.FLOOR.value
                elif all(offer["rank"] > 1 for offer in scored[bit]):
                    story["stopped_by"] = NoBidReason.OUTBID.value
            else:
                story["stopped_by"] = stopped.get(bit, NoBidReason.NO_CAMPAIGN.value)
            creatives.append(story)
        stories.append({"campaign": campaign.id, "creatives": creatives})
    return stories


def _features(offer: Offer) -> dict[str, Any]:
    categorical, numeric = offer.part
    return {
        **dict(zip(REQUEST_CATEGORICAL, categorical, strict=True)),
        **{name: round(value, 6) for name, value in zip(REQUEST_NUMERIC, numeric, strict=True)},
    }
