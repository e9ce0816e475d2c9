"""What limits an advertiser's spending, and how time is cut for it. Pure arithmetic; the money itself is elsewhere.

Six *scopes* hold for every impression of a campaign: its own total, day and hour, and those of its advertiser's
account. A day or an hour is one of the time zone beside the budget, and is named by a *period key* such as `d20261125`
or `h2026112514`.

Money is taken from the ledger (`adapters/ledger.py`) in *leases*: buckets of wall-clock time, all of one length. A
lease's id is the bucket's end in Unix seconds, which is also its deadline. Its length divides a quarter of an hour, and
every time zone in use is a multiple of that from UTC, so that a bucket lies in one hour of any zone: whatever is
authorised from a lease belongs to one period of each scope, that of the bid, whenever its notice comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from campaign_express.bidding.model import Advertiser, Budget, Campaign, Catalog
from campaign_express.errors import ConfigError
from campaign_express.events import impression_cost

HEADROOM = 0.005  # share of a budget that is never lent, for what comes after its reservation was given up
QUARTER_S = 900


class LeaseClock:
    """Cuts wall-clock time into leases of `lease_s` seconds. Raises ConfigError where these do not divide 15 min."""

    def __init__(self, lease_s: int = 60) -> None:
        if lease_s < 1 or QUARTER_S % lease_s:
            raise ConfigError(
                "Settings that cannot be used:", [f"lease_s: {lease_s} does not divide {QUARTER_S} seconds"]
            )
        self.lease_s = lease_s

    def lease_at(self, wall_ms: int) -> int:
        """Id of the lease of this moment: the end of its bucket, Unix seconds. A bucket's end is in the next one."""
        return (wall_ms // 1000 // self.lease_s + 1) * self.lease_s

    def deadline_ms(self, lease: int) -> int:
        """First moment at which nothing may be authorised from it any more."""
        return lease * 1000

    def start_ms(self, lease: int) -> int:
        return (lease - self.lease_s) * 1000


class Periods(NamedTuple):
    """Period keys of one moment in the zones of a campaign and of its account."""

    day: str
    hour: str
    account_day: str
    account_hour: str


@lru_cache(maxsize=65_536)
def _keys(zone: str, quarter: int) -> tuple[str, str]:
    local = datetime.fromtimestamp(quarter * QUARTER_S, UTC).astimezone(ZoneInfo(zone))
    # In autumn an hour comes twice; the second is a period of its own, or it would find the first one's money spent.
    again = "x" if local.fold else ""
    return f"d{local:%Y%m%d}", f"h{local:%Y%m%d%H}{again}"


def day_key(zone: str, wall_ms: int) -> str:
    """`d20261125`: the day of this moment in the time zone `zone`."""
    return _keys(zone, wall_ms // (QUARTER_S * 1000))[0]


def hour_key(zone: str, wall_ms: int) -> str:
    """`h2026112514`: the hour of this moment; `h2026110101x` where a clock that was put back shows 1 o'clock again."""
    return _keys(zone, wall_ms // (QUARTER_S * 1000))[1]


def day_bounds_ms(zone: str, wall_ms: int) -> tuple[int, int]:
    """Start and end of the day of this moment, Unix ms; 23 or 25 hours apart where clocks are changed."""
    local = datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    end = (start + timedelta(days=1)).replace(fold=0)  # wall arithmetic: the next midnight
    return int(start.timestamp() * 1000), int(end.timestamp() * 1000)


class Scope(NamedTuple):
    """One limit on a campaign's spending in one period."""

    name: str  # "budget.daily", "account.budget.total", ...
    period: str  # period key, "" is the total
    limit: int | None  # micros; None = no limit
    headroom: int  # of the limit, micros: never lent

    @property
    def grantable(self) -> int | None:
        """The most that may be committed and reserved together when more is lent."""
        return None if self.limit is None else self.limit - self.headroom


class Limits(NamedTuple):
    """A budget's limits and what is held back of each."""

    total: int | None
    daily: int | None
    hourly: int | None
    total_headroom: int
    daily_headroom: int
    hourly_headroom: int

    @property
    def grantable(self) -> tuple[int | None, int | None, int | None]:
        """The most that may be committed and reserved together when more is lent: total, daily, hourly."""
        total, daily, hourly, *headroom = self
        return (
            None if total is None else total - headroom[0],
            None if daily is None else daily - headroom[1],
            None if hourly is None else hourly - headroom[2],
        )


def limits(budget: Budget, share: float = HEADROOM) -> Limits:
    """Headroom of the day is `share` of the daily budget, and so it is of the total, that of the hour of the hourly.

    Where there is no daily budget the total's is `share` of the total. Rounded up to whole micros.
    """

    def part(limit: int | None) -> int:
        return math.ceil(round((limit or 0) * share, 6))

    total = part(budget.total if budget.daily is None else budget.daily)
    return Limits(
        *(budget.total, budget.daily, budget.hourly),
        *(min(total, budget.total or 0), part(budget.daily), part(budget.hourly)),
    )


class CampaignAccount(NamedTuple):
    """What the ledger must know of one campaign."""

    campaign: str
    advertiser: str
    zone: str
    account_zone: str
    limits: Limits
    account_limits: Limits
    limited: bool  # by a budget of its own or of its account
    cost_micros: int  # the most that one impression may cost

    def periods(self, wall_ms: int) -> Periods:
        quarter = wall_ms // (QUARTER_S * 1000)
        return Periods(*_keys(self.zone, quarter), *_keys(self.account_zone, quarter))


class Accounts:
    """All campaigns of a catalogue with their scopes."""

    def __init__(self, catalog: Catalog, headroom: float = HEADROOM) -> None:
        advertisers = {advertiser.id: advertiser for advertiser in catalog.advertisers}
        self.headroom = headroom
        self.campaigns: dict[str, CampaignAccount] = {
            campaign.id: _account(campaign, advertisers[campaign.advertiser], headroom)
            for campaign in catalog.campaigns
        }
        self.of_advertiser: dict[str, list[str]] = {advertiser: [] for advertiser in advertisers}
        for campaign in catalog.campaigns:
            self.of_advertiser[campaign.advertiser].append(campaign.id)
        self._account_zones = {advertiser.id: advertiser.time_zone for advertiser in catalog.advertisers}
        self._account_limits = {a.id: limits(a.budget, headroom) for a in catalog.advertisers}
        self._former: dict[str, CampaignAccount] = {}

    def remembering(self, former: Accounts) -> Accounts:
        """These accounts, with the time zones of campaigns that were in `former`: notices may still come for them."""
        made = copy(self)
        known = {**former._former, **former.campaigns}
        made._former = {name: account for name, account in known.items() if name not in self.campaigns}
        return made

    def get(self, campaign: str) -> CampaignAccount | None:
        """Also of a campaign that was in an earlier catalogue."""
        return self.campaigns.get(campaign) or self._former.get(campaign)

    def account_limits(self, advertiser: str) -> Limits:
        return self._account_limits[advertiser]

    def periods(self, advertiser: str, campaign: str, wall_ms: int) -> Periods:
        """Of a campaign that nobody has heard of: days and hours of UTC, or of the account where that is known."""
        account = self.get(campaign)
        if account is not None:
            return account.periods(wall_ms)
        quarter = wall_ms // (QUARTER_S * 1000)
        zone = self._account_zones.get(advertiser, "UTC")
        return Periods(*_keys("UTC", quarter), *_keys(zone, quarter))

    def scopes(self, campaign: str, wall_ms: int) -> tuple[Scope, ...]:
        """The six scopes of a campaign at a moment. KeyError where the catalogue does not hold it."""
        account = self.campaigns[campaign]
        day, hour, account_day, account_hour = account.periods(wall_ms)
        return (
            *_scopes("budget", account.limits, day, hour),
            *_scopes("account.budget", account.account_limits, account_day, account_hour),
        )


def _scopes(name: str, limits: Limits, day: str, hour: str) -> tuple[Scope, Scope, Scope]:
    return (
        Scope(f"{name}.total", "", limits.total, limits.total_headroom),
        Scope(f"{name}.daily", day, limits.daily, limits.daily_headroom),
        Scope(f"{name}.hourly", hour, limits.hourly, limits.hourly_headroom),
    )


def _account(campaign: Campaign, advertiser: Advertiser, headroom: float) -> CampaignAccount:
    return CampaignAccount(
        campaign=campaign.id,
        advertiser=advertiser.id,
        zone=campaign.time_zone,
        account_zone=advertiser.time_zone,
        limits=limits(campaign.budget, headroom),
        account_limits=limits(advertiser.budget, headroom),
        limited=campaign.budget.limited or advertiser.budget.limited,
        cost_micros=impression_cost(campaign.max_bid),
    )


def settle_s(exps: Mapping[str, int], lateness_s: int) -> int:
    """Seconds after a lease's deadline at which no timely notice of a bid from it can be outstanding any more.

    `exps`: of the exchanges, by name. A bid made at the deadline may become an impression `exp` later, and the notice
    of that may come `lateness_s` after it.
    """
    return max(exps.values()) + lateness_s
