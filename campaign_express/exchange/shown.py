"""Impressions by person, and whether any frequency cap was exceeded: checked afterwards, on every impression's time.

A sliding window of length L is half open, (t - L, t]; a calendar window is the local hour, day or week (from Monday)
of the campaign's time zone. Nothing is shared with the bidder but the catalogue.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from campaign_express.bidding.model import CapPeriod, Catalog, FrequencyCap

_LENGTH_MS = {CapPeriod.HOUR: 3_600_000, CapPeriod.DAY: 24 * 3_600_000, CapPeriod.WEEK: 7 * 24 * 3_600_000}


class Exceeded(NamedTuple):
    """A cap that somebody was shown more than."""

    entity: str  # "campaign x" or "creative y"
    cap: FrequencyCap
    person: str
    impressions: int  # beyond the cap
    times: list[int]  # of all that were shown, Unix ms


class Impressions:
    """What was shown to whom. What was shown to nobody (see `people.Person.identity`) is counted, and never capped."""

    def __init__(self) -> None:
        self.total = 0
        self._campaigns: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._creatives: defaultdict[tuple[str, str], list[int]] = defaultdict(list)

    def record(self, person: str, campaign: str, creative: str, at_ms: int) -> None:
        self.total += 1
        if person:
            self._campaigns[campaign, person].append(at_ms)
            self._creatives[creative, person].append(at_ms)

    def exceeded(self, catalog: Catalog) -> Iterator[Exceeded]:
        campaigns = {one.id: (one.caps, ZoneInfo(one.time_zone)) for one in catalog.campaigns if one.caps}
        creatives = {
            creative.id: (creative.caps, ZoneInfo(one.time_zone))
            for one in catalog.campaigns
            for creative in one.creatives
            if creative.caps
        }
        for kind, capped, shown in (
            ("campaign", campaigns, self._campaigns),
            ("creative", creatives, self._creatives),
        ):
            for (name, person), times in shown.items():
                caps, zone = capped.get(name, ((), None))
                for cap in caps:
                    if zone is not None and (beyond := impressions_beyond(cap, sorted(times), zone)):
                        yield Exceeded(f"{kind} {name}", cap, person, beyond, sorted(times))


def impressions_beyond(cap: FrequencyCap, times: list[int], zone: ZoneInfo) -> int:
    """How many of `times` (rising, Unix ms) were one too many when they came."""
    if cap.per is CapPeriod.LIFETIME:
        return max(0, len(times) - cap.limit)
    if cap.window == "sliding":
        length = _LENGTH_MS[cap.per]
        return sum(later - earlier < length for earlier, later in zip(times, times[cap.limit :], strict=False))
    counts = Counter(_period(cap.per, at_ms, zone) for at_ms in times)
    return sum(max(0, count - cap.limit) for count in counts.values())


def _period(per: CapPeriod, at_ms: int, zone: ZoneInfo) -> str:
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    if per is CapPeriod.HOUR:
        return f"{local:%Y-%m-%dT%H%z}"
    day = local.date()
    return str(day if per is CapPeriod.DAY else day - timedelta(days=day.weekday()))
