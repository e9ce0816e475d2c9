"""The event pipeline on a real NATS and chDB: each event once in effect, whoever dies at whatever moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from nats_server import NatsProcess

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.events import (
    DEAD_STREAM,
    DECISION_SUBJECTS,
    DECISIONS,
    STREAM,
    SUBJECTS,
    DecisionFrame,
    MoneyEvent,
    encode_event,
    encode_frame,
    subject,
)
from campaign_express.pipeline.loader import LOADERS, Loaded, MoneyLoader, mark_dirty
from campaign_express.pipeline.worker import PartitionWorker
from campaign_express.ports import Message, Warehouse
from tests.support.stored import decision, money

MONEY = Partition("money", STREAM, (SUBJECTS,))
FRAMES = Partition("decisions-0", DECISIONS, ("decisions.0",))
COUNT = "SELECT count(), uniqExact(bid_key, kind, detail) FROM events"


class Held:
    """A lock that nobody else wants."""

    held = True

    def hold(self) -> bool:
        return self.held

    def let_go(self) -> None: ...


@pytest.fixture(scope="module")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbWarehouse]:
    warehouse = ChdbWarehouse(tmp_path_factory.mktemp("chdb") / "store")
    migrate(warehouse)
    yield warehouse
    warehouse.close()


@pytest.fixture
def store(chdb: ChdbWarehouse) -> ChdbWarehouse:
    for table in ("events", "decisions", "requests", "changes", "rollup_minute", "rollup_hour", "rollup_day"):
        chdb.run(f"TRUNCATE TABLE {table}")
    chdb.run("TRUNCATE TABLE rollup_marks")
    return chdb


def reader(
    url: str, partition: Partition = MONEY, owner: str = "one", most: int = 100, linger_s: float = 0.05
) -> RangeReader:
    subjects = SUBJECTS if partition is MONEY else DECISION_SUBJECTS
    return RangeReader(
        url,
        partition,
        StreamTerms(forgets=partition is FRAMES),
        subjects,
        owner=owner,
        most=most,
        most_bytes=1 << 20,
        linger_s=linger_s,
    )


async def publish(url: str, events: Sequence[MoneyEvent | bytes]) -> None:
    client = await connect(url, "test")
    await ensure_stream(client, StreamTerms())
    context = client.jetstream()
    for one in events:
        if isinstance(one, bytes):
            await context.publish("money.acme.win", one)
        else:
            await context.publish(subject(one), encode_event(one))
    await client.close()


async def drained(worker: PartitionWorker, events: int, during: Coroutine[Any, Any, None] | None = None) -> None:
    """Run the worker until it has stored so many events."""
    stop = asyncio.Event()
    running = asyncio.ensure_future(worker.run(stop))
    try:
        if during is not None:
            await during
        async with asyncio.timeout(120):
            while worker.tally.events < events:  # noqa: ASYNC110  # a counter, not an event
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await running


def test_what_was_given_out_before_a_death_is_given_out_again_as_it_was(nats_process: NatsProcess) -> None:
    async def scenario() -> None:
        await publish(nats_process.url, [money(n) for n in range(30)])
        first = reader(nats_process.url, most=20, linger_s=20.0)
        lost = await first.take(20.0)
        assert lost is not None
        assert (lost.first, lost.last, len(lost.messages)) == (1, 20, 20)
        # It dies here, before or after its insert. More comes meanwhile, and the next owner likes larger ranges.
        await publish(nats_process.url, [money(n) for n in range(30, 60)])
        second = reader(nats_process.url, owner="two", most=40, linger_s=20.0)
        again = await second.take(20.0)
        assert again is not None
        assert (again.messages, again.token) == (lost.messages, lost.token)
        await second.done(again)
        rest = await second.take(20.0)
        assert rest is not None
        assert (rest.first, rest.last) == (21, 60)
        assert await second.take(0.1) is None
        await first.close()
        await second.close()

    asyncio.run(scenario())


def test_an_owner_that_was_only_slow_gets_nothing_any_more(nats_process: NatsProcess) -> None:
    async def scenario() -> None:
        await publish(nats_process.url, [money(n) for n in range(40)])
        slow = reader(nats_process.url, owner="slow", most=10, linger_s=20.0)
        assert await slow.take(20.0) is not None
        new = reader(nats_process.url, owner="new", most=10, linger_s=20.0)
        again = await new.take(20.0)
        assert again is not None
        assert again.first == 1
        with pytest.raises(Unavailable):
            await slow.take(20.0)
        # The new one is not disturbed by that: ranges follow one another without a gap.
        firsts = []
        for _ in range(3):
            taken = await new.take(20.0)
            assert taken is not None
            firsts.append(taken.first)
        assert firsts == [11, 21, 31]
        await slow.close()
        await new.close()

    asyncio.run(scenario())


def test_a_stream_that_was_made_anew_is_read_from_its_beginning(nats_process: NatsProcess) -> None:
    async def scenario() -> None:
        await publish(nats_process.url, [money(n) for n in range(5)])
        first = reader(nats_process.url)
        taken = await first.take(20.0)
        assert taken is not None
        await first.done(taken)
        await first.close()
        client = await connect(nats_process.url, "test")
        await client.jetstream().delete_stream(STREAM)
        await client.close()
        await publish(nats_process.url, [money(n) for n in range(5, 8)])
        second = reader(nats_process.url, owner="two", most=3, linger_s=20.0)
        anew = await second.take(20.0)
        assert anew is not None
        assert (anew.first, anew.last) == (1, 3)
        assert anew.token != taken.token
        await second.close()

    asyncio.run(scenario())


class Dying(MoneyLoader):
    """Stores what it is given, then fails as if the process had died right there, a few times."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        loaded = super().load(warehouse, messages, token)
        if self.deaths:
            self.deaths -= 1
            raise Unavailable("dead after the insert, before anybody was told")
        return loaded


