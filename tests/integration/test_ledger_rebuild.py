"""The drill: Redis has lost a ledger, and the event log in a real JetStream brings it back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from nats_server import NatsProcess
from redis import Redis

from campaign_express.adapters.event_log import EventLog
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Refusal, Want
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.rebuild import rebuild, reconcile
from campaign_express.bidding.books import differences
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.bidding.settlement import Tally
from campaign_express.events import STREAM, MoneyEvent, bid_key, encode_event, event_id, subject
from tests.support.catalogs import catalog_of

LEASES = LeaseClock(60)
SETTLE_S = 420
NOW = 1_795_000_000_000
ADVERTISER = "acme.shoes"  # a dot is nothing special in Redis, and a level in NATS


def accounts() -> Accounts:
    one = catalog_of(
        ADVERTISER,
        ("America/New_York", Budget(total=10**9)),
        {"a": ("Asia/Kolkata", Budget(daily=10**8)), "b": ("UTC", Budget())},
    )
    two = catalog_of("other", ("UTC", Budget(total=10**9)), {"c": ("UTC", Budget())})
    return Accounts(Catalog(advertisers=one.advertisers + two.advertisers, campaigns=one.campaigns + two.campaigns))


@pytest.fixture
def ledger(valkey: str) -> Iterator[Ledger]:
    made = Ledger(valkey, accounts(), settle_s=SETTLE_S)
    for name, fence in made.fences([ADVERTISER, "other"]).items():
        assert fence.empty
        assert made.set_fence(name, fence.run_id)
    yield made
    made.close()


def history(ledger: Ledger, seed: int, bids: int) -> list[MoneyEvent]:
    """What was bid over two days from leases of this ledger, with all that notices do."""
    draw = random.Random(seed)
    events = []
    for number in range(bids):
        advertiser, campaign = draw.choice([(ADVERTISER, "a"), (ADVERTISER, "b"), ("other", "c")])
        wall_ms = NOW - 172_800_000 + number * 172_800_000 // bids
        lease = LEASES.lease_at(wall_ms)
        cost = draw.randint(1, 9_000)
        (grant,) = ledger.grant(advertiser, [Want(campaign, lease, cost, cost)], wall_ms)
        assert grant.micros == cost
        key = bid_key("x", f"{seed}-{number}", "1", "b")
        kinds = draw.choice([["loss"], ["win", "impression"], ["billing", "win", "win"], ["impression"], []])
        for kind in kinds:
            sets_price = kind == draw.choice(["win", "billing", "impression"])
            events.append(
                MoneyEvent(
                    id=event_id(kind, key),
                    bid_key=key,
                    kind=kind,
                    exchange="x",
                    auction=f"{seed}-{number}",
                    imp="1",
                    bid="b",
                    advertiser=advertiser,
                    campaign=campaign,
                    creative="k",
                    authorised_micros=cost,
                    lease=lease,
                    clear_micros=draw.randint(0, cost) if sets_price else -1,
                    sets_price=sets_price,
                    bid_ms=wall_ms,
                    received_ms=wall_ms + 1000,
                )
            )
    return events


def publish(url: str, events: Sequence[MoneyEvent]) -> None:
    async def send() -> None:
        client = await connect(url, "test")
        await ensure_stream(client, StreamTerms(duplicate_window_s=60))
        context = client.jetstream()
        for event in events:
            await context.publish(subject(event), encode_event(event))
        await client.close()

    asyncio.run(send())


def test_a_lost_ledger_comes_back_from_the_log(ledger: Ledger, valkey: str, nats_process: NatsProcess) -> None:
    events = history(ledger, seed=1, bids=900)
    publish(nats_process.url, events)
    ledger.apply(events)
    before = {name: ledger.books(name) for name in (ADVERTISER, "other")}
    assert before[ADVERTISER].committed() > 0
    log = EventLog(nats_process.url)
    assert log.whole()
    tally = Tally(ledger.accounts)
    for event in log.read(ADVERTISER):
        assert event.advertiser == ADVERTISER
        tally.add(event)
    assert list(differences(before[ADVERTISER], tally)) == []

    with Redis.from_url(valkey) as client:
        client.flushall()
    want = [Want("a", LEASES.lease_at(NOW), 500)]
    assert ledger.grant(ADVERTISER, want, NOW)[0].refused is Refusal.RECONCILE

    done = rebuild(ledger, log, ADVERTISER, NOW, LEASES.lease_s)
    assert done.events == sum(event.advertiser == ADVERTISER for event in events)
    after = ledger.books(ADVERTISER)
    assert list(differences(after, tally)) == []
    assert {k: v for k, v in after.total.items() if k.startswith("c")} == {
        k: v for k, v in before[ADVERTISER].total.items() if k.startswith("c")
    }
    for period, hash_ in before[ADVERTISER].periods.items():
        for name, micros in hash_.items():
            if name.startswith("c"):
                assert after.periods[period][name] == micros
    assert ledger.books("other").total == {}  # each advertiser on its own

    # Bids of before may still cost: nothing is lent before they cannot any more.
    assert ledger.grant(ADVERTISER, want, NOW)[0].refused is Refusal.CLOSED
    late = NOW + (SETTLE_S + 2 * LEASES.lease_s) * 1000
    soon, then = LEASES.lease_at(late - 1), LEASES.lease_at(late)
    assert ledger.grant(ADVERTISER, [Want("a", soon, 500)], late - 1)[0].refused is Refusal.CLOSED
    assert ledger.grant(ADVERTISER, [Want("a", then, 500)], late)[0].micros == 500

    # The events again, by whoever: nothing changes.
    ledger.apply(events)
    assert list(differences(ledger.books(ADVERTISER), tally)) == []


def test_where_nothing_is_outstanding_the_ledger_opens_at_once(
    ledger: Ledger, valkey: str, nats_process: NatsProcess
) -> None:
    publish(nats_process.url, history(ledger, seed=2, bids=30))
    with Redis.from_url(valkey) as client:
        client.flushall()
    log = EventLog(nats_process.url)
    want = [Want("a", LEASES.lease_at(NOW), 500)]
    rebuild(ledger, log, ADVERTISER, NOW, LEASES.lease_s)
    reconcile(ledger, log, ADVERTISER)
    assert ledger.grant(ADVERTISER, want, NOW)[0].refused is Refusal.CLOSED  # a restart does not open it
    rebuild(ledger, log, ADVERTISER, NOW, LEASES.lease_s, nothing_outstanding=True)
    assert ledger.grant(ADVERTISER, want, NOW)[0].micros == 500


def test_nobody_sweeps_a_ledger_that_is_rebuilt(ledger: Ledger) -> None:
    events = history(ledger, seed=3, bids=10)
    ledger.forget(ADVERTISER)
    ledger.sweep(NOW + 10 * 86_400_000)  # the treasury, which knows nothing of it
    assert not any(one.outcome == "expired" for one in ledger.apply([e for e in events if e.advertiser == ADVERTISER]))


def test_an_empty_log_and_none_at_all(nats_process: NatsProcess) -> None:
    log = EventLog(nats_process.url)
    assert log.whole()
    assert list(log.read()) == []
    publish(nats_process.url, [])
    assert list(log.read("acme")) == []


def test_only_what_became_durable_since(ledger: Ledger, nats_process: NatsProcess) -> None:
    publish(nats_process.url, history(ledger, seed=6, bids=20))
    time.sleep(0.05)
    since = datetime.now(UTC)
    time.sleep(0.05)
    fresh = history(ledger, seed=7, bids=20)
    publish(nats_process.url, fresh)
    assert [event.id for event in EventLog(nats_process.url).read(since=since)] == [event.id for event in fresh]


def test_a_log_without_its_beginning_says_so(ledger: Ledger, nats_process: NatsProcess) -> None:
    publish(nats_process.url, history(ledger, seed=4, bids=20))

    async def drop() -> None:
        client = await connect(nats_process.url, "test")
        await client.jetstream().purge_stream(STREAM, keep=3)
        await client.close()

    asyncio.run(drop())
    log = EventLog(nats_process.url)
    assert not log.whole()
    assert len(list(log.read())) == 3


def test_what_is_no_event_is_passed_over(ledger: Ledger, nats_process: NatsProcess) -> None:
    publish(nats_process.url, history(ledger, seed=5, bids=20))

    async def spoil() -> None:
        client = await connect(nats_process.url, "test")
        await client.jetstream().publish("money.other.win", b"not an event")
        await client.close()

    asyncio.run(spoil())
    log = EventLog(nats_process.url)
    assert len(list(log.read())) > 3
    assert log.unreadable == 1
