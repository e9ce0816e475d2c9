"""The catalogue in a real Redis (valkey-server): published once, live everywhere, and never worse for an outage."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis, RedisCluster
from valkey_server import ValkeyProcess

from campaign_express.adapters.catalog_store import CATALOG, CatalogStore
from campaign_express.adapters.documents import POLL_S
from campaign_express.adapters.redis import connect, redact
from campaign_express.bidding.catalog import encode_catalog, parse_catalog
from campaign_express.bidding.model import Catalog
from campaign_express.errors import CatalogError, ConfigError, Unavailable

Eventually = Callable[[Callable[[], bool]], None]


def catalog(name: str = "first") -> Catalog:
    return parse_catalog(
        {
            "advertisers": [{"id": "acme", "name": "Acme", "domain": "acme.example"}],
            "campaigns": [
                {
                    "id": name,
                    "advertiser": "acme",
                    "flight": {"start": "2026-01-01"},
                    "goal": {"type": "cpm", "bid": 2},
                    "max_bid": 4,
                    "creatives": [
                        {
                            "id": f"{name}-1",
                            "media": "banner",
                            "w": 300,
                            "h": 250,
                            "image": "https://cdn.acme.example/1.png",
                            "landing": "https://acme.example/",
                        }
                    ],
                }
            ],
        }
    )


class Watcher:
    """What an agent would see."""

    def __init__(self, store: CatalogStore, known: int = 0) -> None:
        self.seen: list[tuple[int, str]] = []
        self.stop = threading.Event()
        self.refuse: set[str] = set()
        self.thread = store.watch(self._take, self.stop, known)

    def _take(self, published: Catalog) -> None:
        name = published.campaigns[0].id
        self.seen.append((published.version, name))
        if name in self.refuse:
            raise RuntimeError("cannot be compiled")

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def store(valkey: str) -> Iterator[CatalogStore]:
    made = CatalogStore(valkey)
    yield made
    made.close()


@pytest.fixture
def watcher(store: CatalogStore) -> Iterator[Watcher]:
    made = Watcher(store)
    yield made
    made.end()


def test_empty_redis_has_no_catalogue(store: CatalogStore) -> None:
    assert store.latest() is None
    assert store.version() == 0


def test_what_is_published_is_read_back_with_its_version(store: CatalogStore) -> None:
    assert store.publish(catalog("first")) == 1
    assert store.publish(catalog("second")) == 2
    latest = store.latest()
    assert latest is not None
    assert (latest.version, latest.campaigns, store.version()) == (2, catalog("second").campaigns, 2)


def test_publishers_at_once_each_get_a_version(valkey: str) -> None:
    stores = [CatalogStore(valkey) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda pair: pair[1].publish(catalog(f"c{pair[0]}")), enumerate(stores * 4)))
    assert sorted(versions) == list(range(1, 33))
    latest = stores[0].latest()
    assert latest is not None
    assert versions[int(latest.campaigns[0].id[1:])] == latest.version == 32
    for made in stores:
        made.close()


def test_a_change_based_on_an_older_version_is_not_published(store: CatalogStore) -> None:
    store.publish(catalog("first"))
    assert store.publish(catalog("second"), base=1) == 2
    with pytest.raises(CatalogError, match="based on 1, and 2 is published"):
        store.publish(catalog("third"), base=1)
    latest = store.latest()
    assert latest is not None
    assert latest.campaigns[0].id == "second"


def test_a_published_change_is_live_within_two_seconds(
    store: CatalogStore, watcher: Watcher, eventually: Eventually
) -> None:
    assert POLL_S <= 0.5  # what makes it two seconds where nobody is held up; the test waits longer, for a busy machine
    for version in range(1, 6):
        store.publish(catalog(f"c{version}"))
        eventually(lambda: watcher.seen[-1:] == [(version, f"c{version}")])  # noqa: B023 (called at once)


def test_a_lost_announcement_is_made_up_for_by_the_poll(
    store: CatalogStore, valkey: str, watcher: Watcher, eventually: Eventually
) -> None:
    store.publish(catalog("first"))
    eventually(lambda: watcher.seen == [(1, "first")])
    with Redis.from_url(valkey) as client:
        assert client.pubsub_numsub(CATALOG.channel) == [
            (CATALOG.channel.encode(), 1)
        ]  # the announcement is heard, otherwise
    other = CatalogStore(valkey)
    blob = encode_catalog(parse_renamed("second", 2))
    with Redis.from_url(valkey) as client:
        client.hset(CATALOG.key, mapping=fields(2, blob))
    eventually(lambda: watcher.seen[-1:] == [(2, "second")])
    other.close()


def parse_renamed(name: str, version: int) -> Catalog:
    made = catalog(name)
    return Catalog(version=version, advertisers=made.advertisers, campaigns=made.campaigns)


def fields(version: int, blob: bytes) -> dict[str, bytes | str]:
    import hashlib

    return {"version": str(version), "digest": hashlib.sha256(blob).hexdigest(), "blob": blob}


def test_the_version_that_the_agent_has_is_not_told_again(store: CatalogStore, eventually: Eventually) -> None:
    store.publish(catalog("first"))
    watcher = Watcher(store, known=1)
    store.publish(catalog("second"))
    eventually(lambda: watcher.seen == [(2, "second")])
    watcher.end()


@pytest.mark.parametrize("blob", [b"", b"rubbish", encode_catalog(catalog())[:-5], encode_catalog(catalog())])
def test_a_blob_that_is_no_catalogue_is_refused_once_and_the_last_good_stays(
    store: CatalogStore,
    valkey: str,
    watcher: Watcher,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
    blob: bytes,
) -> None:
    """The last of these decodes and says another version than its key."""
    store.publish(catalog("good"))
    eventually(lambda: watcher.seen == [(1, "good")])
    with Redis.from_url(valkey) as client:
        client.hset(CATALOG.key, mapping=fields(2, blob))
    eventually(lambda: "is refused" in caplog.text)
    with pytest.raises(CatalogError):
        store.latest()
    time.sleep(1.2)  # two more polls
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert watcher.seen == [(1, "good")]
    assert store.publish(catalog("better")) == 3
    eventually(lambda: watcher.seen == [(1, "good"), (3, "better")])


def test_a_blob_that_was_changed_is_refused(store: CatalogStore, valkey: str) -> None:
    store.publish(catalog("good"))
    with Redis.from_url(valkey) as client:
        client.hset(CATALOG.key, "blob", encode_catalog(parse_renamed("other", 1)))
    with pytest.raises(CatalogError, match="SHA-256"):
        store.latest()


def test_a_catalogue_that_the_agent_refuses_does_not_end_the_watch(
    store: CatalogStore, watcher: Watcher, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    watcher.refuse.add("bad")
    store.publish(catalog("bad"))
    eventually(lambda: watcher.seen == [(1, "bad")])
    time.sleep(0.7)
    assert watcher.seen == [(1, "bad")]
    assert "version 1 could not be put to use" in caplog.text
    store.publish(catalog("good"))
    eventually(lambda: watcher.seen[-1:] == [(2, "good")])


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_redis_may_go_and_come_back(
    valkey_process: ValkeyProcess, eventually: Eventually, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    caplog.set_level(logging.INFO)
    store = CatalogStore(valkey_process.url)
    store.publish(catalog("before"))
    watcher = Watcher(store)
    eventually(lambda: watcher.seen == [(1, "before")])
    getattr(valkey_process, end)()
    eventually(lambda: "does not answer" in caplog.text)
    with pytest.raises(Unavailable, match=str(valkey_process.port)):
        store.latest()
    time.sleep(1.5)  # several attempts, and still one line
    assert len([r for r in caplog.records if "does not answer" in r.message]) == 1
    assert watcher.thread.is_alive()
    valkey_process.start()
    assert store.publish(catalog("after")) == 2  # its data is still there
    eventually(lambda: watcher.seen == [(1, "before"), (2, "after")])
    eventually(lambda: "answers again" in caplog.text)
    watcher.end()
    store.close()


def test_the_watch_starts_while_redis_is_away(valkey_process: ValkeyProcess, eventually: Eventually) -> None:
    valkey_process.stop()
    store = CatalogStore(valkey_process.url)
    watcher = Watcher(store)
    time.sleep(0.3)
    valkey_process.start()
    store.publish(catalog("first"))
    eventually(lambda: watcher.seen == [(1, "first")])
    watcher.end()
    store.close()


def test_an_older_copy_of_redis_is_a_change_too(store: CatalogStore, valkey: str, eventually: Eventually) -> None:
    for name in ("first", "second"):
        store.publish(catalog(name))
    watcher = Watcher(store)
    eventually(lambda: watcher.seen == [(2, "second")])
    with Redis.from_url(valkey) as client:
        client.delete(CATALOG.key)
    store.publish(catalog("again"))
    eventually(lambda: watcher.seen[-1:] == [(1, "again")])
    watcher.end()


def test_passwords_are_not_shown(
    valkey_process: ValkeyProcess, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    with Redis.from_url(valkey_process.url) as client:
        client.config_set("requirepass", "correct-horse")
    good = f"redis://:correct-horse@127.0.0.1:{valkey_process.port}/0"
    store = CatalogStore(good)
    assert store.publish(catalog()) == 1
    bad = CatalogStore(good.replace("correct-horse", "secret-guess"))
    with pytest.raises(Unavailable) as caught:
        bad.latest()
    watcher = Watcher(bad)
    eventually(lambda: "does not answer" in caplog.text)
    watcher.end()
    for text in (caplog.text, str(caught.value), repr(store.where), repr(vars(bad)["where"])):
        assert "secret-guess" not in text
        assert "correct-horse" not in text
    store.close()
    bad.close()


def test_urls() -> None:
    assert (
        redact("rediss://user:pw@a.example:1/0?ssl_ca_certs=x,redis://:pw@b:2") == "rediss://a.example:1/0,redis://b:2"
    )
    for url in ("redis://:p/w@h:1", "redis://u:p#w@h:1", "redis://[::1", "redis://h:1/0?password=p@w"):
        assert "w" not in CatalogStore(url).where.replace("(unreadable url)", "")
    for url in ("http://pw@x", "", "redis://h:port", "redis://h?socket_timeout=soon"):
        with pytest.raises(ConfigError, match="redis_url") as caught:
            connect(url)
        assert "pw" not in str(caught.value)


@pytest.fixture
def cluster(tmp_path: Path, eventually: Eventually) -> Iterator[list[ValkeyProcess]]:
    """Three masters, all slots served."""
    servers = []
    for number in range(3):
        directory = tmp_path / str(number)
        directory.mkdir()
        servers.append(ValkeyProcess(directory, cluster=True))
    try:
        for server in servers:
            server.start()
        share = 16384 // 3 + 1
        for number, server in enumerate(servers):
            with Redis(port=server.port) as client:
                last = min((number + 1) * share, 16384) - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
                if number:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", servers[0].port, servers[0].bus_port)
        for server in servers:
            with Redis(port=server.port, decode_responses=True) as client:
                eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield servers
    finally:
        for server in servers:
            server.kill()


def test_a_redis_cluster_serves_as_one_node_does(
    cluster: list[ValkeyProcess], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    store = CatalogStore(",".join(server.url for server in cluster))
    assert isinstance(store.documents.client(), RedisCluster)
    watcher = Watcher(store)
    assert store.latest() is None
    assert store.publish(catalog("first")) == 1
    eventually(lambda: watcher.seen == [(1, "first")])
    for server in cluster:
        server.stop()
    eventually(lambda: "does not answer" in caplog.text)
    for server in cluster:
        server.start()
    single = CatalogStore(cluster[1].url.replace("redis://", "redis+cluster://"))

    def published() -> bool:
        try:
            return single.publish(catalog("second")) >= 2
        except Unavailable:
            return False

    eventually(published)
    eventually(lambda: watcher.seen[-1:] == [(single.version(), "second")])
    watcher.end()
    store.close()
    single.close()