def test_each_event_once_though_inserts_are_done_again(nats_process: NatsProcess, store: ChdbWarehouse) -> None:
    """The same event twice in the stream, ranges inserted twice, a second owner, the broker killed in between."""
    twice = [money(n) for n in range(50)]

    async def broken() -> None:
        await asyncio.sleep(0.3)
        nats_process.kill()
        await asyncio.sleep(0.3)
        nats_process.start()
        await publish(nats_process.url, [money(n, "impression") for n in range(200)])

    async def scenario() -> None:
        await publish(nats_process.url, [*(money(n) for n in range(200)), *twice])
        one = PartitionWorker(reader(nats_process.url, most=40), Dying(3), lambda: store, Held())
        await drained(one, 250)
        two = PartitionWorker(reader(nats_process.url, owner="two", most=70), Dying(2), lambda: store, Held())
        await drained(two, 200, broken())

    asyncio.run(scenario())
    assert store.query(f"{COUNT} FINAL").rows == [(400, 400)]
    rows, _ = store.query(COUNT).rows[0]
    assert rows <= 450  # those that were published twice, as far as they are not merged yet, and no range twice


def test_a_message_that_cannot_be_read_is_set_aside_with_its_reason(
    nats_process: NatsProcess, store: ChdbWarehouse
) -> None:
    async def scenario() -> None:
        await publish(nats_process.url, [money(1), b"\x00no event", money(2, authorised_micros=2**60), money(3)])
        worker = PartitionWorker(reader(nats_process.url), LOADERS[STREAM], lambda: store, Held())
        await drained(worker, 2)
        assert worker.tally.buried == 2
        client = await connect(nats_process.url, "test")
        context = client.jetstream()
        dead = [await context.get_msg(DEAD_STREAM, seq=number) for number in (1, 2)]
        assert [one.headers["Sequence-Of-Origin"] for one in dead if one.headers] == ["2", "3"]
        assert "does not decode" in dead[0].headers["Problem"]  # type: ignore[index]
        assert "out of range" in dead[1].headers["Problem"]  # type: ignore[index]
        assert dead[0].data == b"\x00no event"
        await client.close()

    asyncio.run(scenario())
    assert store.query(f"{COUNT} FINAL").rows == [(2, 2)]


