"""The money that one agent may spend: leases in memory, taken from and given back to the ledger by a keeper thread.

The bidder asks `funded` and `authorise`, for every bid, in the hot path; the keeper (`adapters/leases.py`) asks
`demand`, and calls `credit` with what the ledger granted. Each campaign has money of the lease of now and, shortly
before that ends, of the one after it, so that the change of lease stops nobody. What an ended lease has left is never
spent: it waits in `drain` to be given back.

A campaign that the purse does not know has no money, rather than no limit: while a new catalogue comes in nothing is
spent unseen.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from campaign_express.bidding.budget import Accounts, LeaseClock


class Left(NamedTuple):
    """Unspent money of a lease, on its way back to the ledger."""

    advertiser: str
    campaign: str
    lease: int
    micros: int


class Demand(NamedTuple):
    """How a campaign has been spending since it was asked last, for the keeper to decide what to fetch."""

    campaign: str
    balance: int  # of the lease of now
    authorised: int  # since the last time
    short: int  # the smallest bid that the balance was not enough for since the last credit, 0: none


class _Account:
    """One campaign's money."""

    __slots__ = ("advertiser", "authorised", "balance", "campaign", "deadline_ms", "later", "lease", "short")

    def __init__(self, campaign: str, advertiser: str) -> None:
        self.campaign = campaign
        self.advertiser = advertiser
        self.lease = 0  # none yet
        self.deadline_ms = 0
        self.balance = 0
        self.later: tuple[int, int] = (0, 0)  # the next lease and its balance
        self.authorised = 0
        self.short = 0


