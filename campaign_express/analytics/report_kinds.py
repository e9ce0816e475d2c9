"""The reports there are: what each may be grouped and filtered by, its columns and their formulas. Tables, no code.

docs/reports.md explains them; a test compares it with this file.
"""

from __future__ import annotations

from typing import NamedTuple

# Of a bid, known from its notices; and what only its decision knows.
OF_EVENTS = ("advertiser", "campaign", "creative", "exchange")
OF_DECISIONS = ("place", "country", "device")
BID = (*OF_EVENTS, *OF_DECISIONS)
# Sums have one row for each value of one of these, beside advertiser and campaign: no two of them together.
APART = frozenset({"creative", "exchange", "place", "country", "device", "reason"})


class Column(NamedTuple):
    """A column of figures: a measure, or one measure over another (times `scale`), empty where that is 0.

    Kinds: time, text, count, usd (micros), share (0 to 1), ratio, ms.
    """

    name: str
    kind: str
    of: str = ""  # measure, the column's own name if not said
    over: str = ""
    scale: int = 1

    @property
    def measure(self) -> str:
        return self.of or self.name


SPEND = Column("spend", "usd", "spend_micros")
VALUE = Column("value", "usd", "value_micros")
CPM = Column("cpm", "usd", "spend_micros", "impressions", 1000)
CPC = Column("cpc", "usd", "spend_micros", "clicks")
CPA = Column("cpa", "usd", "spend_micros", "conversions")
CTR = Column("ctr", "share", "clicks", "impressions")
CVR = Column("cvr", "share", "conversions", "clicks")
WIN_RATE = Column("win_rate", "share", "wins", "bids")
BID_CPM = Column("bid_cpm", "usd", "price_micros", "bids")
CLEAR_CPM = Column("clear_cpm", "usd", "spend_micros", "wins", 1000)
BIDS, WINS, LOSSES, IMPRESSIONS, CLICKS, CONVERSIONS = (
    Column(name, "count") for name in ("bids", "wins", "losses", "impressions", "clicks", "conversions")
)
# Persons by how many impressions they got: column, least, most.
TIMES = (
    *(("people_1", 1, 1), ("people_2", 2, 2), ("people_3", 3, 3), ("people_4", 4, 4), ("people_5", 5, 5)),
    *(("people_6_10", 6, 10), ("people_11_up", 11, 2**32)),
)
# Prices of the landscape begin at these, USD CPM in micros.
_CENTS = (0, 10, 25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000)
PRICES = tuple(cents * 10_000 for cents in _CENTS)


class Kind(NamedTuple):
    """One report."""

    title: str
    columns: tuple[Column, ...]
    dimensions: tuple[str, ...] = ()  # to filter by
    groups: tuple[str, ...] = ()  # to group by
    group_by: tuple[str, ...] = ()  # if nothing is said
    always: tuple[str, ...] = ()  # by which it is grouped whatever is said
    period: str | None = "total"  # if nothing is said; None: it has none
    order: str = ""  # if nothing is said and there is no period
    since: str = "today"
    until: str = "tomorrow"
    whole_day: bool = False  # `from` is a day, and there is no `to`
    totals: bool = True
    adds: bool = True  # whether the total is the sum of the rows


KINDS: dict[str, Kind] = {
    "delivery": Kind(
        "Delivery",
        (BIDS, WINS, IMPRESSIONS, CLICKS, CONVERSIONS, SPEND, CPM, WIN_RATE, CTR, CVR, CPC, CPA, VALUE),
        *(BID, BID, ("advertiser", "campaign")),
        order="-spend",
    ),
    "spend": Kind(
        "Spend",
        (SPEND, IMPRESSIONS, CLICKS, CONVERSIONS, CPM, CPC, CPA),
        *(BID, BID),
        period="day",
        order="-spend",
        since="-6d",
    ),
    "pacing": Kind(
        "Pacing",
        (
            SPEND,
            Column("budget", "usd", "budget_micros"),
            Column("spent_share", "share", "spend_micros", "budget_micros"),
            Column("even", "usd", "even_micros"),
            Column("ahead", "usd", "ahead_micros"),
            Column("on_course_for", "usd", "forecast_micros"),
        ),
        ("advertiser", "campaign"),
        always=("advertiser", "campaign", "day"),
        period=None,
        order="ahead",
        whole_day=True,
        totals=False,
    ),
    "win-rate": Kind(
        "Win rate",
        (BIDS, WINS, LOSSES, WIN_RATE, BID_CPM, CLEAR_CPM),
        *(BID, BID, ("exchange",)),
        order="-bids",
    ),
    "funnel": Kind(
        "No-bid funnel",
        (Column("decisions", "count"), Column("share", "share", "decisions", "all_decisions")),
        ("reason", "exchange", *OF_DECISIONS),
        ("reason", "exchange", *OF_DECISIONS),
        always=("reason",),
        order="-decisions",
    ),
    "reach": Kind(
        "Reach and frequency",
        (
            IMPRESSIONS,
            Column("reach", "count"),
            Column("identified", "count"),
            Column("frequency", "ratio", "identified", "people"),
            *(Column(name, "count") for name, _, _ in TIMES),
        ),
        *(BID, BID, ("advertiser", "campaign")),
        order="-reach",
        adds=False,
    ),
    "landscape": Kind(
        "Price landscape",
        (Column("price_to", "usd"), BIDS, WINS, WIN_RATE, CLEAR_CPM),
        *(BID, BID),
        always=("price_from",),
        order="price_from",
    ),
    "latency": Kind(
        "Latency of decisions",
        (
            Column("decisions", "count"),
            *(Column(name, "ms", f"{name}_us") for name in ("p50", "p95", "p99", "max")),
        ),
        *(BID, BID),
        order="-decisions",
        adds=False,
    ),
    "changes": Kind(
        "Changes",
        tuple(
            Column(name, "text" if name != "catalog" else "count")
            for name in ("kind", "actor", "advertiser", "campaign", "exchange", "catalog", "before", "after")
        ),
        ("kind", "actor", "advertiser", "campaign", "exchange"),
        always=("time",),
        period=None,
        order="-time",
        since="-6d",
        totals=False,
    ),
}
