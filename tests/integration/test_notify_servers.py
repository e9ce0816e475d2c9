"""Notifications from a condition to the services' doors: real NATS and Valkey, doubles of the services' HTTP APIs."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from nats.js.api import RetentionPolicy
from nats_server import NatsProcess
from notify_doubles import ACCOUNT, API_KEY, SECRET, TOKEN, Doubles

from campaign_express.adapters.http_post import Undelivered
from campaign_express.adapters.nats import StreamTerms, connect
from campaign_express.adapters.notify_queue import NotifyQueue, Told
from campaign_express.adapters.sendgrid import SendGrid
from campaign_express.adapters.twilio import Twilio
from campaign_express.adapters.webhook import Webhook
from campaign_express.config import Secret
from campaign_express.errors import Unavailable
from campaign_express.notifications import STREAM, Letter, Notification
from campaign_express.treasury.loops import Health
from campaign_express.treasury.notify import Recipients, Watch
from campaign_express.treasury.notify_conditions import Conditions, Look
from campaign_express.treasury.notify_sender import Channel, Sender

NOTIFICATION = Notification(
    id="budget-80:daily:campaign:c:d20261125",
    condition="budget-80",
    subject="campaign:c",
    title="Daily budget of campaign c is 80 % spent",
    text="Campaign c has spent 80.00 of 100.00 USD of its daily budget.",
    at_ms=1_795_564_800_000,
    facts={"spent_usd": 80.0},
)
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
RECIPIENTS = Recipients(webhook=True, email="x@example.com,y@example.com", sms=("+491", "+492"))


@pytest.fixture
def doubles() -> Iterator[Doubles]:
    made = Doubles()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    server = NatsProcess(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


def channels(url: str, api_key: str = API_KEY) -> dict[str, Channel]:
    return {
        "webhook": Webhook(f"{url}/hook?x=1", Secret(SECRET)),
        "email": SendGrid(Secret(api_key), "from@example.com", url),
        "sms": Twilio(Secret(ACCOUNT), Secret(TOKEN), "+490", url),
    }


def letter(channel: str, to: str = "") -> Letter:
    return Letter(notification=NOTIFICATION, channel=channel, to=to)


def test_what_the_services_are_sent(doubles: Doubles) -> None:
    made = channels(doubles.url)
    made["webhook"].send(letter("webhook"))
    made["email"].send(letter("email", "x@example.com,y@example.com"))
    made["sms"].send(letter("sms", "+491"))
    hook, mail, sms = doubles.asked
    assert [one.status for one in doubles.asked] == [200, 202, 201]
    assert json.loads(hook.body)["id"] == NOTIFICATION.id
    sent = json.loads(mail.body)
    assert [one["email"] for one in sent["personalizations"][0]["to"]] == ["x@example.com", "y@example.com"]
    assert (sent["subject"], sent["content"][0]["value"]) == (NOTIFICATION.title, NOTIFICATION.text)
    form = parse_qs(sms.body.decode())
    assert (form["To"], form["From"]) == (["+491"], ["+490"])
    assert NOTIFICATION.text in form["Body"][0]


def test_a_messaging_service_sends_too(doubles: Doubles) -> None:
    Twilio(Secret(ACCOUNT), Secret(TOKEN), "MG0123", doubles.url).send(letter("sms", "+491"))
    assert parse_qs(doubles.asked[0].body.decode())["MessagingServiceSid"] == ["MG0123"]


def test_nobody_there_is_a_reason_to_try_again(doubles: Doubles) -> None:
    doubles.stop()
    with pytest.raises(Undelivered, match="does not answer"):
        channels(doubles.url)["email"].send(letter("email", "x@example.com"))
    doubles.start()


def queue(nats: NatsProcess, name: str = "test") -> NotifyQueue:
    return NotifyQueue(nats.url, StreamTerms(), name=name)


async def clean(nats: NatsProcess) -> None:
    """Empty streams, whatever the test before has left."""
    client = await connect(nats.url, "test")
    for info in await client.jetstream().streams_info():
        await client.jetstream().delete_stream(info.config.name)
    await client.close()


async def counts(nats: NatsProcess) -> tuple[int, int]:
    """Messages in (NOTIFY, DEAD)."""
    client = await connect(nats.url, "test")
    context = client.jetstream()
    found = [(await context.stream_info(name)).state.messages for name in (STREAM, "DEAD")]
    retention = (await context.stream_info(STREAM)).config.retention
    await client.close()
    assert retention == RetentionPolicy.WORK_QUEUE
    return found[0], found[1]


def sending(
    nats: NatsProcess,
    letters: list[Letter],
    made: dict[str, Channel],
    done: Callable[[Sender], bool],
    attempts: int = 5,
) -> tuple[Sender, tuple[int, int]]:
    """Queue letters, run a sender until `done`; returns it and the streams' counts."""

    async def run() -> tuple[Sender, tuple[int, int]]:
        await clean(nats)
        putting = queue(nats)
        for one in letters:
            await putting.put(one)
            await putting.put(one)  # the same again: dropped
        await putting.close()
        sender = Sender(queue(nats, "sender"), made, Health(), attempts=attempts, first_pause_s=0.2)
        await _run_until(sender.run, lambda: done(sender))
        return sender, await counts(nats)

    return asyncio.run(run())


