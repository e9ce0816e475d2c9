"""The user store against real servers: what is remembered, linked, lost; and a Redis that is slow or away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from valkey_server import ValkeyCluster, ValkeyProcess

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import counts_key, profile_key, token_of, tokens_of
from campaign_express.adapters.users_profiles import Row, UserProfiles
from campaign_express.bidding.frequency import Counted
from campaign_express.events import MoneyEvent, event_id
from campaign_express.ports import Hold, UserState, UserWant

Eventually = Callable[[Callable[[], bool], float], None]
NOW = 1_783_000_000_000
EXP, LATENESS = 3_600_000, 600_000
ENDS = NOW + EXP + LATENESS
ANN = UserWant(("ifa:ann",), 1)
COUNTED = Counted((("c:1", 3), ("k:2", 2)), False)
OPTIONS: dict[str, Any] = {"hold_ms": EXP + LATENESS, "lateness_ms": LATENESS}


@pytest.fixture
def agent(valkey: str) -> Iterator[RedisUsers]:
    made = RedisUsers(valkey, wait_s=5.0, **OPTIONS)
    yield made
    made.close()


@pytest.fixture
def other_agent(valkey: str) -> Iterator[RedisUsers]:
    made = RedisUsers(valkey, wait_s=5.0, **OPTIONS)
    yield made
    made.close()


@pytest.fixture
def counts(valkey: str) -> Iterator[UserCounts]:
    made = UserCounts(valkey, lambda campaign, creative: COUNTED, **OPTIONS)
    yield made
    made.close()


@pytest.fixture
def profiles(valkey: str) -> Iterator[UserProfiles]:
    made = UserProfiles(valkey, 86_400)
    yield made
    made.close()


@pytest.fixture
def client(valkey: str) -> Iterator[Redis]:
    with Redis.from_url(valkey) as made:
        yield made


def look(users: RedisUsers, want: UserWant = ANN, now: int = NOW) -> UserState:
    """The state, without leaving a weight."""
    [state] = users.fetch([want], now, 5.0)
    assert state is not None
    users.settle(state, ())
    users.flush()
    return state


def event(kind: str, bid: str, received: int = NOW + 1000, **fields: Any) -> MoneyEvent:
    defaults: dict[str, Any] = {"campaign": "1", "user": token_of("ifa:ann"), "test": False}
    return MoneyEvent(
        id=event_id(kind, bid),
        bid_key=bid,
        kind=kind,
        exchange="x",
        auction="a",
        imp="1",
        bid="1",
        advertiser="a",
        creative="2",
        authorised_micros=1,
        bid_ms=NOW,
        received_ms=received,
        **{**defaults, **fields},
    )


def bid(users: RedisUsers, key: str, want: UserWant = ANN, now: int = NOW) -> None:
    [state] = users.fetch([want], now, 5.0)
    assert state is not None
    users.settle(state, [Hold(key, ("c:1", "k:2"), now + EXP + LATENESS)])
    users.flush()


# What counts.


def test_a_request_being_decided_weighs_for_others_and_not_for_itself(
    agent: RedisUsers, other_agent: RedisUsers
) -> None:
    [mine] = agent.fetch([UserWant(ANN.ids, 2)], NOW, 5.0)
    assert mine is not None
    assert mine.pending == 0
    first, second = other_agent.fetch([ANN, ANN], NOW, 5.0)
    assert first is not None
    assert second is not None
    assert (first.pending, second.pending) == (2, 3)
    agent.settle(mine, ())
    other_agent.settle(first, ())
    other_agent.settle(second, ())
    agent.flush()
    other_agent.flush()
    assert look(agent).pending == 0


def test_a_weight_that_is_never_settled_ends(agent: RedisUsers, other_agent: RedisUsers, client: Redis) -> None:
    agent.fetch([ANN], NOW, 5.0)
    assert look(other_agent, now=ENDS - 1).pending == 1
    assert look(other_agent, now=ENDS).pending == 0
    other_agent.flush()
    assert not client.exists(counts_key(token_of("ifa:ann")))  # and is tidied up


def test_settlements_travel_with_the_next_fetch(agent: RedisUsers) -> None:
    [state] = agent.fetch([ANN], NOW, 5.0)
    assert state is not None
    agent.settle(state, [Hold("bid1", ("c:1",), ENDS)])
    trips = agent.round_trips
    [state] = agent.fetch([ANN], NOW, 5.0)
    assert state is not None
    assert agent.round_trips == trips + 1
    assert (state.held, state.pending) == ({"c:1": 1}, 0)


def test_a_hold_becomes_an_impression_once(agent: RedisUsers, counts: UserCounts) -> None:
    bid(agent, "bid1")
    assert look(agent).held == {"c:1": 1, "k:2": 1}
    assert counts.apply([event("win", "bid1"), event("impression", "bid1", NOW + 2000)]) == []
    counts.apply([event("billing", "bid1", NOW + 9000), event("impression", "bid1", NOW + 9000)])
    counts.apply([event("win", "bid1", NOW + 9000)])
    state = look(agent)
    assert state.held == {}
    assert state.shown == {"c:1": (NOW + 2000,), "k:2": (NOW + 2000,)}


def test_a_loss_frees_a_hold_unless_it_was_won(agent: RedisUsers, counts: UserCounts) -> None:
    bid(agent, "lost")
    bid(agent, "won")
    counts.apply([event("win", "won"), event("loss", "won"), event("loss", "lost")])
    assert look(agent).held == {"c:1": 1, "k:2": 1}


def test_holds_end_as_what_they_are_known_for(agent: RedisUsers, counts: UserCounts, client: Redis) -> None:
    bid(agent, "unheard")
    bid(agent, "won")
    counts.apply([event("win", "won")])
    for _ in range(2):  # at first as it is read, then as it was written
        state = look(agent, now=ENDS)
        agent.flush()
        assert state.held == {}
        assert state.shown == {"c:1": (NOW + EXP,), "k:2": (NOW + EXP,)}  # the latest time at which it may be shown
    assert not [f for f in client.hkeys(counts_key(token_of("ifa:ann"))) if f.startswith(b"h")]
    counts.apply([event("impression", "won", ENDS + 5)])  # too late to be another one
    assert look(agent, now=ENDS).shown["c:1"] == (NOW + EXP,)


def test_notices_may_be_faster_than_settlements(agent: RedisUsers, counts: UserCounts) -> None:
    [state] = agent.fetch([ANN], NOW, 5.0)
    assert state is not None
    counts.apply([event("win", "bid1")])
    agent.settle(state, [Hold("bid1", ("c:1", "k:2"), ENDS)])
    agent.flush()
    assert look(agent).held == {"c:1": 1, "k:2": 1}
    assert look(agent, now=ENDS).shown == {"c:1": (NOW + EXP,), "k:2": (NOW + EXP,)}  # it is still marked as won


def test_only_as_many_impressions_stay_as_a_cap_can_ask_for(agent: RedisUsers, counts: UserCounts) -> None:
    order = [5, 1, 4, 2, 3]
    counts.apply([event("impression", f"bid{n}", NOW + n) for n in order])
    assert look(agent).shown == {"c:1": (NOW + 3, NOW + 4, NOW + 5), "k:2": (NOW + 4, NOW + 5)}


def test_a_persons_entities_are_bounded(valkey: str, agent: RedisUsers) -> None:
    counts = UserCounts(valkey, lambda campaign, creative: Counted(((f"c:{campaign}", 2),), False), **OPTIONS)
    counts.apply([event("impression", f"b{n}", NOW + n, campaign=f"{n}") for n in range(130)])
    counts.close()
    shown = look(agent).shown
    assert len(shown) == 128
    assert set(shown) == {f"c:{n}" for n in range(2, 130)}  # those shown longest ago are forgotten


def test_a_win_counts_where_the_campaign_says_so(valkey: str, agent: RedisUsers) -> None:
    counts = UserCounts(valkey, lambda campaign, creative: Counted((("c:1", 3),), True), **OPTIONS)
    counts.apply([event("win", "bid1", NOW + 5), event("impression", "bid1", NOW + 50)])
    counts.close()
    assert look(agent).shown == {"c:1": (NOW + 5,)}


def test_events_of_tests_and_of_nobody_change_nothing(agent: RedisUsers, counts: UserCounts, client: Redis) -> None:
    counts.apply([event("impression", "a", test=True), event("impression", "b", user=""), event("click", "c")])
    assert client.dbsize() == 0


def test_seen_times_and_what_lives_how_long(agent: RedisUsers, counts: UserCounts, client: Redis) -> None:
    key = counts_key(token_of("ifa:ann"))
    [state] = agent.fetch([ANN], NOW, 5.0)
    assert state is not None
    assert 0 < client.pttl(key) <= EXP + LATENESS + 60_000
    agent.settle(state, ())
    agent.flush()
    assert not client.exists(key)  # of whom nothing is known, nothing is kept
    bid(agent, "bid1", now=NOW + 1)
    bid(agent, "bid2", now=NOW + 5)
    state = look(agent)
    assert (state.first_seen_ms, state.last_seen_ms) == (NOW + 1, NOW + 5)
    assert client.pttl(key) <= EXP + LATENESS + 60_000
    counts.apply([event("impression", "bid1")])
    assert client.pttl(key) > 89 * 86_400_000


# Profiles and their cache.


def test_a_profile_is_read_once_and_again_when_it_is_old(valkey: str, profiles: UserProfiles) -> None:
    profiles.write([Row(("ifa:ann",), ("s1", "s2"), (0.5, 0.25))], NOW)
    users = RedisUsers(valkey, cache_ttl_s=0.2, wait_s=5.0, **OPTIONS)
    try:
        assert (look(users).segments, look(users).interests) == (("s1", "s2"), (0.5, 0.25))
        assert (users.l1_hits, users.l1_misses) == (1, 1)
        profiles.write([Row(("ifa:ann",), ("s3",))], NOW)
        assert look(users).segments == ("s1", "s2")
        time.sleep(0.25)
        assert look(users).segments == ("s3",)
        # Nobody is remembered as nobody.
        look(users, UserWant(("ifa:nobody",), 1))
        misses = users.l1_misses
        assert look(users, UserWant(("ifa:nobody",), 1)).segments == ()
        assert users.l1_misses == misses
        # A profile ends, remembered or not.
        assert look(users, now=NOW + 86_400_000).segments == ()
    finally:
        users.close()


def test_the_cache_is_bounded(valkey: str, profiles: UserProfiles) -> None:
    profiles.write([Row((f"ifa:{n}",), ("x" * 100,) * 20) for n in range(300)], NOW)
    users = RedisUsers(valkey, cache_entries=100, cache_bytes=200_000, wait_s=5.0, **OPTIONS)
    try:
        for n in range(300):
            look(users, UserWant((f"ifa:{n}",), 1))
        held = users._known
        assert len(held) <= 100
        assert sum(known.size for part in (held._young, held._old) for known in part.values()) <= 200_000
    finally:
        users.close()


def test_adding_keeps_what_is_there_and_replacing_does_not(agent: RedisUsers, profiles: UserProfiles) -> None:
    profiles.write([Row(("ifa:ann",), ("a", "b"), (1.0,))], NOW)
    profiles.write([Row(("ifa:ann",), ("b", "c"))], NOW + 5, add=True)
    state = look(agent)
    assert (state.segments, state.interests, state.first_seen_ms) == (("a", "b", "c"), (1.0,), NOW)
    profiles.write([Row(("ifa:ann",), ("d",))], NOW + 9)
    found = profiles.read("ifa:ann", NOW)
    assert found is not None
    assert (found[0].segments, found[0].interests, found[0].first_seen_ms) == (("d",), (), NOW)


def test_no_id_stands_in_redis(agent: RedisUsers, profiles: UserProfiles, client: Redis) -> None:
    profiles.write([Row(("ifa:secret-device", "buyeruid@x:secret-cookie"), ("s",))], NOW)
    bid(agent, "bid1", UserWant(("ifa:secret-device", "buyeruid@x:secret-cookie"), 1))
    keys = list(client.scan_iter())
    assert len(keys) == 3  # the person's two, and an alias
    for key in keys:
        assert b"secret" not in key + (client.dump(key) or b"")


# Several ids of one person.

BOTH = UserWant(("ifa:ann", "buyeruid@x:7"), 1)


def canonical_and_other() -> tuple[str, str]:
    by_token = {token_of(name): name for name in BOTH.ids}
    first, second = tokens_of(BOTH.ids)
    return by_token[first], by_token[second]


def test_a_person_counts_as_one_under_all_ids(
    agent: RedisUsers, other_agent: RedisUsers, counts: UserCounts, client: Redis, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    bid(agent, "bid1", BOTH)
    alias = counts_key(token_of(other))
    eventually(lambda: client.hget(alias, "@") == token_of(canonical).encode(), 5.0)
    client.pexpire(alias, 60_000)
    [state] = other_agent.fetch([UserWant((other,), 1)], NOW, 5.0)
    assert state is None  # it led elsewhere: unknown, and looked for there from now on
    assert look(other_agent, UserWant((other,), 1)).held == {"c:1": 1, "k:2": 1}
    assert client.pttl(alias) > 60_000  # an alias that is used does not end
    assert client.hkeys(alias) == [b"@"]
    counts.apply([event("impression", "bid1", user=token_of(other))])  # an event under the alias finds its way
    assert look(agent, BOTH).shown["c:1"] == (NOW + 1000,)


def test_an_id_that_came_to_be_known_before_the_bid_is_put_together_with_the_others(
    agent: RedisUsers, other_agent: RedisUsers, client: Redis, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    state = look(agent, BOTH)  # nothing is known of the other id
    bid(other_agent, "two", UserWant((other,), 1))  # and now something is
    agent.settle(state, [Hold("one", ("c:1",), NOW + EXP)])
    agent.flush()
    alias = counts_key(token_of(other))
    eventually(lambda: client.hgetall(alias) == {b"@": token_of(canonical).encode()}, 5.0)
    assert look(agent, UserWant((canonical,), 1)).held == {"c:1": 2, "k:2": 1}


def test_ids_are_linked_by_a_bid_though_others_were_asked_for_in_between(
    agent: RedisUsers, client: Redis, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    look(agent, BOTH)  # no bid
    look(agent, ANN)
    bid(agent, "one", BOTH)  # their profile is remembered: nobody looks for the other id again
    alias = counts_key(token_of(other))
    eventually(lambda: client.hget(alias, "@") == token_of(canonical).encode(), 5.0)


def test_counts_under_two_ids_are_put_together(
    agent: RedisUsers, profiles: UserProfiles, counts: UserCounts, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    bid(agent, "one", UserWant((canonical,), 1))
    bid(agent, "two", UserWant((other,), 1))
    profiles.write([Row((other,), ("s",))], NOW)
    counts.apply([event("impression", "two", user=token_of(other))])
    [state] = agent.fetch([BOTH], NOW, 5.0)
    assert state is None  # two persons so far
    eventually(lambda: agent.fetch([BOTH], NOW, 5.0) != [None], 5.0)
    state = look(agent, UserWant((other, canonical), 1))
    assert state.key == token_of(canonical)
    assert state.held == {"c:1": 1, "k:2": 1}
    assert state.shown == {"c:1": (NOW + 1000,), "k:2": (NOW + 1000,)}
    found = profiles.read(other, NOW)
    assert found is not None
    assert (found[0].key, found[0].segments) == (token_of(canonical), ("s",))


def test_an_import_links_ids(agent: RedisUsers, profiles: UserProfiles) -> None:
    canonical, other = canonical_and_other()
    bid(agent, "one", UserWant((other,), 1))
    profiles.write([Row(BOTH.ids, ("s",)), Row(("ifa:z1", "ifa:z2"), ("t",))], NOW)
    profiles.write([Row(BOTH.ids, ("s",))], NOW)  # again, which changes nothing
    for name in BOTH.ids:
        found = profiles.read(name, NOW)
        assert found is not None
        assert (found[0].key, found[0].segments) == (token_of(canonical), ("s",))
        assert found[0].held == {"c:1": 1, "k:2": 1}


# Redis slow or away.


def test_a_slow_redis_costs_no_more_than_the_timeout_and_leaves_no_weight(
    valkey_process: ValkeyProcess, eventually: Eventually
) -> None:
    users = RedisUsers(valkey_process.url, wait_s=5.0, **OPTIONS)
    try:
        look(users)
        valkey_process.freeze()
        spent = []
        for _ in range(100):
            started = time.monotonic()
            assert users.fetch([ANN], NOW, 0.02) == [None]
            spent.append(time.monotonic() - started)
        assert sorted(spent)[50] < 0.005  # after the first ones nobody waits
        assert users.unknown == 100
        assert users.timeouts >= 1
        valkey_process.thaw()
        # The fetches that were given up have been carried out meanwhile, or will be: their weights go again.
        eventually(lambda: users.fetch([None], NOW, 1.0) == [None] and users.breaker_state == 0, 5.0)

        def without_weight() -> bool:
            [state] = users.fetch([ANN], NOW, 1.0)
            if state is not None:
                users.settle(state, ())
            users.flush()
            return state is not None and state.pending == 0

        eventually(without_weight, 5.0)
    finally:
        users.close()


def test_a_redis_without_room_for_a_hold_keeps_the_weight(valkey_process: ValkeyProcess) -> None:
    users, other = (RedisUsers(valkey_process.url, wait_s=5.0, **OPTIONS) for _ in range(2))
    client = Redis(port=valkey_process.port)
    try:
        [state] = users.fetch([ANN], NOW, 5.0)
        assert state is not None
        client.config_set("maxmemory", 1)  # and nothing is evicted
        users.settle(state, [Hold("bid1", ("c:1",), NOW + EXP + LATENESS)])
        users.flush()
        key = counts_key(token_of("ifa:ann"))
        assert [name[:1] for name in client.hkeys(key)] == [b"n"]
        client.config_set("maxmemory", 0)
        users.flush()
        found = look(other)
        assert (found.held, found.pending) == ({"c:1": 1}, 0)
    finally:
        client.close()
        users.close()
        other.close()


def test_a_redis_that_comes_back_empty_hears_again_of_the_last_holds(
    valkey_process: ValkeyProcess, eventually: Eventually
) -> None:
    valkey_process.options = (*valkey_process.options, "--appendonly", "no")
    valkey_process.stop()
    valkey_process.start()
    users = RedisUsers(valkey_process.url, wait_s=5.0, **OPTIONS)
    try:
        bid(users, "bid1")
        valkey_process.kill()
        assert users.fetch([ANN], NOW, 0.05) == [None]
        valkey_process.start()
        with Redis.from_url(valkey_process.url) as client:
            assert client.dbsize() <= 1  # nothing, or the weight of a fetch
        eventually(lambda: users.fetch([UserWant(("ifa:bob",), 1)], NOW, 1.0) != [None], 5.0)
        assert look(users).held == {"c:1": 1, "k:2": 1}
    finally:
        users.close()


def test_a_full_redis_is_an_unknown_state(valkey_process: ValkeyProcess) -> None:
    users = RedisUsers(valkey_process.url, wait_s=5.0, **OPTIONS)
    try:
        with Redis.from_url(valkey_process.url) as client:
            client.config_set("maxmemory", "1")
        assert users.fetch([ANN], NOW, 5.0) == [None]
        with Redis.from_url(valkey_process.url) as client:
            client.config_set("maxmemory", "0")
        assert look(users).pending == 0
    finally:
        users.close()


def test_what_is_not_ours_is_an_unknown_state(agent: RedisUsers, client: Redis) -> None:
    client.set(counts_key(token_of("ifa:ann")), "a string")
    client.set(profile_key(token_of("ifa:bob")), b"\xff\xff")
    client.hset(counts_key(token_of("ifa:eve")), "i", b"\xff\xff")
    wants = [UserWant((f"ifa:{name}",), 1) for name in ("ann", "bob", "eve", "kim")]
    states = agent.fetch(wants, NOW, 5.0)
    assert [state is None for state in states] == [True, False, True, False]  # bob just has no profile


def test_counts_survive_a_failover(valkey_cluster: ValkeyCluster, eventually: Eventually) -> None:
    users = RedisUsers(valkey_cluster.url, wait_s=10.0, **OPTIONS)
    counts = UserCounts(valkey_cluster.url, lambda campaign, creative: COUNTED, replicas=1, **OPTIONS)
    names = [f"ifa:{n}" for n in range(24)]
    wants = [UserWant((name,), 1) for name in names]
    try:
        states = users.fetch(wants, NOW, 5.0)
        for n, state in enumerate(states):
            assert state is not None
            users.settle(state, [Hold(f"bid{n:03}", ("c:1",), ENDS)])
        users.flush()
        shown = [event("impression", f"bid{n:03}", user=token_of(names[n])) for n in range(12)]
        assert counts.apply(shown) == []
        valkey_cluster.nodes[1].kill()
        first = users.fetch(wants, NOW, 0.05)
        away = [valkey_cluster_master(valkey_cluster, name) == 1 for name in names]
        assert [state is None for state in first] == away  # whose master is away is unknown, all others are not
        assert any(away)

        def all_known() -> bool:
            found = users.fetch(wants, NOW, 1.0)
            for state in found:
                if state is not None:
                    users.settle(state, ())
            return None not in found

        eventually(all_known, 20.0)
        users.flush()
        after = users.fetch(wants, NOW, 5.0)
        assert [state.shown.get("c:1", ()) if state else None for state in after[:12]] == [(NOW + 1000,)] * 12
        assert [state.held if state else None for state in after[12:]] == [{"c:1": 1}] * 12
        eventually(lambda: counts.apply(shown[:1]) == [] or counts.breaker_state > 0, 5.0)
    finally:
        users.close()
        counts.close()


def valkey_cluster_master(cluster: ValkeyCluster, name: str) -> int:
    with Redis(port=cluster.nodes[0].port) as client:
        slot = int(client.execute_command("CLUSTER KEYSLOT", counts_key(token_of(name))))
    return slot // -(-16_384 // cluster.masters)


def test_events_that_name_a_person_by_pseudonym_are_counted_and_those_of_nobody_are_done(valkey: str) -> None:
    people: dict[str, str | None] = {"pseudonym": "A" * 20, "erased": "", "unknown": None}
    counts = UserCounts(valkey, lambda campaign, creative: COUNTED, reveal=people.get, **OPTIONS)
    events = [event("impression", f"b{n}", user=user) for n, user in enumerate(people)]
    failed = counts.apply(events)
    assert [one.user for one in failed] == ["unknown"]  # to come again
    assert counts.applied == 1
    with Redis.from_url(valkey) as client:
        assert client.keys("u:*") == [b"u:{" + b"A" * 20 + b"}"]
    counts.close()
