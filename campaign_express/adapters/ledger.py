"""The ledger of all advertisers' money in Redis: grants leases, settles events, sweeps what is never settled.

Keys, invariants and their proofs: docs/ledger.md. A Lua script each kind of step (`lua/ledger_*.lua`), on the keys of
one advertiser, which carry its hash tag, so that a campaign's and its account's money move together or not at all.

Time is always the caller's wall clock (`clock.Clock`). All methods raise Unavailable when a Redis does not answer, and
may be called from several threads.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from campaign_express.adapters.ledger_terms import (
    Applied,
    Fence,
    Grant,
    Order,
    Outcome,
    Refusal,
    Spent,
    Swept,
    Want,
)
from campaign_express.adapters.scripts import Answer, Call, ScriptRunner, is_away, load
from campaign_express.bidding.books import Books
from campaign_express.bidding.budget import QUARTER_S, Accounts, CampaignAccount
from campaign_express.bidding.purse import Left
from campaign_express.bidding.settlement import KINDS, event_ms
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent

log = logging.getLogger(__name__)

LATEST_S = 6 * 3600  # so long a bid's events may lie in a spool or queue after its URLs have died
REMEMBER_S = 48 * 3600 + LATEST_S
KEEP_HOURS_S = 3 * 86_400  # periods that are over are kept so long, for audits and people
KEEP_DAYS_S = 40 * 86_400
EVENTS_A_CALL = 256  # in one script: a master serves nobody else meanwhile (some 2 ms)
LEASES_A_CALL = 64

_TRADE, _SETTLE, _SWEEP, _STATE, _FENCE, _FORGET, _SPENT = (
    load(f"ledger_{name}", "ledger_common")
    for name in ("trade", "settle", "sweep", "state", "fence", "forget", "spent")
)
_KNOWN = load("ledger_known")
KNOWN_KEY = "{ledger}:advertisers"


def prefix(advertiser: str) -> str:
    """Beginning, and hash tag, of all ledger keys of an advertiser."""
    return f"{{{advertiser}}}:"


class Ledger:
    """`settle_s`: after a lease's deadline no timely notice of it comes any more (`budget.settle_s`).

    `remember_s`: so long after a bid its record is kept, which must be longer than a notice may be on its way in any
    case: what comes later is not applied. `replicas`: how many must have a grant before it is used, and an event before
    it counts as applied; 0 for one node.
    """

    def __init__(
        self,
        url: str,
        accounts: Accounts,
        *,
        settle_s: int,
        replicas: int = 0,
        remember_s: int = REMEMBER_S,
        wait_ms: int = 500,
    ) -> None:
        self.accounts = accounts
        self.settle_s = settle_s
        self.remember_s = max(remember_s, settle_s + QUARTER_S)
        self._runner = ScriptRunner(url, replicas, wait_ms)
        self._known: set[str] = set()
        self.where = self._runner.where

    def follow(self, accounts: Accounts) -> None:
        """Go by another catalogue's budgets and zones; those of campaigns that are gone are remembered for notices."""
        self.accounts = accounts.remembering(self.accounts)

    def close(self) -> None:
        self._runner.close()

    # Agents.

    def grant(self, advertiser: str, wants: Sequence[Want], wall_ms: int) -> list[Grant]:
        """One script call. The answers are in the order of `wants`."""
        (answer,) = self.trade([Order(advertiser, wants)], wall_ms)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    def give_back(self, lefts: Sequence[Left], wall_ms: int) -> None:
        """Book unspent money of leases as free. Not to be tried again after Unavailable: it may have been booked."""
        by_advertiser: dict[str, list[Left]] = defaultdict(list)
        for left in lefts:
            by_advertiser[left.advertiser].append(left)
        for answer in self.trade([Order(name, (), some) for name, some in by_advertiser.items()], wall_ms):
            if isinstance(answer, Unavailable):
                raise answer

    def trade(self, orders: Sequence[Order], wall_ms: int) -> list[list[Grant] | Unavailable]:
        """All orders in one round trip a master, each answered on its own.

        After Unavailable nobody knows whether a return was booked or money granted: neither is to be tried again, and
        what was granted unseen is swept.
        """
        calls = [Call(_TRADE, prefix(order.advertiser), self._trade_args(order, wall_ms)) for order in orders]
        answers: list[list[Grant] | Unavailable] = []
        for order, answer in zip(orders, self._runner.run(calls), strict=True):
            try:
                answers.append(self._granted(order, answer))
            except Exception as error:  # of ours: what the others were granted is theirs all the same
                log.exception("a fault while money is asked for", extra={"advertiser": order.advertiser})
                answers.append(Unavailable(f"the ledger of {order.advertiser}: {type(error).__name__}: {error}"))
        return answers

    def _trade_args(self, order: Order, wall_ms: int) -> list[str | int]:
        args: list[str | int] = [wall_ms, len(order.returns), 0]
        for left in order.returns:
            args += (left.campaign, left.lease, left.micros)
        for want in order.wants:
            account = self.accounts.campaigns.get(want.campaign)
            if account is not None and account.advertiser == order.advertiser:
                args += (*want[:2], int(want.micros), int(want.share_floor), int(want.least))
                args += _terms(account, want.lease)
                args[2] = int(args[2]) + 1
        return args

    def _granted(self, order: Order, answer: Answer) -> list[Grant] | Unavailable:
        if answer.error is not None:
            return self._unavailable(answer.error)
        why, *amounts = answer.value
        reason = Refusal(why.decode())
        given = iter(amounts)
        grants = []
        for want in order.wants:
            account = self.accounts.campaigns.get(want.campaign)
            if reason:
                grants.append(Grant(want.campaign, want.lease, 0, reason))
            elif account is None or account.advertiser != order.advertiser or (micros := int(next(given))) < 0:
                grants.append(Grant(want.campaign, want.lease, 0, Refusal.ENDED))
            elif micros == 0:
                grants.append(Grant(want.campaign, want.lease, 0, Refusal.SPENT))
            elif not answer.durable:
                grants.append(Grant(want.campaign, want.lease, 0, Refusal.FROZEN))
            else:
                grants.append(Grant(want.campaign, want.lease, micros))
        return grants

    # Treasury.

    def apply(self, events: Sequence[MoneyEvent]) -> list[Applied]:
        """Settle events; each changes the ledger once, however often it is applied.

        When this returns, replicas have it all. After Unavailable some may be applied: apply them all again.
        """
        results = self.settle(events)
        applied = [result for result in results if isinstance(result, Applied)]
        for result in results:
            if isinstance(result, Exception):
                raise result
        return applied

    def settle(self, events: Sequence[MoneyEvent]) -> list[Applied | Exception]:
        """As `apply`, each event on its own: in their order what became of it, or why it is to be applied again.

        That is Unavailable, for all of a master that is away or has too few replicas, or a fault of ours.
        """
        results: list[Applied | Exception | None] = [None] * len(events)
        by_advertiser: dict[str, list[int]] = defaultdict(list)
        for at, event in enumerate(events):
            if event.test:
                results[at] = Applied(event, Outcome.TEST)
            elif event.kind not in KINDS:
                results[at] = Applied(event, Outcome.NO_MONEY)
            else:
                by_advertiser[event.advertiser].append(at)
        groups = [
            (name, some[start : start + EVENTS_A_CALL])
            for name, some in by_advertiser.items()
            for start in range(0, len(some), EVENTS_A_CALL)
        ]
        calls: list[Call] = []
        called: list[list[int]] = []
        for name, some in groups:
            try:
                calls.append(Call(_SETTLE, prefix(name), self._settle_args([events[at] for at in some])))
                called.append(some)
            except Exception as error:  # one of them is not of this world
                for at in some:
                    results[at] = error
        for some, answer in zip(called, self._runner.run(calls), strict=True):
            try:
                value = self._value(answer, durable=True)
            except Exception as error:
                for at in some:
                    results[at] = error
                continue
            for number, at in enumerate(some):
                outcome, change = value[2 * number : 2 * number + 2]
                results[at] = Applied(events[at], Outcome(outcome.decode()), int(change))
        return [result for result in results if result is not None]

    def _settle_args(self, events: Sequence[MoneyEvent]) -> list[str | int]:
        args: list[str | int] = [len(events)]
        for event in events:
            args += (event.bid_key, int(KINDS[event.kind]), event.authorised_micros, event.lease, event.campaign)
            args += (event.clear_micros, int(event.sets_price), int(bool(event.quarantined)))
            args.append(event.bid_ms // 3_600_000)
            args += self.accounts.periods(event.advertiser, event.campaign, event_ms(event))
            args.append(event.bid_ms // 1000)
        return args

    def sweep(self, wall_ms: int, advertisers: Iterable[str] | None = None, rebuild: bool = False) -> Swept:
        """Release what no timely notice can settle any more, and forget what is old.

        Everything that was received before `wall_ms` must have been applied: where the consumer of events lags, this is
        the time up to which it has come, not now. `advertisers`: default all that ever were in a catalogue.
        """
        names = self._all_known() if advertisers is None else list(advertisers)
        second = wall_ms // 1000
        last = second - self.settle_s
        forget = second - self.remember_s
        # A lost bid's lease ends within a quarter of an hour of it.
        args: list[str | int] = [last, (last - QUARTER_S) // 3600 - 1, forget // 3600 - 1]
        args += [
            second - max(KEEP_HOURS_S, self.remember_s + 3600),
            second - max(KEEP_DAYS_S, self.remember_s + 86_400),
        ]
        args += [int(rebuild), LEASES_A_CALL]
        leases = micros = 0
        while names:
            answers = self._runner.run([Call(_SWEEP, prefix(name), args) for name in names])
            values = [self._value(answer) for answer in answers]
            leases += sum(int(value[0]) for value in values)
            micros += sum(int(value[1]) for value in values)
            names = [name for name, value in zip(names, values, strict=True) if value[2]]
        return Swept(leases, micros)

    def _all_known(self) -> list[str]:
        """The advertisers of the catalogue, and those that have left it: they too have lent money and kept records."""
        new = [name for name in self.accounts.of_advertiser if name not in self._known]
        (answer,) = self._runner.run([Call(_KNOWN, KNOWN_KEY, new)])
        self._known = {name.decode() for name in self._value(answer)}
        return sorted(self._known)

    def spent(self, wall_ms: int, accounts: Accounts | None = None) -> dict[str, Spent]:
        """What every campaign of the catalogue has spent: in total, in its day and in its hour of this moment."""
        return self._spent(wall_ms, accounts or self.accounts)[0]

    def account_spent(self, wall_ms: int, accounts: Accounts | None = None) -> dict[str, Spent]:
        """As `spent`, of each advertiser's account."""
        return self._spent(wall_ms, accounts or self.accounts)[1]

    def spent_of_all(self, wall_ms: int) -> tuple[dict[str, Spent], dict[str, Spent]]:
        """Both at once: (by campaign, by advertiser)."""
        return self._spent(wall_ms, self.accounts)

    def _spent(self, wall_ms: int, accounts: Accounts) -> tuple[dict[str, Spent], dict[str, Spent]]:
        calls = []
        for advertiser, campaigns in accounts.of_advertiser.items():
            own = accounts.periods(advertiser, "", wall_ms)
            args: list[str | int] = ["", own.account_day, own.account_hour]
            for campaign in campaigns:
                periods = accounts.periods(advertiser, campaign, wall_ms)
                args += (f":{campaign}", periods.day, periods.hour)
            calls.append(Call(_SPENT, prefix(advertiser), args))
        of_campaigns: dict[str, Spent] = {}
        of_accounts: dict[str, Spent] = {}
        answers = self._runner.run(calls, wait=False)
        for (advertiser, campaigns), answer in zip(accounts.of_advertiser.items(), answers, strict=True):
            first, *rest = _sixes(self._value(answer))
            of_accounts[advertiser] = first
            of_campaigns.update(zip(campaigns, rest, strict=True))
        return of_campaigns, of_accounts

    # Fences, audits and rebuilding.

    def fences(self, advertisers: Sequence[str]) -> dict[str, Fence]:
        """Which of these ledgers may grant."""
        answers = self._runner.run([Call(_FENCE, prefix(name), ()) for name in advertisers], wait=False)
        return {name: _fence(self._value(answer)) for name, answer in zip(advertisers, answers, strict=True)}

    def set_fence(self, advertiser: str, run_id: str, opens_ms: int = 0) -> bool:
        """Declare the ledger whole on the node `run_id`, as `fences` said it; False where another node has it by now.

        It grants from the wall clock `opens_ms` on. A later time that was set before stays; -1 clears it.
        """
        (answer,) = self._runner.run([Call(_FENCE, prefix(advertiser), (run_id, opens_ms))])
        return bool(self._value(answer, durable=True)[5])

    def books(self, advertiser: str) -> Books:
        """All numbers of an advertiser at one moment. One script, some milliseconds for a thousand campaigns."""
        (answer,) = self._runner.run([Call(_STATE, prefix(advertiser), ())], wait=False)
        total, flows, marks, periods, leases = self._value(answer)
        return Books(
            _hash(total),
            {name.decode(): _hash(flat) for name, flat in zip(periods[::2], periods[1::2], strict=True)},
            {int(name): _hash(flat) for name, flat in zip(leases[::2], leases[1::2], strict=True) if flat},
            _hash(flows),
            _hash(marks),
        )

    def forget(self, advertiser: str) -> int:
        """Empty an advertiser's ledger for a rebuild: it grants nothing and is not swept until `set_fence`."""
        (answer,) = self._runner.run([Call(_FORGET, prefix(advertiser), ())])
        return int(self._value(answer, durable=True))

    def _value(self, answer: Answer, durable: bool = False) -> Any:
        if answer.error is not None:
            raise self._unavailable(answer.error)
        if durable and not answer.durable:
            raise Unavailable(f"Redis at {self.where}: too few replicas have confirmed a change of the ledger")
        return answer.value

    def _unavailable(self, error: Exception) -> Unavailable:
        if not is_away(error):
            raise error  # a script of ours is wrong
        made = Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}")
        made.__cause__ = error
        return made


def _terms(account: CampaignAccount, lease: int) -> Iterator[str | int]:
    """Periods and grantable amounts of a lease, as `ledger_trade` wants them."""
    yield from account.periods(lease * 1000 - 1)
    for limit in (*account.limits.grantable, *account.account_limits.grantable):
        yield "-" if limit is None else limit


def _hash(flat: Sequence[bytes]) -> dict[str, int]:
    """Fields and values; a lease's records of periods (`|campaign`) are left out."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): int(value) for name, value in pairs if not name.startswith(b"|")}


def _sixes(values: Sequence[Any]) -> list[Spent]:
    numbers = [int(value) for value in values]
    return [Spent(*numbers[at : at + 6]) for at in range(0, len(numbers), 6)]


def _fence(value: Sequence[Any]) -> Fence:
    run_id, fence, opens_ms, empty, rebuilding = value[:5]
    return Fence(run_id.decode(), fence.decode(), int(opens_ms), bool(empty), bool(rebuilding))
