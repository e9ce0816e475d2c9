"""What a publication or a switch changes, as events. docs/events.md, "Changes"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from campaign_express.bidding.model import Advertiser, Campaign, Catalog
from campaign_express.control import Stop, Switched
from campaign_express.events import ChangeEvent, event_id

_Of = tuple[int, str, int]  # time in ms, actor, version of the catalogue

MAX_TEXT = 262_144  # bytes of a `before` or `after`; NATS takes a megabyte


def catalog_changes(before: Catalog | None, after: Catalog, time_ms: int, actor: str) -> Iterator[ChangeEvent]:
    """One event of the publication, then those of the advertisers and campaigns that it changes.

    Kinds: `catalogue` of the whole, and of an advertiser; `campaign`; `budget` of either, where its budget changes.
    """
    of = (time_ms, actor, after.version)
    yield _change("catalogue", *of, _sizes(before), _sizes(after), {})
    old_advertisers = {one.id: one for one in before.advertisers} if before is not None else {}
    old_campaigns = {one.id: one for one in before.campaigns} if before is not None else {}
    for advertiser in after.advertisers:
        old = old_advertisers.pop(advertiser.id, None)
        yield from _differences("catalogue", old, advertiser, of, {"advertiser": advertiser.id})
    for campaign in after.campaigns:
        was = old_campaigns.pop(campaign.id, None)
        yield from _differences("campaign", was, campaign, of, _about(campaign))
    for gone in old_campaigns.values():
        yield from _differences("campaign", gone, None, of, _about(gone))
    for left in old_advertisers.values():
        yield from _differences("catalogue", left, None, of, {"advertiser": left.id})


def _about(campaign: Campaign) -> dict[str, str]:
    return {"advertiser": campaign.advertiser, "campaign": campaign.id}


def switch_change(what: Switched, before: Stop | None, after: Stop | None, time_ms: int, actor: str) -> ChangeEvent:
    """A switch that was set (`after`) or taken back."""
    was, now = (_text(one) if one is not None else "" for one in (before, after))
    return _change("switch", time_ms, actor, 0, was, now, {what.kind: what.name})


def _differences(
    kind: str, old: Advertiser | Campaign | None, new: Advertiser | Campaign | None, of: _Of, about: Mapping[str, str]
) -> Iterator[ChangeEvent]:
    """Nothing where both are the same; the whole where there is only one."""
    if old is None or new is None:
        before, after = (_text(one) if one is not None else "" for one in (old, new))
        yield _change(kind, *of, before, after, about)
        return
    if old == new:
        return
    changed = [name for name in new.__struct_fields__ if getattr(old, name) != getattr(new, name)]
    others = [name for name in changed if name != "budget"]
    for group, names in (("budget", ["budget"] if "budget" in changed else []), (kind, others)):
        if names:
            before, after = (_text({name: getattr(one, name) for name in names}) for one in (old, new))
            yield _change(group, *of, before, after, about)


def _change(
    kind: str, time_ms: int, actor: str, version: int, before: str, after: str, about: Mapping[str, str]
) -> ChangeEvent:
    """`about`: which advertiser, campaign or exchange; of none, all."""
    advertiser, campaign, exchange = (about.get(name, "") for name in ("advertiser", "campaign", "exchange"))
    return ChangeEvent(
        id=event_id(kind, f"{time_ms} {version}", f"{advertiser}\n{campaign}\n{exchange}"),
        kind=kind,
        time_ms=time_ms,
        actor=actor,
        advertiser=advertiser,
        campaign=campaign,
        exchange=exchange,
        catalog=version,
        before=before,
        after=after,
    )


def _sizes(catalog: Catalog | None) -> str:
    if catalog is None:
        return ""
    sizes = {"advertisers": len(catalog.advertisers), "campaigns": len(catalog.campaigns)}
    return _text({"version": catalog.version, **sizes})


def _text(value: Any) -> str:
    """JSON; of what is too large for a message only its size."""
    text = msgspec.json.encode(value)
    return text.decode() if len(text) <= MAX_TEXT else f'{{"bytes":{len(text)}}}'
