"""deploy/nats: its nats.conf as three real servers, with the product's own parts as clients; its manifests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from deployed_nats import APP, NODES, OPERATOR, SERVER, SYSTEM, DeployedNats, DeployedNode, until
from nats.aio.client import Client
from test_nats_cluster import Publishing, exactly_once, through

from campaign_express.adapters.dead_letters import DeadLetters
from campaign_express.adapters.event_log import EventLog
from campaign_express.adapters.event_queue import EventQueue
from campaign_express.adapters.nats import StreamTerms, close, connect, ensure_stream
from campaign_express.adapters.notify_queue import NotifyQueue
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.config import Settings
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, SUBJECTS, encode_event, subject
from campaign_express.notifications import Letter, Notification
from campaign_express.streams import SUBJECTS_OF, stream_terms
from tests.support.authority import Authority
from tests.support.manifests import DEPLOY
from tests.support.stored import money

FOLDER = DEPLOY / "nats"
TERMS = stream_terms(Settings(stream_replicas=NODES))


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedNats]:
    made = DeployedNats(tmp_path_factory.mktemp("nats"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture
def cluster(shared_cluster: DeployedNats) -> DeployedNats:
    """Whole, and without the streams of the test before."""
    asyncio.run(_emptied(shared_cluster))
    return shared_cluster


async def _emptied(cluster: DeployedNats) -> None:
    async with asyncio.timeout(30):
        await until(lambda: all(node.healthy() for node in cluster.nodes), 30)
        while True:
            with contextlib.suppress(Unavailable, nats.errors.Error, nats.js.errors.Error, TimeoutError):
                client = await connect(cluster.url_of(*OPERATOR), "test")
                context = client.jetstream()
                for info in await context.streams_info():
                    await context.delete_stream(str(info.config.name))
                await close(client)
                return
            await asyncio.sleep(0.1)


async def _published(client: Client, number: int) -> None:
    event = money(number)
    await client.jetstream(timeout=2).publish(subject(event), encode_event(event), headers={"Nats-Msg-Id": event.id})


# Who may come in, and what the product may do


def test_everything_that_the_product_does_is_allowed(cluster: DeployedNats) -> None:
    async def work() -> None:
        client = await connect(cluster.url, "test")
        for name, terms in TERMS.items():
            await ensure_stream(client, terms, name, SUBJECTS_OF[name])
            await ensure_stream(client, terms, name, SUBJECTS_OF[name])  # another cell finds it there
        for number in range(6):
            await _published(client, number)
        queue = EventQueue(cluster.url, TERMS[STREAM], name="treasury")
        taken = await queue.fetch(10, 2.0)
        while len(taken) < 6:
            taken += await queue.fetch(10, 2.0)
        await queue.put_back(taken[:1])
        await queue.bury(taken[1])
        await queue.confirm(taken[2:])
        assert (await queue.progress()).waiting >= 0
        await queue.close()
        partition = Partition("money", STREAM, (SUBJECTS,))
        reader = RangeReader(
            cluster.url, partition, TERMS[STREAM], SUBJECTS, owner="one", most=500, most_bytes=1 << 20, linger_s=0.1
        )
        found = await reader.take(2.0)
        assert found is not None
        assert len(found.messages) == 6
        await reader.done(found)
        await reader.close()
        notify = NotifyQueue(cluster.url, TERMS[STREAM], name="notifier")
        told = Notification(id="n", condition="budget-80", subject="campaign:c", title="t", text="t", at_ms=1)
        await notify.put(Letter(notification=told, channel="webhook"))
        [letter] = await notify.take(1, 2.0)
        await notify.bury(letter, "nobody listens")
        await notify.close()
        await client.jetstream().delete_msg(STREAM, 1)  # as an erasure does
        await close(client)

    asyncio.run(work())
    assert len(list(EventLog(cluster.url).read())) == 5
    assert {letter.stream for letter in DeadLetters(cluster.url).read()} == {"money", "notify"}


def test_the_product_cannot_throw_the_log_away_or_listen_beside_it(cluster: DeployedNats) -> None:
    async def work() -> None:
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error))

        trusted = ssl.create_default_context(cafile=cluster.ca_file)
        client = Client()
        server = f"tls://{':'.join(APP)}@127.0.0.1:{cluster.nodes[0].port}"
        await client.connect([server], tls=trusted, error_cb=note)
        await ensure_stream(client, TERMS[STREAM])
        await _published(client, 1)
        context = client.jetstream(timeout=0.3)
        for forbidden in (context.delete_stream(STREAM), context.purge_stream(STREAM)):
            with pytest.raises((nats.errors.Error, TimeoutError)):
                await forbidden
        await client.subscribe("money.>")
        await client.publish("$SYS.REQ.SERVER.PING", b"")
        await client.publish("anything", b"")
        await client.flush()
        await until(lambda: len(refused) == 5, 5)
        told = "\n".join(refused).lower()
        for what in ("stream.delete.money", "stream.purge.money", 'subscription to "money.>"', "$sys.", "anything"):
            assert what in told, (what, told)
        assert (await client.jetstream().stream_info(STREAM)).state.messages == 1
        await close(client)
        operator = await connect(cluster.url_of(*OPERATOR), "operator")
        await operator.jetstream().purge_stream(STREAM)
        await close(operator)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("user", "password"),
    [("campaign-express", "wrong"), ("nobody", "a1b2c3d4"), ("operator", APP[1])],
    ids=["a wrong password", "an unknown user", "somebody else's password"],
)
def test_wrong_credentials_are_refused(cluster: DeployedNats, user: str, password: str) -> None:
    with pytest.raises(Unavailable, match=r"(?i)authorization") as raised:
        asyncio.run(connect(cluster.url_of(user, password), "test"))
    assert password not in str(raised.value)


def test_nobody_comes_in_without_credentials_or_without_trusting_the_authority(
    cluster: DeployedNats, tmp_path: Path
) -> None:
    port = cluster.nodes[0].port
    with pytest.raises(Unavailable, match=r"(?i)authorization"):
        asyncio.run(connect(f"tls://127.0.0.1:{port}?ca_file={cluster.ca_file}", "test"))
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        asyncio.run(connect(f"tls://{':'.join(APP)}@127.0.0.1:{port}", "test"))  # the system's authorities
    Authority("another").write(tmp_path)
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        asyncio.run(connect(f"tls://{':'.join(APP)}@127.0.0.1:{port}?ca_file={tmp_path / 'ca.crt'}", "test"))
    with pytest.raises(Unavailable, match=r"no-such\.crt"):
        asyncio.run(connect(f"tls://127.0.0.1:{port}?ca_file=/no-such.crt", "test"))


def test_the_system_account_is_another_world(cluster: DeployedNats) -> None:
    async def work() -> None:
        client = await connect(cluster.url_of(*SYSTEM), "test")
        with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
            await client.jetstream(timeout=0.5).account_info()
        answers = []

        async def heard(message: object) -> None:
            answers.append(message)

        await client.subscribe("replies", cb=heard)
        await client.publish("$SYS.REQ.SERVER.PING", b"", reply="replies")
        await until(lambda: len(answers) == NODES, 5)
        await close(client)

    asyncio.run(work())


def test_a_server_with_a_certificate_of_another_authority_is_no_node(cluster: DeployedNats, tmp_path: Path) -> None:
    stranger = DeployedNode(tmp_path / "stranger", "nats-9", Authority("another"))
    (stranger.tls / "ca.crt").write_bytes(cluster.ca_file.read_bytes())  # which is no secret
    stranger.configure([node.cluster_port for node in cluster.nodes])
    stranger.start()
    try:
        deadline = time.monotonic() + 5
        log = cluster.nodes[0].directory / "server.log"
        while "TLS route handshake error" not in log.read_text():
            assert stranger.routes() == set()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stranger.kill()
    assert cluster.nodes[0].routes() == {"nats-1", "nats-2"}


# Nodes that go and come


def test_two_of_three_nodes_go_on_and_one_alone_refuses(cluster: DeployedNats) -> None:
    async def publish(number: int, node: int) -> None:
        user = ":".join(APP)
        client = await connect(f"tls://{user}@127.0.0.1:{cluster.nodes[node].port}?ca_file={cluster.ca_file}", "test")
        try:
            await ensure_stream(client, TERMS[STREAM])
            await _published(client, number)
        finally:
            await close(client)

    async def sooner_or_later(number: int, node: int) -> None:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, Unavailable):
                    await publish(number, node)
                    return
                await asyncio.sleep(0.1)

    async def work() -> None:
        await publish(1, 0)
        await asyncio.to_thread(cluster.nodes[2].kill)
        await sooner_or_later(2, 0)
        await asyncio.to_thread(cluster.nodes[1].kill)
        await asyncio.sleep(1)
        with pytest.raises((nats.errors.Error, nats.js.errors.Error, TimeoutError)):
            await publish(3, 0)
        assert cluster.nodes[0].healthy("?js-enabled-only=true")  # the liveness probe: restarting it would not help
        for number in (1, 2):
            await asyncio.to_thread(cluster.nodes[number].start)
        await sooner_or_later(4, 2)

    asyncio.run(work())
    numbers = {event.auction for event in EventLog(cluster.url).read()}
    assert {"a1", "a2", "a4"} <= numbers


def test_a_rolling_restart_loses_and_doubles_nothing(cluster: DeployedNats, tmp_path: Path) -> None:
    """One node after the other, each until its startup probe answers, as the StatefulSet does it."""

    async def first() -> None:
        client = await connect(cluster.url, "test")
        await ensure_stream(client, StreamTerms(replicas=NODES, duplicate_window_s=120))
        await close(client)

    async def disturb() -> None:
        for node in reversed(cluster.nodes):
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await until(node.healthy, 30)

    asyncio.run(first())
    publishing, _ = asyncio.run(through(cluster, tmp_path, disturb))  # type: ignore[arg-type]
    assert isinstance(publishing, Publishing)
    exactly_once(cluster, publishing)  # type: ignore[arg-type]


def test_a_renewed_certificate_is_shown_without_a_restart(cluster: DeployedNats) -> None:
    """By the script beside the server. An authority is replaced together with what it signed."""
    node = cluster.nodes[0]
    environment = {"PATH": f"{Path(SERVER).parent}:/usr/bin:/bin", "PID_FILE": str(node.pid_file), "PERIOD": "0.1"}
    script = subprocess.Popen(["sh", str(FOLDER / "reload.sh")], env={**environment, "TLS_DIR": str(node.tls)})
    try:
        time.sleep(0.5)
        Authority("renewed").write(node.tls)
        url = f"tls://{':'.join(APP)}@127.0.0.1:{node.port}?ca_file={node.tls / 'ca.crt'}"
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(Unavailable):
                asyncio.run(_greeted(url))
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        script.terminate()
        script.wait(5)
        cluster.authority.write(node.tls)
        node.signal("reload")


async def _greeted(url: str) -> None:
    await close(await connect(url, "test"))
