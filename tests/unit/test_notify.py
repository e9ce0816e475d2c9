"""Notifications without a network: when a condition holds, that it is told once a day, what is signed, what waits."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from campaign_express.adapters.http_post import Refused, Reply, Undelivered, accepted, checked_url
from campaign_express.adapters.ledger_terms import Spent
from campaign_express.adapters.notify_queue import Taken
from campaign_express.adapters.webhook import Webhook, sign, verify
from campaign_express.bidding.model import Advertiser, Budget, Campaign, Catalog, Status
from campaign_express.bootstrap_pacing import build_channels
from campaign_express.config import Secret, Settings, load
from campaign_express.errors import ConfigError, Unavailable
from campaign_express.notifications import Letter, Notification
from campaign_express.treasury.loops import Health, keep
from campaign_express.treasury.notify import Recipients, Watch
from campaign_express.treasury.notify_conditions import Conditions, Look, Thresholds
from campaign_express.treasury.notify_sender import Sender
from tests.support.pacing_world import DAY_MS, START_MS, campaign

USD = 1_000_000
MINUTE_MS = 60_000
BUDGET = Budget(total=1000 * USD, daily=100 * USD)


def look(at_ms: int = START_MS, made: Campaign | None = None, **fields: Any) -> Look:
    one = campaign(budget=BUDGET) if made is None else made
    catalog = Catalog(
        advertisers=(Advertiser(id="a", name="A", domain="a.example", budget=Budget(daily=500 * USD)),),
        campaigns=(one,),
    )
    return Look(at_ms, catalog, **{"campaigns": {}, "accounts": {}, "progress": {}, "asked_ms": {}, **fields})


def ids(found: Look, conditions: Conditions | None = None) -> list[str]:
    return [one.id for one in (conditions or Conditions(Thresholds())).found(found)]


@pytest.mark.parametrize(
    ("usd", "told"),
    [(79.9, []), (80, ["budget-80"]), (98.9, ["budget-80"]), (99, ["budget-100"]), (100, ["budget-100"])],
)
def test_a_daily_budget(usd: float, told: list[str]) -> None:
    found = look(campaigns={"c": Spent(total=int(usd * USD), today=int(usd * USD))})
    assert ids(found) == [f"{one}:daily:campaign:c:d20261125" for one in told]


def test_totals_and_accounts_have_budgets_of_their_own() -> None:
    found = look(campaigns={"c": Spent(total=850 * USD)}, accounts={"a": Spent(today=499 * USD)})
    assert ids(found) == ["budget-80:total:campaign:c:d20261125", "budget-100:daily:account:a:d20261125"]
    (first, _) = Conditions(Thresholds()).found(found)
    assert first.text == "Campaign c has spent 850.00 of 1,000.00 USD of its total budget."


def test_a_budget_of_few_impressions_is_spent_when_none_fits_any_more() -> None:
    """Impressions of up to 2000 micros (CPM 2 USD); of the rest of 2000, less the headroom, none can be paid."""
    found = look(made=campaign(budget=Budget(daily=20_010)), campaigns={"c": Spent(today=18_010)})
    assert ids(found) == ["budget-100:daily:campaign:c:d20261125"]


def test_a_paused_campaign_tells_nothing() -> None:
    spent = {"c": Spent(today=100 * USD)}
    assert ids(look(made=campaign(budget=BUDGET, status=Status.PAUSED), campaigns=spent)) == []


def behind(share: float, runs: bool = True) -> dict[str, Any]:
    return {"c": SimpleNamespace(goal=100 * USD, due=50 * USD, spent=30 * USD, runs=runs, behind=share)}


def test_under_delivery_counts_from_when_it_began() -> None:
    conditions = Conditions(Thresholds(behind=0.1, behind_minutes=60))
    for minute, share, told in [
        (0, 0.2, False),
        (59, 0.2, False),
        (60, 0.2, True),
        (61, 0.05, False),
        (90, 0.2, False),
    ]:
        found = ids(look(START_MS + minute * MINUTE_MS, progress=behind(share)), conditions)
        assert found == (["under-delivery:campaign:c:d20261125"] if told else []), minute


def test_a_campaign_that_may_not_run_does_not_under_deliver() -> None:
    conditions = Conditions(Thresholds(behind_minutes=1))
    for minute in range(5):
        assert ids(look(START_MS + minute * MINUTE_MS, progress=behind(0.5, runs=False)), conditions) == []


@pytest.mark.parametrize(("minutes", "told"), [(14, False), (15, True), (24 * 60 - 1, True), (24 * 60, False)])
def test_an_exchange_that_sent_before_and_is_silent(minutes: int, told: bool) -> None:
    at_ms = START_MS + DAY_MS
    found = look(at_ms, asked_ms={"big": at_ms - minutes * MINUTE_MS})
    assert ids(found) == (["exchange-silent:exchange:big:d20261126"] if told else [])
    assert ids(found._replace(stopped=frozenset({"big"}))) == []


@dataclass
class Kept:
    """A queue and a memory of what was told; `fails` puts are refused first."""

    letters: list[Letter] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    fails: int = 0

    async def put(self, letter: Letter) -> None:
        if self.fails:
            self.fails -= 1
            raise Unavailable("NATS is away")
        self.letters.append(letter)

    async def close(self) -> None:
        return None

    def known(self, ids: list[str]) -> set[str]:
        return self.told & set(ids)

    def mark(self, told: str) -> None:
        self.told.add(told)


RECIPIENTS = Recipients(webhook=True, email="x@example.com,y@example.com", sms=("+491", "+492"))


def watch(kept: Kept, looks: list[Look], health: Health | None = None) -> Watch:
    return Watch(Conditions(Thresholds()), lambda: looks[0], kept, kept, RECIPIENTS, health or Health(), period_s=0.001)


def spent_all(at_ms: int = START_MS) -> Look:
    return look(at_ms, campaigns={"c": Spent(today=100 * USD)})


def test_each_recipient_gets_one_letter_a_day() -> None:
    kept, looks = Kept(), [spent_all()]
    watching = watch(kept, looks)
    for _ in range(3):
        asyncio.run(watching.once())
    assert [(one.channel, one.to) for one in kept.letters] == [
        ("webhook", ""),
        ("email", "x@example.com,y@example.com"),
        ("sms", "+491"),
        ("sms", "+492"),
    ]
    assert len({one.id for one in kept.letters}) == 4
    asyncio.run(watch(kept, looks).once())  # another treasury
    assert len(kept.letters) == 4
    looks[0] = spent_all(START_MS + DAY_MS)
    asyncio.run(watching.once())
    assert len(kept.letters) == 8


def test_what_could_not_be_queued_is_queued_next_time_under_the_same_ids() -> None:
    kept = Kept(fails=1)
    watching = watch(kept, [spent_all()])
    with pytest.raises(Unavailable):
        asyncio.run(watching.once())
    assert kept.told == set()
    asyncio.run(watching.once())
    assert len(kept.letters) == 4
    assert kept.told == {"budget-100:daily:campaign:c:d20261125"}


def test_a_watch_that_goes_on_after_a_failure_has_no_problem_any_more() -> None:
    health = Health()
    watching = watch(Kept(fails=1), [spent_all()], health)

    async def scene() -> None:
        stop = asyncio.Event()
        running = asyncio.ensure_future(keep(watching, health, stop))
        while not health.runs:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.001)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(scene(), 60.0))
    assert (health.failures, health.problem) == (1, "")


NOTIFICATION = Notification(id="n", condition="budget-100", subject="campaign:c", title="T", text="t", at_ms=START_MS)


@dataclass
class Box:
    """A queue of one letter, and what became of it."""

    attempt: int = 1
    channel: str = "webhook"
    result: list[Any] = field(default_factory=list)

    async def take(self, most: int, wait_s: float) -> Sequence[Taken]:
        return []

    async def done(self, taken: Taken) -> None:
        self.result.append("done")

    async def later(self, taken: Taken, delay_s: float) -> None:
        self.result.append(delay_s)

    async def bury(self, taken: Taken, problem: str) -> None:
        self.result.append(problem)

    async def close(self) -> None:
        return None

    def deliver(self, *raises: Exception, attempts: int = 5) -> list[Any]:
        class Channel:
            def send(self, letter: Letter) -> None:
                if raises:
                    raise raises[0]

        sender = Sender(self, {"webhook": Channel()}, Health(), attempts=attempts, first_pause_s=5.0)
        letter = Letter(notification=NOTIFICATION, channel=self.channel)
        asyncio.run(sender._deliver(Taken(letter, self.attempt, None)))  # type: ignore[arg-type]
        return self.result


def test_what_is_delivered_leaves_the_queue() -> None:
    assert Box().deliver() == ["done"]


@pytest.mark.parametrize(("attempt", "pause"), [(1, 5.0), (2, 10.0), (4, 40.0)])
def test_pauses_double(attempt: int, pause: float) -> None:
    assert Box(attempt).deliver(Undelivered("away")) == [pause]


def test_a_service_may_ask_for_a_longer_pause_and_for_no_shorter_one() -> None:
    assert Box().deliver(Undelivered("busy", 90.0)) == [90.0]
    assert Box().deliver(Undelivered("busy", 1.0)) == [5.0]


def test_the_last_attempt_ends_among_the_dead() -> None:
    assert Box(5).deliver(Undelivered("away")) == ["away"]


def test_what_is_refused_is_not_tried_again() -> None:
    assert Box(1).deliver(Refused("no such number")) == ["no such number"]


def test_a_channel_that_is_not_set_any_more() -> None:
    assert Box(1, "sms").deliver() == ["nothing delivers letters like this"]


@pytest.mark.parametrize(("status", "error"), [(400, Refused), (301, Refused), (408, Undelivered), (503, Undelivered)])
def test_answers(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"it answers {status}: because"):
        accepted(Reply(status, {}, b"because"), "it")
    accepted(Reply(202, {}, b""), "it")


def test_how_long_a_service_wants_us_to_wait() -> None:
    now = time.time()
    for headers, wait in [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": formatdate(now + 100, usegmt=True)}, 100.0),
        ({"x-ratelimit-reset": str(int(now + 50))}, 50.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({}, 0.0),
    ]:
        with pytest.raises(Undelivered) as caught:
            accepted(Reply(429, headers, b""), "it")
        assert caught.value.retry_s == pytest.approx(wait, abs=2.0), headers


def test_a_signature_is_hmac_of_timestamp_and_body() -> None:
    """As docs/notifications.md tells a receiver to reckon it."""
    body, secret = b'{"id":"n"}', "a secret of some length"
    expected = hmac.new(secret.encode(), b"1795564800." + body, hashlib.sha256).hexdigest()
    assert sign(secret, "1795564800", body) == f"v1={expected}"


@pytest.mark.parametrize(
    ("timestamp", "body", "now_s", "good"),
    [
        ("1000", b"x", 1000, True),
        ("1000", b"x", 1300, True),
        ("1000", b"x", 1301, False),
        ("1000", b"y", 1000, False),
        ("1001", b"x", 1000, False),
        ("-1", b"x", 0, False),
    ],
)
def test_verification(timestamp: str, body: bytes, now_s: float, good: bool) -> None:
    signature = sign("a secret of some length", "1000", b"x")
    assert verify("a secret of some length", timestamp, body, signature, now_s) is good


def test_channels_are_those_that_are_set() -> None:
    assert build_channels(Settings()) == (Recipients(), {})
    settings = Settings(
        notify_webhook_url="https://hooks.example/x",
        notify_webhook_secret=Secret("0123456789abcdef"),
        notify_sms_to="+491, +492",
        notify_sms_from="+493",
        twilio_account_sid=Secret("AC1"),
        twilio_auth_token=Secret("t"),
    )
    recipients, channels = build_channels(settings)
    assert recipients == Recipients(True, "", ("+491", "+492"))
    assert set(channels) == {"webhook", "sms"}


def test_every_setting_that_will_not_do_is_named_at_once() -> None:
    settings = Settings(
        notify_webhook_url="https://hooks.example/x", notify_email_to="x@example.com", notify_sms_to="+491"
    )
    with pytest.raises(ConfigError) as caught:
        build_channels(settings)
    text = str(caught.value)
    assert all(name in text for name in ("notify_webhook_secret", "sendgrid_api_key", "twilio_account_sid"))


@pytest.mark.parametrize("url", ["ftp://x", "hooks.example", "https://", "http://x:port/"])
def test_urls_are_checked(url: str) -> None:
    with pytest.raises(ConfigError, match="some_url"):
        checked_url("some_url", url)


def test_secrets_are_found_under_the_names_of_their_services() -> None:
    environ = {"SENDGRID_API_KEY": "SG.1", "TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "usual"}
    settings = load({}, {**environ, "CAMPAIGN_EXPRESS_TWILIO_AUTH_TOKEN": "ours"})
    assert (settings.sendgrid_api_key, settings.twilio_account_sid, settings.twilio_auth_token) == (
        "SG.1",
        "AC1",
        "ours",
    )
    assert "SG.1" not in repr(settings)


def test_a_webhook_needs_a_secret_worth_the_name() -> None:
    with pytest.raises(ConfigError, match="notify_webhook_secret"):
        Webhook("https://hooks.example/x", Secret("short"))
