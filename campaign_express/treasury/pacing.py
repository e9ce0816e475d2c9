"""The pacing loop: reads ledger and supply, steps the controller of every evenly paced campaign, publishes the paces.

The controller itself is `bidding/pacing.py`; here is what it is fed with. A day's curve is what had been learned of
supply when the day began (in the campaign's zone), and does not change during the day. All that is remembered is saved
every few seconds, so that another treasury goes on where this one ended; the paces in force say what agents did since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from campaign_express.adapters.ledger_terms import Applied, Spent
from campaign_express.adapters.supply import Supply
from campaign_express.bidding import pacing
from campaign_express.bidding.budget import Accounts, CampaignAccount, day_bounds_ms
from campaign_express.bidding.model import AuctionType, Campaign, Catalog, Exchanges, Pacing
from campaign_express.bidding.plan import Plan, plan, runs_at, today_of_total
from campaign_express.bidding.supply import HOUR_MS, SupplyHistory, WeekCurve, learned
from campaign_express.clock import Clock
from campaign_express.control import Pace, Paces, Switches
from campaign_express.errors import Unavailable
from campaign_express.treasury.goals import goals_of_today

log = logging.getLogger(__name__)

PERIOD_S = 1.0
SAVE_S = 5.0
LATE_MS = 5 * 60_000  # after its end an hour's count is taken for whole
KEEP_HOURS = 48
KEEP_RECORDS_MS = 8 * 24 * HOUR_MS
PROMPT_MS = 30 * 60_000  # seen so soon after a day's beginning, its plan counts from there
NEAR = 0.05  # share of the day's goal
TOLD = 20  # campaigns of which the operator's status tells
REPLAN = 0.01  # change of a goal that makes a new plan
DELAY_MS = 30_000.0  # of notices, until some have come
DELAY_EVENTS = 2000  # over which their delay is averaged
LONGEST_DELAY_MS = 7_200_000.0


class Books(Protocol):
    """`adapters.ledger.Ledger`."""

    accounts: Accounts

    def spent_of_all(self, wall_ms: int) -> tuple[dict[str, Spent], dict[str, Spent]]: ...


class Counts(Protocol):
    """`adapters.supply.SupplyStore`."""

    def read(self) -> Supply: ...

    def forget(self, hours: list[int]) -> None: ...


class Control(Protocol):
    """`adapters.control.ControlStore`."""

    def switches(self) -> Switches: ...

    def paces(self) -> Paces: ...

    def write_paces(self, paces: Paces, epoch: int) -> bool: ...


class Memory(Protocol):
    """`adapters.pacing_store.PacingStore`."""

    def load(self) -> bytes: ...

    def save(self, blob: bytes) -> None: ...


class Record(Struct):
    """What is remembered of one campaign."""

    day: int = 0  # its beginning, Unix ms
    since_ms: int = 0  # its plan counts from then,
    base: float = 0.0  # when this much had been spent
    goal: float = 0.0
    course: pacing.Course = msgspec.field(default_factory=pacing.Course)


class Remembered(Struct):
    """All that is saved."""

    history: SupplyHistory = msgspec.field(default_factory=SupplyHistory)
    curves: dict[str, list[float]] = {}  # "zone day" -> what had been learned when that day began, by hour of the week
    records: dict[str, Record] = {}
    delay_ms: float = DELAY_MS
    delays: int = 0


class Progress(NamedTuple):
    """How a campaign's day stands, micros."""

    day: int  # its beginning, Unix ms
    goal: float
    due: float  # by the curve, now
    spent: float  # with what is under way
    pace: Pace
    runs: bool  # flight, hours and switches let it bid
    behind: float  # share of the goal by which spending is behind the curve; negative: ahead


