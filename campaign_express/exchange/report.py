"""The report of a run: what was asked, bid, won, charged, shown and exceeded, in all and by campaign.

Pacing is judged on the exchange's own charges. The ideal curve of an evenly paced campaign follows the usual traffic
(without spikes) of each local day that lies within the run: by a moment at which a share F of the day's usual traffic
has come, it should have spent F of its daily budget. Its pacing error is the largest distance from that, as a share of
the daily budget.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from campaign_express.bidding.model import Campaign, Pacing
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.simulation import Results
from campaign_express.exchange.told import Sale, expect
from campaign_express.exchange.truth import NANOS, cumulative

STEP_MINUTES = 5  # of curves


class CampaignRow(Struct, kw_only=True):
    """One campaign. Micros of USD; `delivery` and `pacing_error` are shares of the daily budget, None where there is
    none, or no whole day of it in the run; a campaign that is not evenly paced has no pacing error."""

    campaign: str
    advertiser: str = ""
    pacing: str = ""
    daily_micros: int | None = None
    total_micros: int | None = None
    hourly_micros: int | None = None
    wins: int = 0
    charged_micros: int = 0
    expected_committed_micros: int = 0  # what the bidder's ledger must say; more, up to the next,
    expected_most_micros: int = 0  # where notices were not answered
    unheard_micros: int = 0  # charged for impressions of which no notice arrived
    unpaid_micros: int = 0  # committed for what was won and not charged
    guessed_micros: int = 0  # committed for bids whose price notice did not arrive
    overspent_micros: int = 0  # beyond the most overspent of its budgets
    caps_exceeded: int = 0
    delivery: float | None = None
    pacing_error: float | None = None


class Quantiles(Struct):
    """Of a latency, milliseconds of real time."""

    p50: float
    p95: float
    p99: float
    most: float


class Curve(Struct):
    """Spending of one campaign, or of several together: points of time with what was spent and what would be ideal."""

    name: str
    at_ms: list[int]
    spent_micros: list[int]
    ideal_micros: list[int]  # empty where nothing is ideal


class Report(Struct, kw_only=True):
    seed: int
    requests: int
    answered: int
    bids: int
    wins: int
    impressions: int
    clicks: int
    conversions: int
    ctr: float
    spend_micros: int
    overspend_micros_max: int  # of all campaigns and accounts, in any period
    overspent: list[str]
    caps_exceeded: int
    exceeded: list[str]
    pacing_error_max: float | None
    latency_ms: Quantiles
    notice_latency_ms: Quantiles
    counts: dict[str, int]
    exchanges: dict[str, dict[str, int]]
    real_s: float
    cpu_s: float
    behind_ms_p99: int  # how late requests were sent, wall clock: the simulator's fault
    campaigns: list[CampaignRow]

    def facts(self) -> list[tuple[str, str]]:
        """What people want to see first."""
        budgeted = [row for row in self.campaigns if row.delivery is not None]
        limit = sum(row.daily_micros or 0 for row in budgeted)
        spent = sum((row.delivery or 0.0) * (row.daily_micros or 0) for row in budgeted)
        error = self.pacing_error_max
        latency, notices = self.latency_ms, self.notice_latency_ms
        return [
            ("requests", f"{self.requests:,}"),
            ("answered", f"{self.answered:,}"),
            ("bids", f"{self.bids:,}"),
            ("wins", f"{self.wins:,}"),
            ("impressions", f"{self.impressions:,}"),
            ("clicks", f"{self.clicks:,}"),
            ("click-through rate", f"{self.ctr:.3%}"),
            ("conversions", f"{self.conversions:,}"),
            ("spend, USD", f"{self.spend_micros / 1e6:,.2f}"),
            ("spend of daily budgets", f"{spent / limit:.1%}" if limit else "no whole day of one"),
            ("most beyond a budget, micros of USD", f"{self.overspend_micros_max:,}"),
            ("impressions beyond a frequency cap", f"{self.caps_exceeded:,}"),
            ("largest pacing error", f"{error:.1%}" if error is not None else "no whole day of even pacing"),
            ("latency p50 / p95 / p99, ms", f"{latency.p50} / {latency.p95} / {latency.p99}"),
            ("notices p50 / p95 / p99, ms", f"{notices.p50} / {notices.p95} / {notices.p99}"),
            ("notices sent, of which unanswered", f"{self._count('sent'):,}, {self._count('unanswered'):,}"),
        ]

    def _count(self, what: str) -> int:
        return self.counts.get(f"notices {what}", 0)


def make_report(plan: Plan, results: Results) -> Report:
    sales, counts = results.sales, results.counts
    over = list(sales.charges.overspent())
    exceeded = list(sales.impressions.exceeded(plan.catalog)) if plan.catalog is not None else []
    rows = _rows(plan, results)
    beyond: Counter[str] = Counter()
    for one in over:
        beyond[one.owner] = max(beyond[one.owner], one.beyond_micros)
    creatives = {c.id: k.id for k in (plan.catalog.campaigns if plan.catalog else ()) for c in k.creatives}
    caps: Counter[str] = Counter()
    for excess in exceeded:
        kind, name = excess.entity.split(" ", 1)
        caps[name if kind == "campaign" else creatives[name]] += excess.impressions
    for row in rows:
        row.overspent_micros = beyond[f"campaign {row.campaign}"]
        row.caps_exceeded = caps[row.campaign]
    errors = [row.pacing_error for row in rows if row.pacing_error is not None]
    exchanges: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (venue, what), value in sorted(sales.by_venue.items()):
        exchanges[venue][what.replace("_nanos", "_micros")] = value // NANOS if what.endswith("_nanos") else value
    return Report(
        seed=plan.seed,
        requests=counts["requests"],
        answered=len(results.latency_us),
        bids=counts["bids"],
        wins=counts["wins"],
        impressions=sales.impressions.total,
        clicks=counts["clicks"],
        conversions=counts["conversions"],
        ctr=round(counts["clicks"] / max(1, sales.impressions.total), 5),
        spend_micros=sum(sales.charges.campaigns.values()) // NANOS,
        overspend_micros_max=max((one.beyond_micros for one in over), default=0),
        overspent=[f"{o.owner}: {o.scope} {o.period} of {o.limit_micros} by {o.beyond_micros}" for o in over],
        caps_exceeded=sum(one.impressions for one in exceeded),
        exceeded=[
            f"{one.entity}: {one.cap.limit} per {one.cap.per} ({one.cap.window}) by {one.impressions} for person "
            f"{one.person}, shown at {one.times}"
            for one in exceeded
        ],
        pacing_error_max=max(errors, default=None),
        latency_ms=quantiles(results.latency_us),
        notice_latency_ms=quantiles(results.notice_latency_us),
        counts=dict(sorted(counts.items())),
        exchanges=dict(exchanges),
        real_s=round(results.real_s, 1),
        cpu_s=round(results.cpu_s, 1),
        behind_ms_p99=_quantile(sorted(results.lag_ms), 0.99),
        campaigns=rows,
    )


def quantiles(micros: list[int]) -> Quantiles:
    ordered = sorted(micros)
    return Quantiles(*(round(_quantile(ordered, share) / 1000, 2) for share in (0.5, 0.95, 0.99, 1.0)))


def _quantile(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def _rows(plan: Plan, results: Results) -> list[CampaignRow]:
    by_campaign: defaultdict[str, list[Sale]] = defaultdict(list)
    for sale in results.sales.sales:
        by_campaign[sale.campaign].append(sale)
    known = {campaign.id: campaign for campaign in plan.catalog.campaigns} if plan.catalog is not None else {}
    rows = []
    for name in sorted({*known, *by_campaign}):
        expected = expect(by_campaign[name])
        row = CampaignRow(
            campaign=name,
            wins=len(by_campaign[name]),
            charged_micros=results.sales.charges.campaigns[name] // NANOS,
            expected_committed_micros=expected.committed,
            expected_most_micros=expected.most,
            unheard_micros=expected.unheard_nanos // NANOS,
            unpaid_micros=expected.unpaid,
            guessed_micros=expected.guessed,
        )
        campaign = known.get(name)
        if campaign is not None:
            budget = campaign.budget
            row.advertiser, row.pacing = campaign.advertiser, campaign.pacing.value
            row.daily_micros, row.total_micros, row.hourly_micros = budget.daily, budget.total, budget.hourly
            _judge(row, campaign, plan, results.sales.charges.timeline[name])
        rows.append(row)
    return rows


def _judge(row: CampaignRow, campaign: Campaign, plan: Plan, timeline: dict[int, int]) -> None:
    daily = campaign.budget.daily
    if daily is None:
        return
    for start_ms, end_ms in whole_days(campaign.time_zone, plan.start_ms, plan.end_ms):
        points = _points(start_ms, end_ms)
        sums = cumulative(timeline, [at // 60_000 for at in points])
        spent = [value - sums[0] for value in sums]
        delivery = spent[-1] / (daily * NANOS)
        row.delivery = round(min(delivery, row.delivery if row.delivery is not None else delivery), 5)
        if campaign.pacing is Pacing.EVEN:
            error = max(
                abs(value / (daily * NANOS) - plan.traffic.share(at, start_ms, end_ms))
                for at, value in zip(points, spent, strict=True)
            )
            row.pacing_error = round(max(error, row.pacing_error or 0.0), 5)


def whole_days(zone: str, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Local days of `zone` that lie within [start_ms, end_ms], as Unix ms."""
    local = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    days = []
    while (first := int(day.timestamp() * 1000)) < end_ms:
        day += timedelta(days=1)  # wall arithmetic: the next local midnight
        last = int(day.timestamp() * 1000)
        if first >= start_ms and last <= end_ms:
            days.append((first, last))
    return days