class Purse:
    """Implements `ports.Purse`. All methods may be called from any thread; the lock is held for a few assignments."""

    def __init__(self, accounts: Accounts, clock: LeaseClock) -> None:
        self.version = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._left: list[Left] = []
        self._touched: set[str] = set()  # authorised or refused since the last `demand`
        self._accounts: dict[str, _Account | None] = {}  # None: no budget limits the campaign
        self.replace(accounts)

    # The hot path.

    def funded(self, campaign: str) -> bool:
        """Whether it has money for one more bid, as far as is known."""
        try:
            account = self._accounts[campaign]
        except KeyError:
            return False
        if account is None:
            return True
        balance = account.balance
        return balance > 0 and balance >= account.short

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        """Take `micros` from the campaign's lease.

        Returns the lease's id (> 0), 0 where no budget limits the campaign, -1 where it has not enough.
        """
        try:
            account = self._accounts[campaign]
        except KeyError:
            return -1
        if account is None:
            return 0
        with self._lock:
            if wall_ms >= account.deadline_ms:
                self._roll(account, wall_ms)
            balance = account.balance - micros
            if balance >= 0 and account.lease:
                if not account.authorised:
                    self._touched.add(campaign)
                account.authorised += micros
                account.balance = balance
                if balance == 0 or balance < account.short:
                    self.version += 1
                return account.lease
            self._touched.add(campaign)
            if not account.short or micros < account.short:
                account.short = micros
                self.version += 1
            return -1

    # The keeper's side.

    def demand(self) -> list[Demand]:
        """Campaigns that something was asked of since the last call."""
        with self._lock:
            touched, self._touched = self._touched, set()
        found = []
        for campaign in touched:
            account = self._accounts.get(campaign)
            if account is not None:
                with self._lock:
                    found.append(Demand(campaign, account.balance, account.authorised, account.short))
                    account.authorised = 0
        return found

    def look(self, campaign: str) -> Demand:
        """As `demand` of one campaign, without beginning to count anew."""
        account = self._accounts.get(campaign)
        if account is None:
            return Demand(campaign, 0, 0, 0)
        with self._lock:
            return Demand(campaign, account.balance, account.authorised, account.short)

    def balance(self, campaign: str, lease: int) -> int:
        """Unspent micros that the campaign has of this lease."""
        account = self._accounts.get(campaign)
        if account is None:
            return 0
        with self._lock:
            if account.lease == lease:
                return account.balance
            return account.later[1] if account.later[0] == lease else 0

    def credit(self, campaign: str, lease: int, micros: int, wall_ms: int) -> None:
        """Add what the ledger granted. What came too late, or for a campaign that is gone, goes back."""
        account = self._accounts.get(campaign)
        with self._lock:
            if account is None or self._accounts.get(campaign) is not account:
                return  # gone while it was asked for: the ledger sweeps it
            if wall_ms >= account.deadline_ms:
                self._roll(account, wall_ms)
            if not account.lease and lease == self._clock.lease_at(wall_ms):
                account.lease, account.deadline_ms = lease, self._clock.deadline_ms(lease)
            if lease == account.lease:
                self._hold(account, account.balance + micros)
            elif lease > self._clock.lease_at(wall_ms) and account.later[0] in (0, lease):
                account.later = (lease, account.later[1] + micros)  # nobody may spend that yet
            else:
                self._left.append(Left(account.advertiser, campaign, lease, micros))

    def forgive(self, campaign: str) -> None:
        """Let smaller bids be tried with a balance that was not enough for the last one."""
        account = self._accounts.get(campaign)
        if account is None:
            return
        with self._lock:
            if account.short:
                account.short = 0
                self.version += 1

    def withdraw(self, campaign: str, keep: int = 0) -> None:
        """Put all but `keep` micros of the lease of now aside for `drain`; with nothing to keep the next lease too."""
        account = self._accounts.get(campaign)
        if account is None:
            return
        with self._lock:
            self._take(account, keep)

    def roll(self, wall_ms: int) -> None:
        """Change leases that have ended: for campaigns that nobody bids for just now."""
        for account in list(self._accounts.values()):
            if account is not None and wall_ms >= account.deadline_ms:
                with self._lock:
                    self._roll(account, wall_ms)

    def drain(self) -> list[Left]:
        """What is to be given back, each once: who calls this has it."""
        with self._lock:
            left, self._left = self._left, []
        return left

    def replace(self, accounts: Accounts) -> None:
        """Follow a new catalogue: balances of campaigns that stay are kept, the others' go back."""
        with self._lock:
            old = self._accounts
            made: dict[str, _Account | None] = {}
            for name, terms in accounts.campaigns.items():
                account = old.get(name)
                if not terms.limited:
                    made[name] = None
                elif account is not None and account.advertiser == terms.advertiser:
                    made[name] = account
                else:
                    made[name] = _Account(name, terms.advertiser)
            for name, account in old.items():
                if account is not None and made.get(name) is not account:
                    self._take(account, 0)
            self._accounts = made
            self.version += 1

    # With the lock held.

    def _hold(self, account: _Account, balance: int) -> None:
        """Set the balance; the version grows where that changes whether the campaign is funded."""
        before = account.balance > 0 and account.balance >= account.short
        account.balance = balance
        if balance >= account.short:
            account.short = 0
        if before != (balance > 0 and account.short == 0):
            self.version += 1

    def _roll(self, account: _Account, wall_ms: int) -> None:
        """The ended lease's balance goes back, the next lease's can be spent from here on."""
        if account.balance:
            self._left.append(Left(account.advertiser, account.campaign, account.lease, account.balance))
        lease, balance = account.later
        now = self._clock.lease_at(wall_ms)
        if lease <= now:
            account.later = (0, 0)
        if lease != now:
            if balance and lease < now:
                self._left.append(Left(account.advertiser, account.campaign, lease, balance))
            lease, balance = 0, 0
        account.lease = lease
        account.deadline_ms = self._clock.deadline_ms(lease)
        self._hold(account, balance)

    def _take(self, account: _Account, keep: int) -> None:
        surplus = account.balance - keep
        if surplus > 0:
            self._left.append(Left(account.advertiser, account.campaign, account.lease, surplus))
            self._hold(account, keep)
        lease, balance = account.later
        if keep == 0 and balance:
            self._left.append(Left(account.advertiser, account.campaign, lease, balance))
            account.later = (0, 0)