async def _run_until(run: Callable[[asyncio.Event], Awaitable[None]], done: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    task = asyncio.ensure_future(run(stop))
    for _ in range(4500):
        if done() or task.done():
            break
        await asyncio.sleep(0.02)
    finished = done()
    stop.set()
    await task
    assert finished


def total(sender: Sender) -> int:
    return sum(count for outcome, count in sender.outcomes.items() if not outcome.endswith("retried"))


def test_each_letter_is_delivered_once(nats: NatsProcess, doubles: Doubles) -> None:
    sender, left = sending(nats, RECIPIENTS.letters(NOTIFICATION), channels(doubles.url), lambda s: total(s) == 4)
    assert dict(sender.outcomes) == {"webhook sent": 1, "email sent": 1, "sms sent": 2}
    assert left == (0, 0)
    assert [len(doubles.delivered(path)) for path in ("/hook?x=1", "/v3/mail/send", MESSAGES)] == [1, 1, 2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_is_busy_is_asked_again_after_as_long_as_it_wants(
    nats: NatsProcess, doubles: Doubles, status: int
) -> None:
    doubles.answers = [(status, {"Retry-After": "1"}), (status, {})]
    loop_times: list[float] = []
    made = channels(doubles.url)
    plain = made["email"].send

    class Timed:
        def send(self, one: Letter) -> None:
            loop_times.append(time.monotonic())
            plain(one)

    sender, left = sending(nats, [letter("email", "x@example.com")], {"email": Timed()}, lambda s: total(s) == 1)
    assert dict(sender.outcomes) == {"email retried": 2, "email sent": 1}
    assert [one.status for one in doubles.asked] == [status, status, 202]
    assert loop_times[1] - loop_times[0] >= 1.0  # as asked
    assert loop_times[2] - loop_times[1] >= 0.4  # our own pause, doubled
    assert left == (0, 0)


def test_a_refusal_is_final_and_holds_up_nobody(
    nats: NatsProcess, doubles: Doubles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    letters = [letter("email", "x@example.com"), letter("sms", "0491"), letter("sms", "+492")]
    sender, left = sending(nats, letters, channels(doubles.url, api_key="SG.wrong-key"), lambda s: total(s) == 3)
    assert dict(sender.outcomes) == {"email refused": 1, "sms refused": 1, "sms sent": 1}
    assert left == (0, 2)
    assert len(doubles.asked) == 3  # each once
    assert "SendGrid answers 401" in caplog.text
    assert "Twilio answers 400" in caplog.text
    assert not any(secret in caplog.text for secret in (TOKEN, "SG.wrong-key", SECRET))


def test_after_the_last_attempt_it_lies_with_the_dead(nats: NatsProcess, doubles: Doubles) -> None:
    doubles.answers = [(503, {})] * 3
    sender, left = sending(
        nats, [letter("webhook")], channels(doubles.url), lambda s: "webhook given-up" in s.outcomes, attempts=3
    )
    assert dict(sender.outcomes) == {"webhook retried": 2, "webhook given-up": 1}
    assert left == (0, 1)


def test_a_letter_outlives_the_sender_and_the_broker(tmp_path: Path, doubles: Doubles) -> None:
    """Queued, and everything ends before it is delivered; with the broker it is there again."""
    server = NatsProcess(tmp_path)
    server.start()
    try:

        async def put() -> None:
            putting = queue(server)
            await putting.put(letter("webhook"))
            await putting.close()

        async def away() -> None:
            with pytest.raises(Unavailable):
                await queue(server).take(1, 0.1)

        async def deliver() -> None:
            sender = Sender(queue(server), channels(doubles.url), Health())
            await _run_until(sender.run, lambda: total(sender) == 1)

        asyncio.run(put())
        server.kill()
        asyncio.run(away())
        server.start()
        asyncio.run(deliver())
        assert len(doubles.delivered("/hook?x=1")) == 1
    finally:
        server.kill()


def test_a_condition_is_told_once_whatever_ends_in_between(nats: NatsProcess, valkey: str) -> None:
    """One treasury queues it and dies before it has marked it; the next one says it again, and the queue drops it."""

    class Always(Conditions):
        def __init__(self) -> None:
            return

        def found(self, look: Look) -> Iterator[Notification]:
            yield NOTIFICATION

    class Dies(Told):
        def mark(self, told: str) -> None:
            raise Unavailable("it dies here")

    look = Look(0, None, {}, {}, {}, {})  # type: ignore[arg-type]

    async def once(told: Told) -> None:
        watch = Watch(Always(), lambda: look, queue(nats), told, RECIPIENTS, Health())
        try:
            await watch.once()
        finally:
            await watch._queue.close()

    async def all_of_it() -> tuple[int, int]:
        await clean(nats)
        with pytest.raises(Unavailable):
            await once(Dies(valkey))
        await once(Told(valkey))
        await once(Told(valkey))
        return await counts(nats)

    assert asyncio.run(all_of_it()) == (4, 0)
    assert Told(valkey).known([NOTIFICATION.id, "another"]) == {NOTIFICATION.id}
