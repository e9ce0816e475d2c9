"""What JetStream counts of a message is what `sizing` says."""

from __future__ import annotations

import asyncio

from nats_server import NatsProcess

from campaign_express.adapters.batches import BATCH_COMMIT, BatchPublisher, Parcel
from campaign_express.adapters.nats import MESSAGE_ID, Publisher, StreamTerms, connect
from campaign_express.events import DECISION_SUBJECTS, DECISIONS, STREAM, SUBJECTS, encode_event, subject
from campaign_express.ports import Kept
from campaign_express.sizing import BATCHED, ID, STORED, money_bytes, money_event


def test_a_stored_message(nats_process: NatsProcess) -> None:
    """Also of a stream that is compressed on the disk: it is the plain size that its limit is for."""

    async def scenario() -> None:
        event = money_event()
        for name, subjects, to, payload, compressed in (
            (STREAM, SUBJECTS, subject(event), encode_event(event), False),
            (DECISIONS, DECISION_SUBJECTS, "decisions.0", b"x" * 100_000, True),
        ):
            acked = asyncio.Event()

            async def lost() -> None: ...

            publisher = Publisher(
                nats_process.url,
                "test",
                StreamTerms(compressed=compressed),
                (name, subjects),
                lambda token, ack, acked=acked: acked.set(),
                lost,
            )
            await publisher.connect()
            await publisher.send("1", to, payload, {MESSAGE_ID: "i" * ID})
            await asyncio.wait_for(acked.wait(), 60)
            await publisher.disconnect()
            client = await connect(nats_process.url, "test")
            state = (await client.jetstream().stream_info(name)).state
            await client.close()
            assert state.bytes == STORED + len(to) + len(payload)
        assert money_bytes() == len(subject(event)) + len(encode_event(event))

    asyncio.run(scenario())


def test_a_message_of_a_batch(nats_process: NatsProcess) -> None:
    async def scenario() -> None:
        count, payload = 50, b"x" * 300
        stored: list[Kept | None] = []

        async def lost() -> None: ...

        publisher: BatchPublisher[Parcel] = BatchPublisher(
            nats_process.url, "test", StreamTerms(), (STREAM, SUBJECTS), lambda parcel, kept: stored.append(kept), lost
        )
        await publisher.connect()
        for number in range(count):
            publisher.offer(Parcel("money.a.win", f"{number:0{ID}}", payload))
        async with asyncio.timeout(60):
            while len(stored) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await publisher.disconnect()
        client = await connect(nats_process.url, "test")
        state = (await client.jetstream().stream_info(STREAM)).state
        await client.close()
        each = (state.bytes - len(f"{BATCH_COMMIT}: 1\r\n")) / count - len("money.a.win") - len(payload)
        assert abs(each - STORED - BATCHED) < 4  # ids and places are shorter and longer

    asyncio.run(scenario())
