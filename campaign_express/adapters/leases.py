"""Keeps an agent's purse filled: a thread that fetches leases from the ledger and gives back what is not needed.

Several times a second it looks at what was authorised, and asks the ledger, in one call an advertiser, for as much as
the next seconds are likely to take; never for much more, since what one agent holds no other can spend. Shortly before
a lease ends it fetches money of the next one, so that bidding goes on across the change; what is left of the old one
goes back. So does what a campaign that fell silent, was stopped, ended or left the catalogue still holds, and
everything on shutdown.

Scarce money: the ledger gives each asker an eighth of what is free, or a few impressions' worth where that is more.
Scraps that are too small for a bid are given back, so that several agents' scraps become one bid of one agent. A
campaign that got nothing is asked for again after half a second to a second: so added budget is bid with within two.

Polling and pauses are real time; leases, flights and budgets go by the wall clock (`clock.Clock`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from campaign_express.adapters.ledger_terms import Grant, Order, Refusal, Want
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Campaign, Catalog, Status
from campaign_express.bidding.purse import Demand, Left, Purse
from campaign_express.clock import Clock
from campaign_express.control import Switches
from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

POLL_S = 0.25
LOOK_S = 1.0  # how often flights are looked at
AHEAD_S = 0.75  # before the end of a lease the next one's money is fetched
IDLE_S = 5.0  # without a bid for so long, only the stake is kept
POLLS_HELD = 6  # a purse holds what about so many polls authorise: money for a second and a half without the ledger
STAKE = 4  # impressions at the most they may cost: what a campaign holds that nobody has bid for yet
RETRY_S = (0.5, 0.9)
ORDERS_A_CALL = 8  # advertisers asked in one go: more would keep the interpreter from a batch for too long
BREATH_S = 0.001  # between those, so that batches that wait for the interpreter get it


class Trader(Protocol):
    """What of `ledger.Ledger` a keeper uses."""

    def follow(self, accounts: Accounts) -> None: ...

    def trade(self, orders: Sequence[Order], wall_ms: int) -> list[list[Grant] | Unavailable]: ...


class _Poor(NamedTuple):
    """A campaign that was refused money."""

    refusals: int
    retry_at: float  # monotonic


class _Flight(NamedTuple):
    """When a campaign may bid, Unix ms."""

    start_ms: int
    end_ms: int


class LeaseKeeper:
    """Of one agent. `start` begins its thread; without that, `round` does one step of its work."""

    def __init__(
        self,
        ledger: Trader,
        purse: Purse,
        catalog: Catalog,
        leases: LeaseClock,
        clock: Clock,
        *,
        headroom: float,
        poll_s: float = POLL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.purse = purse
        self.refused: Counter[str] = Counter()  # wants that got nothing, by reason; for metrics
        self.granted_micros = 0
        self.failures = 0  # calls that the ledger did not answer
        self._ledger = ledger
        self._leases = leases
        self._clock = clock
        self._headroom = headroom
        self._poll_s = poll_s
        self._monotonic = monotonic
        self._lock = threading.Lock()  # of a round against a new catalogue
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._away = False

        self._switches = Switches()
        self._bidding: set[str] = set()  # campaigns that may bid now and have a budget
        self._looked_at = float("-inf")
        self._lease = 0
        self._ahead_of = 0  # the lease before whose end the next one's money was fetched
        self._speed: dict[str, int] = {}  # micros authorised in a poll, lately
        self._busy: dict[str, float] = {}  # campaigns that hold more than their stake -> when they last bid
        self._poor: dict[str, _Poor] = {}
        self._take(catalog)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and give everything back. What the ledger does not take now it sweeps later."""
        self._ended = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._lock:
            for campaign in list(self._accounts.campaigns):
                self.purse.withdraw(campaign)
            self._trade([], self.purse.drain())

    def replace_catalog(self, catalog: Catalog) -> None:
        """Follow a new catalogue; call this before the bidder gets it."""
        with self._lock:
            self._take(catalog)
        self._wake.set()

    def tell_switches(self, switches: Switches) -> None:
        """Campaigns that were stopped give their money back, those that may go on get some."""
        with self._lock:
            self._switches = switches
            self._looked_at = float("-inf")
        self._wake.set()

    def round(self) -> None:
        """One step: look, ask, book. Never raises for a ledger that is away."""
        with self._lock:
            self._round(self._clock.now_ms(), self._monotonic())

    def _run(self) -> None:
        while not self._ended:
            try:
                self.round()
            except Exception:
                log.exception("keeping leases fails; campaigns go on with what they hold")
            self._wake.wait(self._poll_s)
            self._wake.clear()

    def _take(self, catalog: Catalog) -> None:
        self._accounts = Accounts(catalog, self._headroom)
        self._flights = {
            campaign.id: _flight(campaign) for campaign in catalog.campaigns if campaign.status is Status.ACTIVE
        }
        self._ledger.follow(self._accounts)
        self.purse.replace(self._accounts)
        self._looked_at = float("-inf")
        for kept in (self._speed, self._busy, self._poor):
            for campaign in [name for name in kept if name not in self._accounts.campaigns]:
                del kept[campaign]
        # A budget may have been added or raised.
        self._poor = {name: poor._replace(retry_at=float("-inf")) for name, poor in self._poor.items()}

    def _round(self, wall_ms: int, now: float) -> None:
        wants: dict[str, Want] = {}
        lease = self._leases.lease_at(wall_ms)
        joined: Iterable[str] = ()
        if now - self._looked_at >= LOOK_S:
            joined = self._look(wall_ms, now)
        if lease != self._lease:
            self._lease = lease
            self.purse.roll(wall_ms)
            self._speed = {name: speed // 2 for name, speed in self._speed.items() if speed > 1}
            joined = self._bidding
        for campaign in joined:
            self._want(wants, self.purse.look(campaign), lease)
        for demand in self.purse.demand():
            if demand.campaign in self._bidding:
                self._busy[demand.campaign] = now
                faded = self._speed.get(demand.campaign, 0) * 3 // 4
                self._speed[demand.campaign] = max(demand.authorised, faded)
                self._want(wants, demand, lease, now)
        for campaign, poor in self._poor.items():
            if poor.retry_at <= now and campaign in self._bidding and campaign not in wants:
                self._want(wants, self.purse.look(campaign), lease, now)
        self._give_up_idle(now)
        self._trade(list(wants.values()), self.purse.drain())
        self._fetch_ahead(wall_ms, lease)

    def _look(self, wall_ms: int, now: float) -> list[str]:
        """Which campaigns may bid now; returns those that could not before. The others' money goes back."""
        self._looked_at = now
        stopped = self._switches
        bidding = set()
        if stopped.everything is None:
            for name, (start_ms, end_ms) in self._flights.items():
                account = self._accounts.campaigns[name]
                if start_ms <= wall_ms < end_ms and account.limited:
                    if name in stopped.campaigns or account.advertiser in stopped.advertisers:
                        continue
                    bidding.add(name)
        for name in self._bidding - bidding:
            self.purse.withdraw(name)
            self._poor.pop(name, None)
            self._busy.pop(name, None)
        joined = [name for name in bidding if name not in self._bidding]
        self._bidding = bidding
        return joined

    def _stake(self, campaign: str) -> int:
        return STAKE * self._accounts.campaigns[campaign].cost_micros

    def _want(self, wants: dict[str, Want], demand: Demand, lease: int, now: float | None = None) -> None:
        """Add what a campaign should be asked for, if anything."""
        name, balance, _, short = demand
        poor = self._poor.get(name)
        if poor is not None and now is not None and poor.retry_at > now:
            return
        target = max(self._stake(name), POLLS_HELD * self._speed.get(name, 0), short)
        if 2 * balance >= target and balance >= short:
            return
        # At every other attempt all of a bid or nothing: the scraps of several agents are then one agent's bid.
        whole = short - balance if poor is None or poor.refusals % 2 == 0 else 1
        wants[name] = Want(name, lease, target - balance, self._stake(name), max(whole, 1))

    def _fetch_ahead(self, wall_ms: int, lease: int) -> None:
        """Money of the next lease for everyone, once, shortly before this one ends."""
        left_s = self._clock.real_s(self._leases.deadline_ms(lease) - wall_ms)
        length_s = self._clock.real_s(self._leases.lease_s * 1000)
        if self._ahead_of == lease or left_s > min(AHEAD_S, length_s / 4):
            return
        self._ahead_of = lease
        following = self._leases.lease_at(self._leases.deadline_ms(lease))
        wants = []
        for name in self._bidding:
            target = max(self._stake(name), POLLS_HELD * self._speed.get(name, 0))
            wants.append(Want(name, following, target, self._stake(name)))
        self._trade(wants, [], ahead=True)

    def _give_up_idle(self, now: float) -> None:
        for campaign, last in list(self._busy.items()):
            if now - last >= IDLE_S:
                del self._busy[campaign]
                self._speed.pop(campaign, None)
                if campaign in self._accounts.campaigns:
                    self.purse.withdraw(campaign, keep=self._stake(campaign))

    def _trade(self, wants: Sequence[Want], lefts: Sequence[Left], ahead: bool = False) -> None:
        by_advertiser: dict[str, tuple[list[Want], list[Left]]] = defaultdict(lambda: ([], []))
        for want in wants:
            by_advertiser[self._accounts.campaigns[want.campaign].advertiser][0].append(want)
        for left in lefts:
            by_advertiser[left.advertiser][1].append(left)
        orders = [Order(name, *parts) for name, parts in by_advertiser.items()]
        for start in range(0, len(orders), ORDERS_A_CALL):
            if start:
                time.sleep(BREATH_S)
            some = orders[start : start + ORDERS_A_CALL]
            for order, answer in zip(some, self._ledger.trade(some, self._clock.now_ms()), strict=True):
                self._book(order, answer, ahead)

    def _book(self, order: Order, answer: list[Grant] | Unavailable, ahead: bool) -> None:
        if isinstance(answer, Unavailable):
            self.failures += 1
            if not self._away:
                self._away = True
                log.warning("no leases: %s", answer)
            for want in order.wants:
                self._refuse(want, ahead)
            return
        if self._away:
            self._away = False
            log.info("the ledger answers again")
        for want, grant in zip(order.wants, answer, strict=True):
            if grant.micros:
                self.granted_micros += grant.micros
                self.purse.credit(grant.campaign, grant.lease, grant.micros, self._clock.now_ms())
                poor = None if ahead else self._poor.pop(want.campaign, None)
                if poor is not None and poor.refusals % 2:
                    self.purse.forgive(
                        want.campaign
                    )  # less than a bid of the size asked for, perhaps enough for others
            else:
                self.refused[grant.refused.value] += 1
                self._refuse(want, ahead, grant.refused)

    def _refuse(self, want: Want, ahead: bool, why: Refusal = Refusal.NONE) -> None:
        if ahead:
            return  # it is asked for again when that lease has come
        poor = self._poor.get(want.campaign, _Poor(0, 0.0))
        if why is Refusal.SPENT and poor.refusals % 2:
            self.purse.forgive(want.campaign)
        elif why is Refusal.SPENT and want.least > 1:
            self.purse.withdraw(want.campaign)
        retry_at = self._monotonic() + random.uniform(*RETRY_S)  # noqa: S311 - spreads agents, no secret
        self._poor[want.campaign] = _Poor(poor.refusals + 1, retry_at)


def _flight(campaign: Campaign) -> _Flight:
    end = campaign.flight.end
    return _Flight(
        int(campaign.flight.start.timestamp() * 1000), int(end.timestamp() * 1000) if end is not None else 2**62
    )
