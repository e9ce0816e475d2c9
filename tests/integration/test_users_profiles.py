"""Profiles of people and several ids of one person, on a real Valkey."""

# ruff: noqa: F811  # fixtures are imported by the names that they are asked for
from __future__ import annotations

import time

from redis import Redis
from users_world import (  # noqa: F401  # fixtures
    ANN,
    EXP,
    NOW,
    PATIENT,
    Eventually,
    agent,
    bid,
    client,
    counts,
    event,
    look,
    other_agent,
    profiles,
)

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import counts_key, token_of, tokens_of
from campaign_express.adapters.users_profiles import Row, UserProfiles
from campaign_express.ports import Hold, UserWant

# Profiles and their cache.


def test_a_profile_is_read_once_and_again_when_it_is_old(valkey: str, profiles: UserProfiles) -> None:
    profiles.write([Row(("ifa:ann",), ("s1", "s2"), (0.5, 0.25))], NOW)
    users, forgetful = (RedisUsers(valkey, cache_ttl_s=seconds, **PATIENT) for seconds in (3600.0, 0.05))
    try:
        assert (look(users).segments, look(users).interests) == (("s1", "s2"), (0.5, 0.25))
        assert (users.l1_hits, users.l1_misses) == (1, 1)
        assert look(forgetful).segments == ("s1", "s2")
        profiles.write([Row(("ifa:ann",), ("s3",))], NOW)
        assert look(users).segments == ("s1", "s2")
        time.sleep(0.1)
        assert look(forgetful).segments == ("s3",)
        # Nobody is remembered as nobody.
        look(users, UserWant(("ifa:nobody",), 1))
        misses = users.l1_misses
        assert look(users, UserWant(("ifa:nobody",), 1)).segments == ()
        assert users.l1_misses == misses
        # A profile ends, remembered or not.
        assert look(users, now=NOW + 86_400_000).segments == ()
    finally:
        users.close()
        forgetful.close()


def test_the_cache_is_bounded(valkey: str, profiles: UserProfiles) -> None:
    profiles.write([Row((f"ifa:{n}",), ("x" * 100,) * 20) for n in range(300)], NOW)
    users = RedisUsers(valkey, cache_entries=100, cache_bytes=200_000, **PATIENT)
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
    eventually(lambda: client.hget(alias, "@") == token_of(canonical).encode())
    client.pexpire(alias, 60_000)
    [state] = other_agent.fetch([UserWant((other,), 1)], NOW, 60.0)
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
    eventually(lambda: client.hgetall(alias) == {b"@": token_of(canonical).encode()})
    assert look(agent, UserWant((canonical,), 1)).held == {"c:1": 2, "k:2": 1}


def test_ids_are_linked_by_a_bid_though_others_were_asked_for_in_between(
    agent: RedisUsers, client: Redis, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    look(agent, BOTH)  # no bid
    look(agent, ANN)
    bid(agent, "one", BOTH)  # their profile is remembered: nobody looks for the other id again
    alias = counts_key(token_of(other))
    eventually(lambda: client.hget(alias, "@") == token_of(canonical).encode())


def test_counts_under_two_ids_are_put_together(
    agent: RedisUsers, profiles: UserProfiles, counts: UserCounts, eventually: Eventually
) -> None:
    canonical, other = canonical_and_other()
    bid(agent, "one", UserWant((canonical,), 1))
    bid(agent, "two", UserWant((other,), 1))
    profiles.write([Row((other,), ("s",))], NOW)
    counts.apply([event("impression", "two", user=token_of(other))])
    [state] = agent.fetch([BOTH], NOW, 60.0)
    assert state is None  # two persons so far
    eventually(lambda: agent.fetch([BOTH], NOW, 60.0) != [None])
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