def test_frames_become_a_row_a_decision(nats_process: NatsProcess, store: ChdbWarehouse) -> None:
    frames = [DecisionFrame(1, f"f{n}", [decision(n * 10 + k) for k in range(10)]) for n in range(30)]

    async def scenario() -> None:
        client = await connect(nats_process.url, "test")
        await ensure_stream(client, StreamTerms(forgets=True), DECISIONS, DECISION_SUBJECTS)
        for frame in [*frames, *frames[:5]]:
            await client.jetstream().publish("decisions.0", encode_frame(frame))
        await client.jetstream().publish("decisions.0", encode_frame(DecisionFrame(99, "new", [])))
        await client.close()
        worker = PartitionWorker(reader(nats_process.url, FRAMES), LOADERS[DECISIONS], lambda: store, Held())
        await drained(worker, 350)
        assert worker.tally.buried == 1  # of a schema that is newer than ours

    asyncio.run(scenario())
    assert store.query("SELECT count(), sum(price_micros) FROM decisions FINAL").rows == [(300, 600_000_000)]


def test_a_store_that_refuses_is_waited_for(nats_process: NatsProcess, store: ChdbWarehouse) -> None:
    refusals = [Unavailable("away"), WarehouseError("a fault of ours"), Unavailable("away")]

    def sometimes() -> Warehouse:
        if refusals:
            raise refusals.pop()
        return store

    async def scenario() -> None:
        await publish(nats_process.url, [money(n) for n in range(10)])
        worker = PartitionWorker(reader(nats_process.url), LOADERS[STREAM], sometimes, Held())
        await drained(worker, 10)
        assert worker.tally.failures == 3

    asyncio.run(scenario())
    assert store.query(f"{COUNT} FINAL").rows == [(10, 10)]


def loaded(store: ChdbWarehouse, events: Sequence[MoneyEvent], first_seq: int = 1) -> Loaded:
    messages = [Message(first_seq + n, subject(one), encode_event(one)) for n, one in enumerate(events)]
    found = LOADERS[STREAM].load(store, messages, f"test:{first_seq}:{len(events)}")
    mark_dirty(store, found.minutes)
    return found


def test_an_order_that_is_told_twice_is_one_conversion(store: ChdbWarehouse) -> None:
    """The second time it may be due to another click: another bid, another campaign, another time."""
    first = money(1, "conversion", id="order-1", value_micros=5_000_000)
    again = money(2, "conversion", id="order-1", value_micros=5_000_000)
    other = money(3, "conversion", id="order-2", value_micros=7_000_000)
    assert loaded(store, [first, other]).duplicates == 0
    assert loaded(store, [again], first_seq=10).duplicates == 1
    assert loaded(store, [first, other]).duplicates == 0  # the first range once more: they are its own
    kept = store.query("SELECT campaign, value_micros FROM events FINAL WHERE kind = 'conversion' ORDER BY campaign")
    assert kept.rows == [("c0", 7_000_000), ("c1", 5_000_000)]


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ([{"kind": "win", "sets_price": True, "clear_micros": 700}], 700),
        ([{"kind": "win"}, {"kind": "impression"}], 2000),  # settled, and no price came: what was authorised
        ([{"kind": "win", "sets_price": True, "clear_micros": 0}], 0),
        ([{"kind": "billing", "sets_price": True, "clear_micros": 9000, "quarantined": "above"}], 2000),
        ([{"kind": "billing", "sets_price": True, "clear_micros": 9000}], 2000),
        ([{"kind": "win", "sets_price": True, "clear_micros": -1}, {"kind": "billing"}], 2000),
        ([{"kind": "loss"}, {"kind": "click"}], 0),
        ([{"kind": "loss"}, {"kind": "win", "sets_price": True, "clear_micros": 300}], 300),
        ([{"kind": "win", "sets_price": True, "clear_micros": 700, "test": True}], 0),
        # Of two that say a price, the one that was in the stream first is believed.
        (
            [
                {"kind": "win", "sets_price": True, "clear_micros": 600},
                {"kind": "win", "sets_price": True, "clear_micros": 800},
            ],
            600,
        ),
    ],
)
def test_a_bid_costs_what_the_ledger_says(store: ChdbWarehouse, told: list[dict[str, Any]], cost: int) -> None:
    loaded(store, [money(1, **one) for one in told])
    rollups.catch_up(store, everything=True)
    sums = store.query("SELECT sum(spend_micros) FROM rollup_day FINAL WHERE dimension = ''").rows
    assert sums == [(cost,)]


