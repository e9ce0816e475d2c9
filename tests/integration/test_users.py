"""The user store against real servers: what is remembered, linked, lost; and a Redis that is slow or away."""

# ruff: noqa: F811  # fixtures are imported by the names that they are asked for
from __future__ import annotations

import time

from redis import Redis
from users_world import (  # noqa: F401  # fixtures
    ANN,
    COUNTED,
    ENDS,
    EXP,
    LATENESS,
    NOW,
    PATIENT,
    PATIENT_COUNTS,
    Eventually,
    agent,
    bid,
    client,
    counts,
    event,
    look,
    other_agent,
)
from valkey_server import ValkeyCluster, ValkeyProcess

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import counts_key, profile_key, token_of
from campaign_express.bidding.frequency import Counted
from campaign_express.ports import Hold, UserWant

# What counts.


def test_a_request_being_decided_weighs_for_others_and_not_for_itself(
    agent: RedisUsers, other_agent: RedisUsers
) -> None:
    [mine] = agent.fetch([UserWant(ANN.ids, 2)], NOW, 60.0)
    assert mine is not None
    assert mine.pending == 0
    first, second = other_agent.fetch([ANN, ANN], NOW, 60.0)
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
    agent.fetch([ANN], NOW, 60.0)
    assert look(other_agent, now=ENDS - 1).pending == 1
    assert look(other_agent, now=ENDS).pending == 0
    other_agent.flush()
    assert not client.exists(counts_key(token_of("ifa:ann")))  # and is tidied up


def test_settlements_travel_with_the_next_fetch(agent: RedisUsers) -> None:
    [state] = agent.fetch([ANN], NOW, 60.0)
    assert state is not None
    agent.settle(state, [Hold("bid1", ("c:1",), ENDS)])
    trips = agent.round_trips
    [state] = agent.fetch([ANN], NOW, 60.0)
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
    [state] = agent.fetch([ANN], NOW, 60.0)
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
    counts = UserCounts(valkey, lambda campaign, creative: Counted(((f"c:{campaign}", 2),), False), **PATIENT_COUNTS)
    counts.apply([event("impression", f"b{n}", NOW + n, campaign=f"{n}") for n in range(130)])
    counts.close()
    shown = look(agent).shown
    assert len(shown) == 128
    assert set(shown) == {f"c:{n}" for n in range(2, 130)}  # those shown longest ago are forgotten


def test_a_win_counts_where_the_campaign_says_so(valkey: str, agent: RedisUsers) -> None:
    counts = UserCounts(valkey, lambda campaign, creative: Counted((("c:1", 3),), True), **PATIENT_COUNTS)
    counts.apply([event("win", "bid1", NOW + 5), event("impression", "bid1", NOW + 50)])
    counts.close()
    assert look(agent).shown == {"c:1": (NOW + 5,)}


def test_events_of_tests_and_of_nobody_change_nothing(agent: RedisUsers, counts: UserCounts, client: Redis) -> None:
    counts.apply([event("impression", "a", test=True), event("impression", "b", user=""), event("click", "c")])
    assert client.dbsize() == 0


def test_seen_times_and_what_lives_how_long(agent: RedisUsers, counts: UserCounts, client: Redis) -> None:
    key = counts_key(token_of("ifa:ann"))
    [state] = agent.fetch([ANN], NOW, 60.0)
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


# Redis slow or away.


def test_a_slow_redis_costs_no_more_than_the_timeout_and_leaves_no_weight(
    valkey_process: ValkeyProcess, eventually: Eventually
) -> None:
    users = RedisUsers(valkey_process.url, **PATIENT)
    try:
        look(users)
        valkey_process.freeze()
        spent = []
        for _ in range(100):
            started = time.monotonic()
            assert users.fetch([ANN], NOW, 0.02) == [None]
            spent.append(time.monotonic() - started)
        assert min(spent) < 0.005  # after the first ones nobody waits, but for a try after each of the breaker's pauses
        assert users.timeouts <= 3 + sum(spent) / 0.1
        assert users.unknown == 100
        assert users.timeouts >= 1
        valkey_process.thaw()
        # The fetches that were given up have been carried out meanwhile, or will be: their weights go again.
        eventually(lambda: users.fetch([None], NOW, 1.0) == [None] and users.breaker_state == 0)

        def without_weight() -> bool:
            [state] = users.fetch([ANN], NOW, 1.0)
            if state is not None:
                users.settle(state, ())
            users.flush()
            return state is not None and state.pending == 0

        eventually(without_weight)
    finally:
        users.close()


