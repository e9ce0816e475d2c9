"""Keys of pseudonyms in a real Redis: all processes agree on them, and one that is destroyed is gone for all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from redis import Redis
from valkey_server import ValkeyCluster, ValkeyProcess

from campaign_express.adapters.pseudonym_keys import CHANGED_KEY, PseudonymKeeper, PseudonymKeys
from campaign_express.adapters.pseudonyms import BUCKETS, DAY_MS, KEY, period_of
from campaign_express.adapters.users_keys import token_of
from campaign_express.clock import Clock

DAYS, KEEP = 30, 400
TOKEN, OTHER = token_of("ifa:somebody"), token_of("ifa:other")


def store(url: str) -> PseudonymKeys:
    return PseudonymKeys(url, days=DAYS, keep_days=KEEP)


def keeper(url: str, ahead_days: int = 0, history: bool = False) -> PseudonymKeeper:
    clock = Clock(0, ahead_days * DAY_MS, 1.0) if ahead_days else Clock()
    made = PseudonymKeeper(store(url), clock, DAYS, history=history)
    made.refresh()
    return made


def test_many_who_make_the_keys_at_once_find_the_same(valkey: str) -> None:
    wall_ms = Clock().now_ms()
    with ThreadPoolExecutor(12) as threads:
        made = list(threads.map(lambda _: keeper(valkey).pseudonyms.of(TOKEN, wall_ms), range(12)))
    assert len(set(made)) == 1
    assert made[0]
    period = period_of(wall_ms, DAYS)
    keys = store(valkey).read(period)
    assert (len(keys), {len(key) for key in keys.values()}, len(set(keys.values()))) == (BUCKETS, {KEY}, BUCKETS)
    assert sorted(store(valkey).changed()) == [period, period + DAYS]
    with Redis.from_url(valkey) as client:
        life = client.pttl(f"{{pseudonyms}}:{period}")
        assert (KEEP + DAYS) * DAY_MS < life <= (KEEP + 2 * DAYS) * DAY_MS
        assert client.ttl(CHANGED_KEY) == -1


def check_destruction(url: str) -> None:
    then, now = keeper(url), keeper(url, 2 * DAYS)
    wall_ms, later_ms = Clock().now_ms(), Clock().now_ms() + 2 * DAYS * DAY_MS
    past = [then.pseudonyms.of(token, wall_ms) for token in (TOKEN, OTHER)]
    present = [now.pseudonyms.of(token, later_ms) for token in (TOKEN, OTHER)]
    keys = store(url)
    assert {past[0], present[0]} <= set(keys.all_of(TOKEN))
    for _ in range(2):  # it may be repeated
        keys.destroy(TOKEN, later_ms)
    sizes = [len(keys.read(period)) for period in sorted(keys.changed())]
    assert sizes == [BUCKETS - 1, BUCKETS - 1, BUCKETS, BUCKETS]  # two that are past, this one and the next
    left = keys.all_of(TOKEN)
    assert not {past[0], present[0]} & set(left)
    assert left  # what is told of the person from now on has a key
    for one in (then, now):
        one.refresh()
    fresh = now.pseudonyms.of(TOKEN, later_ms)
    assert fresh not in (present[0], "")
    assert fresh in left
    treasury = keeper(url, 2 * DAYS, history=True)
    assert [treasury.person(one) for one in (past[0], present[0], fresh)] == ["", "", TOKEN]
    assert [treasury.person(one) for one in (past[1], present[1])] == [OTHER, OTHER]  # other buckets are as they were
    # One whose clock is behind may have made the key of that period anew: it is another key.
    assert then.pseudonyms.of(TOKEN, wall_ms) not in past
    keys.close()


def test_a_destroyed_key_takes_every_pseudonym_of_the_person_with_it(valkey: str) -> None:
    assert TOKEN[:2] != OTHER[:2]
    check_destruction(valkey)


def test_so_it_does_in_a_cluster(valkey_cluster: ValkeyCluster) -> None:
    check_destruction(valkey_cluster.url)


def test_keys_outlive_a_restart_and_a_redis_that_comes_back_is_followed(valkey_process: ValkeyProcess) -> None:
    wall_ms = Clock().now_ms()
    one = keeper(valkey_process.url)
    made = one.pseudonyms.of(TOKEN, wall_ms)
    valkey_process.kill()
    one._try()
    assert one.pseudonyms.of(TOKEN, wall_ms) == made
    valkey_process.start()
    assert keeper(valkey_process.url).pseudonyms.of(TOKEN, wall_ms) == made
    one.refresh()
    assert one.pseudonyms.of(TOKEN, wall_ms) == made