def test_sums_are_made_anew_and_never_added_to(
    store: ChdbWarehouse, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """Late events, duplicates, several minutes and days: sums equal what is counted by hand, in every dimension."""
    LOADERS[DECISIONS].load(
        store,
        [Message(1, "decisions.0", encode_frame(DecisionFrame(1, "f", [decision(n) for n in range(300)])))],
        "decisions",
    )
    wins = [money(n, sets_price=True, clear_micros=1000 + n) for n in range(0, 300, 2)]
    shown = [money(n, "impression", user=f"u{n % 5}") for n in range(0, 300, 4)]
    late = [money(n, "impression", user=f"u{n % 5}") for n in range(2, 300, 4)]
    loaded(store, wins + shown)
    rollups.catch_up(store, everything=True)
    loaded(store, wins + shown)  # the same range once more
    loaded(store, late + wins[:20], first_seq=1000)
    rollups.catch_up(store, everything=True)
    spend = sum(1000 + n for n in range(0, 300, 2))
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):
        rows = store.query(
            "SELECT dimension, sum(bids) AS a, sum(wins) AS b, sum(impressions) AS c, sum(spend_micros) AS d, "
            f"uniqCombinedMerge(14)(users) AS e FROM {table} FINAL GROUP BY dimension"
        ).rows
        assert {row[0]: row[1:] for row in rows} == dict.fromkeys(
            ("", "creative", "exchange", "place", "country", "device"), (300, 150, 150, spend, 5)
        )
    by_campaign = store.query(
        "SELECT campaign, sum(wins) FROM rollup_day FINAL WHERE dimension = '' GROUP BY campaign ORDER BY campaign"
    ).rows
    assert by_campaign == [("c0", 50), ("c1", 50), ("c2", 50)]
    by_place = store.query(
        "SELECT value, sum(bids), sum(wins) FROM rollup_hour FINAL WHERE dimension = 'place' "
        "GROUP BY value ORDER BY value"
    ).rows
    assert by_place == [("p0.example", 150, 150), ("p1.example", 150, 0)]


def test_a_directory_of_chdb_belongs_to_one_process(chdb: ChdbWarehouse) -> None:
    directory = Path(chdb.where.removeprefix("chDB in ").partition(",")[0])
    with pytest.raises(Unavailable, match="another process has it"):
        ChdbWarehouse(directory)


def test_migrations_are_safe_twice_and_refuse_a_changed_past(chdb: ChdbWarehouse) -> None:
    assert migrate(chdb) == []
    chdb.run("INSERT INTO migrations SELECT 1, 'events', 'another', now() + 1")
    try:
        with pytest.raises(WarehouseError, match="0001_events was applied in another form"):
            migrate(chdb)
    finally:
        chdb.run("ALTER TABLE migrations DELETE WHERE checksum = 'another' SETTINGS mutations_sync = 1")
    assert migrate(chdb) == []


@pytest.mark.parametrize("text", ["it's", "back\\slash", "new\nline\ttab", "'); DROP TABLE events; --", "\0", "ü\r\b"])
def test_parameters_are_values_and_never_sql(chdb: ChdbWarehouse, text: str) -> None:
    rows = chdb.query("SELECT {one:String} AS a, {many:Array(String)} AS b", {"one": text, "many": [text, "x"]}).rows
    assert [(a, list(b)) for a, b in rows] == [(text, [text, "x"])]