def test_a_redis_without_room_for_a_hold_keeps_the_weight(valkey_process: ValkeyProcess) -> None:
    users, other = (RedisUsers(valkey_process.url, **PATIENT) for _ in range(2))
    client = Redis(port=valkey_process.port)
    try:
        [state] = users.fetch([ANN], NOW, 60.0)
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
    users = RedisUsers(valkey_process.url, **PATIENT)
    try:
        bid(users, "bid1")
        valkey_process.kill()
        assert users.fetch([ANN], NOW, 0.05) == [None]
        valkey_process.start()
        with Redis.from_url(valkey_process.url) as client:
            assert client.dbsize() <= 1  # nothing, or the weight of a fetch
        eventually(lambda: users.fetch([UserWant(("ifa:bob",), 1)], NOW, 1.0) != [None])
        assert look(users).held == {"c:1": 1, "k:2": 1}
    finally:
        users.close()


def test_a_full_redis_is_an_unknown_state(valkey_process: ValkeyProcess) -> None:
    users = RedisUsers(valkey_process.url, **PATIENT)
    try:
        with Redis.from_url(valkey_process.url) as client:
            client.config_set("maxmemory", "1")
        assert users.fetch([ANN], NOW, 60.0) == [None]
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
    states = agent.fetch(wants, NOW, 60.0)
    assert [state is None for state in states] == [True, False, True, False]  # bob just has no profile


def test_counts_survive_a_failover(valkey_cluster: ValkeyCluster, eventually: Eventually) -> None:
    users = RedisUsers(valkey_cluster.url, **PATIENT)
    counts = UserCounts(valkey_cluster.url, lambda campaign, creative: COUNTED, replicas=1, **PATIENT_COUNTS)
    names = [f"ifa:{n}" for n in range(24)]
    wants = [UserWant((name,), 1) for name in names]
    try:
        states = users.fetch(wants, NOW, 60.0)
        for n, state in enumerate(states):
            assert state is not None
            users.settle(state, [Hold(f"bid{n:03}", ("c:1",), ENDS)])
        users.flush()
        shown = [event("impression", f"bid{n:03}", user=token_of(names[n])) for n in range(12)]
        assert counts.apply(shown) == []
        valkey_cluster.nodes[1].kill()
        first = users.fetch(wants, NOW, 60.0)  # nobody waits for one that refuses
        away = [valkey_cluster_master(valkey_cluster, name) == 1 for name in names]
        assert [state is None for state in first] == away  # whose master is away is unknown, all others are not
        assert any(away)

        def all_known() -> bool:
            found = users.fetch(wants, NOW, 1.0)
            for state in found:
                if state is not None:
                    users.settle(state, ())
            return None not in found

        eventually(all_known)
        users.flush()
        after = users.fetch(wants, NOW, 60.0)
        assert [state.shown.get("c:1", ()) if state else None for state in after[:12]] == [(NOW + 1000,)] * 12
        assert [state.held if state else None for state in after[12:]] == [{"c:1": 1}] * 12
        eventually(lambda: counts.apply(shown[:1]) == [] or counts.breaker_state > 0)
    finally:
        users.close()
        counts.close()


def valkey_cluster_master(cluster: ValkeyCluster, name: str) -> int:
    with Redis(port=cluster.nodes[0].port) as client:
        slot = int(client.execute_command("CLUSTER KEYSLOT", counts_key(token_of(name))))
    return slot // -(-16_384 // cluster.masters)


def test_events_that_name_a_person_by_pseudonym_are_counted_and_those_of_nobody_are_done(valkey: str) -> None:
    people: dict[str, str | None] = {"pseudonym": "A" * 20, "erased": "", "unknown": None}
    counts = UserCounts(valkey, lambda campaign, creative: COUNTED, reveal=people.get, **PATIENT_COUNTS)
    events = [event("impression", f"b{n}", user=user) for n, user in enumerate(people)]
    failed = counts.apply(events)
    assert [one.user for one in failed] == ["unknown"]  # to come again
    assert counts.applied == 1
    with Redis.from_url(valkey) as client:
        assert client.keys("u:*") == [b"u:{" + b"A" * 20 + b"}"]
    counts.close()