def curves(plan: Plan, results: Results) -> list[Curve]:
    """Spending of every evenly paced campaign with a whole day of its daily budget in the run, and of all together."""
    timelines = results.sales.charges.timeline
    every = _points(plan.start_ms, plan.end_ms)
    together: Counter[int] = Counter()
    for timeline in timelines.values():
        together.update(timeline)
    made = [Curve("all campaigns", every, _micros(together, every), [])]
    for campaign in plan.catalog.campaigns if plan.catalog is not None else ():
        daily = campaign.budget.daily
        if daily is None or campaign.pacing is not Pacing.EVEN:
            continue
        for start_ms, end_ms in whole_days(campaign.time_zone, plan.start_ms, plan.end_ms):
            points = _points(start_ms, end_ms)
            sums = _micros(timelines[campaign.id], points)
            ideal = [round(daily * plan.traffic.share(at, start_ms, end_ms)) for at in points]
            made.append(Curve(campaign.id, points, [value - sums[0] for value in sums], ideal))
    return made


def _points(start_ms: int, end_ms: int) -> list[int]:
    return [*range(start_ms, end_ms, STEP_MINUTES * 60_000), end_ms]


def _micros(timeline: dict[int, int], points: list[int]) -> list[int]:
    return [value // NANOS for value in cumulative(timeline, [at // 60_000 for at in points])]