class PacingLoop:
    """`treasury.loops.Loop`. `catalog` and `epoch` are asked at each step; `heard` may be called by another thread."""

    name = "pacing"
    period_s = PERIOD_S

    def __init__(
        self,
        ledger: Books,
        counts: Counts,
        control: Control,
        memory: Memory,
        *,
        catalog: Callable[[], Catalog],
        exchanges: Exchanges,
        epoch: Callable[[], int],
        clock: Clock,
        least_multiplier: float = 1.0,
    ) -> None:
        self._ledger = ledger
        self._counts = counts
        self._control = control
        self._memory = memory
        self._catalog = catalog
        self._epoch = epoch
        self._clock = clock
        self._least_multiplier = least_multiplier
        self._first_price = {one.name for one in exchanges.exchanges if one.auction is AuctionType.FIRST_PRICE}
        self._exchanges = {one.name for one in exchanges.exchanges}
        self._kept = Remembered()
        self._loaded_for = -1  # epoch of the term for which it was loaded
        self._saved_at = 0.0
        self._stepped_at = -2 * SAVE_S
        self._curves: dict[str, WeekCurve] = {}
        self._plans: dict[str, Plan] = {}
        self._planned: Catalog | None = None  # the catalogue that the plans are of
        self._shares: dict[str, tuple[int, float]] = {}  # by campaign: day, and its part of what is left of the total
        self.progress: dict[str, Progress] = {}  # by campaign: those that are paced evenly; replaced at each step

    def run_once(self) -> None:
        """One step for all campaigns. Raises Unavailable."""
        epoch = self._epoch()
        if self._loaded_for != epoch:
            self._load()
            self._loaded_for = epoch
        catalog, accounts, wall_ms = self._catalog(), self._ledger.accounts, self._clock.now_ms()
        of_campaigns, of_accounts = self._ledger.spent_of_all(wall_ms)
        supply, switches = self._counts.read(), self._control.switches()
        self._learn(supply, wall_ms)
        if catalog is not self._planned:
            self._plans.clear()
            self._shares.clear()
            self._planned = catalog
        goals = goals_of_today(catalog, accounts, of_campaigns, lambda one: self._share(one, wall_ms))
        paces: dict[str, Pace] = {}
        progress: dict[str, Progress] = {}
        for campaign in catalog.campaigns:
            if campaign.id not in goals or campaign.pacing is not Pacing.EVEN:
                continue
            spent = of_campaigns.get(campaign.id, Spent())
            account = accounts.campaigns[campaign.id]
            runs = runs_at(campaign, wall_ms) and not _stopped(campaign, switches)
            able = runs and _has_money(account, spent, of_accounts.get(campaign.advertiser, Spent()))
            requests = supply.of(campaign.exchanges)
            made = self._step(campaign, account, goals[campaign.id], spent, requests, runs, able, wall_ms)
            progress[campaign.id] = made
            if made.pace != Pace():
                paces[campaign.id] = made.pace
        self._control.write_paces(Paces(wall_ms, paces), epoch)
        self.progress = progress
        self._stepped_at = time.monotonic()
        if time.monotonic() - self._saved_at >= SAVE_S:
            self.save()

    def heard(self, applied: Iterable[Applied]) -> None:
        """Learn from applied events how late money shows: from the bid to now, for each that committed some."""
        kept, wall_ms = self._kept, self._clock.now_ms()
        for one in applied:
            if one.committed > 0:
                delay_ms = min(max(float(wall_ms - one.event.bid_ms), 0.0), LONGEST_DELAY_MS)
                kept.delays = min(kept.delays + 1, DELAY_EVENTS)
                kept.delay_ms += (delay_ms - kept.delay_ms) / kept.delays

    def places(self) -> dict[str, int]:
        """How many campaigns that may run are near their curve, behind it or ahead of it."""
        found = {"near": 0, "behind": 0, "ahead": 0}
        for one in self.progress.values():
            if one.runs:
                found["behind" if one.behind > NEAR else "ahead" if one.behind < -NEAR else "near"] += 1
        return found

    def furthest(self) -> dict[str, dict[str, float]]:
        """For an operator: of the campaigns that may run, those furthest behind their curve or ahead of it; USD."""
        running = [(name, one) for name, one in self.progress.items() if one.runs]
        running.sort(key=lambda item: -abs(item[1].behind))
        return {
            name: {
                "goal": round(one.goal / 1e6, 6),
                "due": round(one.due / 1e6, 6),
                "spent": round(one.spent / 1e6, 6),
                "behind": round(one.behind, 4),
                "participation": one.pace.participation,
                "multiplier": one.pace.multiplier,
            }
            for name, one in running[:TOLD]
        }

    def close(self) -> None:
        """Save, where this process has paced until now. To be called when no step is under way."""
        if time.monotonic() - self._stepped_at < 2 * SAVE_S:
            try:
                self.save()
            except Unavailable as error:
                log.warning("what pacing has learned in the last seconds is not saved: %s", error)

    def save(self) -> None:
        """Keep all that is remembered, but for campaigns long gone. Raises Unavailable."""
        old = self._clock.now_ms() - KEEP_RECORDS_MS
        for name in [name for name, record in self._kept.records.items() if record.day < old]:
            del self._kept.records[name]
        self._memory.save(msgspec.msgpack.encode(self._kept))
        self._saved_at = time.monotonic()

    def _load(self) -> None:
        """Go on where the treasury before ended; what it did not save shows in the paces that agents have."""
        blob = self._memory.load()
        try:
            self._kept = msgspec.msgpack.decode(blob, type=Remembered) if blob else Remembered()
        except msgspec.DecodeError as error:  # of another version of this program: begin anew, ledger and supply tell
            log.warning("what pacing remembers cannot be read and is begun anew: %s", error)
            self._kept = Remembered()
        self._plans.clear()
        self._curves.clear()
        self._shares.clear()
        paces = self._control.paces()
        for name, record in self._kept.records.items():
            if paces.at_ms:
                pace = paces.campaigns.get(name, Pace())
                record.course.participation, record.course.multiplier = pace.participation, pace.multiplier

    def _learn(self, supply: Supply, wall_ms: int) -> None:
        history, whole = self._kept.history, (wall_ms - LATE_MS) // HOUR_MS
        history.last_hour = min(history.last_hour, whole - 1)  # a clock that was put back
        for hour in sorted(hour for hour in supply.hours if history.last_hour < hour < whole):
            history.learn(hour, supply.hours[hour])
        self._counts.forget([hour for hour in supply.hours if hour < min(whole, history.last_hour + 1) - KEEP_HOURS])

    def _curve(self, zone: str, day: int) -> WeekCurve:
        key = f"{zone} {day}"
        curve = self._curves.get(key)
        if curve is None:
            if key not in self._kept.curves:
                old = [one for one in self._kept.curves if int(one.rpartition(" ")[2]) < day - 2 * 24 * HOUR_MS]
                for one in old:
                    del self._kept.curves[one]
                    self._curves.pop(one, None)
                self._kept.curves[key] = self._kept.history.hourly().tolist()
            curve = self._curves[key] = WeekCurve.of_hours(np.array(self._kept.curves[key]))
        return curve

    def _share(self, campaign: Campaign, wall_ms: int) -> float:
        """Today's part of what is left of the total; reckoned once a day, and when the catalogue changes."""
        day = day_bounds_ms(campaign.time_zone, wall_ms)
        known = self._shares.get(campaign.id)
        if known is None or known[0] != day[0]:
            share = today_of_total(campaign, self._curve(campaign.time_zone, day[0]), day)
            known = self._shares[campaign.id] = (day[0], share)
        return known[1]

    def _step(
        self,
        campaign: Campaign,
        account: CampaignAccount,
        goal: float,
        spent: Spent,
        requests: int,
        runs: bool,
        able: bool,
        wall_ms: int,
    ) -> Progress:
        record = self._kept.records.setdefault(campaign.id, Record())
        course = record.course
        made = self._plan(campaign, record, goal, spent, wall_ms)
        seen = pacing.Seen(
            float(wall_ms), float(spent.today), requests, self._kept.delay_ms, float(account.cost_micros), able
        )
        pace = pacing.step(course, made, seen, self._lowest(campaign))
        due, reached = made.due(wall_ms), spent.today + course.under_way
        behind = (due - reached) / made.goal if made.goal > 0 else 0.0
        return Progress(record.day, made.goal, due, reached, pace, runs, behind)

    def _plan(self, campaign: Campaign, record: Record, goal: float, spent: Spent, wall_ms: int) -> Plan:
        """The plan in force: a new one where the day or the goal is another."""
        day = day_bounds_ms(campaign.time_zone, wall_ms)
        if record.day != day[0]:
            prompt = wall_ms - day[0] < PROMPT_MS
            if record.day:
                pacing.new_day(record.course)
            record.day, record.goal = day[0], goal
            record.since_ms, record.base = (day[0], 0.0) if prompt else (wall_ms, float(spent.today))
            self._plans.pop(campaign.id, None)
        elif abs(goal - record.goal) > REPLAN * max(record.goal, 1.0):
            record.goal, record.since_ms = goal, wall_ms
            record.base = spent.today + record.course.under_way
            self._plans.pop(campaign.id, None)
        made = self._plans.get(campaign.id)
        if made is None:
            curve = self._curve(campaign.time_zone, day[0])
            made = plan(campaign, curve, day, record.goal, since_ms=record.since_ms, base=record.base)
            self._plans[campaign.id] = made
        return made

    def _lowest(self, campaign: Campaign) -> float:
        """Bids are lowered only where every auction is first-price: elsewhere that saves nothing on a win."""
        names = set(campaign.exchanges) or self._exchanges
        return self._least_multiplier if names <= self._first_price else 1.0


def teach(memory: Memory, hourly: Sequence[float]) -> None:
    """Let pacing know what supply is usual: 24 counts of a day or 168 of a week from Monday 00:00 UTC.

    For histories from elsewhere and for simulations; before a treasury starts, since a running one saves its own.
    """
    blob = memory.load()
    kept = msgspec.msgpack.decode(blob, type=Remembered) if blob else Remembered()
    kept.history, kept.curves = learned(hourly), {}
    memory.save(msgspec.msgpack.encode(kept))


def _stopped(campaign: Campaign, switches: Switches) -> bool:
    return (
        switches.everything is not None
        or campaign.id in switches.campaigns
        or campaign.advertiser in switches.advertisers
    )


def _has_money(account: CampaignAccount, spent: Spent, of_account: Spent) -> bool:
    """Whether every budget leaves room for an impression; what is only reserved may come back."""
    own = (spent.total, spent.today, spent.this_hour)
    shared = (of_account.total, of_account.today, of_account.this_hour)
    limits = (*account.limits.grantable, *account.account_limits.grantable)
    return all(
        limit is None or amount + account.cost_micros <= limit
        for limit, amount in zip(limits, (*own, *shared), strict=True)
    )
