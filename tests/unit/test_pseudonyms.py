"""Pseudonyms of persons: the same for all within a period, another one in the next, nobody's once the key is gone."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from campaign_express.adapters.pseudonym_keys import GRACE_S, PseudonymKeeper
from campaign_express.adapters.pseudonyms import (
    BUCKETS,
    CHARACTERS,
    DAY_MS,
    KEY,
    REMEMBERED,
    Pseudonyms,
    period_of,
    pseudonym,
)
from campaign_express.adapters.users_keys import token_of
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable

DAYS = 30
START_MS = period_of(1_764_000_000_000, DAYS) * DAY_MS
PERIOD = START_MS // DAY_MS
TOKEN = token_of("ifa:somebody")


def keys() -> dict[str, bytes]:
    return {high + low: os.urandom(KEY) for high in CHARACTERS for low in CHARACTERS}


class Source:
    """`KeySource` in memory."""

    def __init__(self) -> None:
        self.periods: dict[int, dict[str, bytes]] = {}
        self.stamps: dict[int, int] = {}
        self.reads = 0
        self.away = False

    def changed(self) -> dict[int, int]:
        if self.away:
            raise Unavailable("away")
        return dict(self.stamps)

    def read(self, period: int) -> dict[str, bytes]:
        self.reads += 1
        return dict(self.periods.get(period, {}))

    def make(self, period: int) -> None:
        made = self.periods.setdefault(period, {})
        for bucket, key in keys().items():
            made.setdefault(bucket, key)
        self.touch(period)

    def touch(self, period: int) -> None:
        self.stamps[period] = self.stamps.get(period, 0) + 1

    def destroy(self, token: str, period: int, replace: bool) -> None:
        if replace:
            self.periods[period][token[:2]] = os.urandom(KEY)
        else:
            del self.periods[period][token[:2]]
        self.touch(period)


class FixedClock(Clock):
    at = START_MS

    def now_ms(self) -> int:
        return FixedClock.at


@pytest.fixture(autouse=True)
def _at_the_start() -> None:
    FixedClock.at = START_MS


def keeper(source: Source, **options: Any) -> PseudonymKeeper:
    made = PseudonymKeeper(source, FixedClock(), DAYS, **options)
    made.refresh()
    return made


def test_a_pseudonym_is_made_of_period_bucket_and_block_and_leads_back_to_the_person() -> None:
    known = Pseudonyms(DAYS)
    known.learn(PERIOD, keys())
    for number in range(200):
        token = token_of(f"ifa:{number}")
        made = known.of(token, START_MS + number)
        assert re.fullmatch(r"[0-9a-z]{3}[\w-]{2}[\w-]{22}", made)
        assert made[3:5] == token[:2]
        assert token[2:] not in made
        assert known.of(token, START_MS + DAYS * DAY_MS - 1) == made
        assert known.reveal(made) == token
    assert known.reveal(TOKEN) == TOKEN


@pytest.mark.parametrize("odd", ["", "x", "ä" * 27, "g1d" + "AA" + "A" * 22, "-" * 27, "_" * 40, "A" * 26])
def test_what_is_no_pseudonym_of_ours_reveals_nobody(odd: str) -> None:
    known = Pseudonyms(DAYS)
    known.learn(PERIOD, keys())
    assert known.reveal(odd) == ""


def test_without_a_key_there_is_no_pseudonym() -> None:
    known = Pseudonyms(DAYS)
    assert known.of(TOKEN, START_MS) == ""
    some = keys()
    del some[TOKEN[:2]]
    known.learn(PERIOD, some)
    assert known.of(TOKEN, START_MS) == ""
    assert known.of(TOKEN, START_MS - 1) == ""  # no key of a later period is used


@pytest.mark.parametrize("odd", ["", "u7", "user-1", TOKEN[:-1], TOKEN + "AAAA", TOKEN[:-1] + "é", TOKEN[:-1] + "!"])
def test_what_is_no_token_has_no_pseudonym_and_spoils_none(odd: str) -> None:
    known = Pseudonyms(DAYS)
    known.learn(PERIOD, keys())
    before = known.of(TOKEN, START_MS)
    known._current.made.clear()
    assert known.of(odd, START_MS) == ""
    assert known.of(TOKEN, START_MS) == before


def test_the_next_period_has_another_one_and_without_its_keys_the_last_ones_serve() -> None:
    known = Pseudonyms(DAYS)
    known.learn(PERIOD, keys())
    first = known.of(TOKEN, START_MS)
    later = START_MS + DAYS * DAY_MS
    assert known.of(TOKEN, later) == first
    known.learn(PERIOD + DAYS, keys())
    second = known.of(TOKEN, later)
    assert second != first
    assert (known.reveal(first), known.reveal(second)) == (TOKEN, TOKEN)
    assert known.of(TOKEN, START_MS) == first


def test_what_is_remembered_has_a_bound() -> None:
    known = Pseudonyms(DAYS)
    known.learn(PERIOD, keys())
    for number in range(REMEMBERED + 10):
        known.of(token_of(str(number)), START_MS)
    assert len(known._current.made) <= REMEMBERED


def test_a_replaced_key_is_used_at_once_and_the_old_pseudonym_reveals_nobody() -> None:
    known, first = Pseudonyms(DAYS), keys()
    known.learn(PERIOD, first)
    other = token_of("ifa:other")
    assert other[:2] != TOKEN[:2]
    old, others = known.of(TOKEN, START_MS), known.of(other, START_MS)
    known.learn(PERIOD, {**first, TOKEN[:2]: os.urandom(KEY)})
    assert known.reveal(old) == ""
    assert known.of(TOKEN, START_MS) != old
    assert known.of(other, START_MS) == others
    assert known.reveal(others) == other


def test_whoever_applies_events_under_way_remembers_a_replaced_key_for_a_while() -> None:
    now = 0.0
    known, first = Pseudonyms(DAYS, 600.0, lambda: now), keys()
    known.learn(PERIOD, first)
    old = known.of(TOKEN, START_MS)
    known.learn(PERIOD, {**first, TOKEN[:2]: os.urandom(KEY)})
    now = 599.0
    assert known.reveal(old) == TOKEN
    now = 601.0
    assert known.reveal(old) == ""


def test_a_keeper_makes_the_keys_of_this_period_and_the_next_once() -> None:
    source = Source()
    first, second = keeper(source), keeper(source)
    assert sorted(source.periods) == [PERIOD, PERIOD + DAYS]
    assert all(len(made) == BUCKETS for made in source.periods.values())
    assert first.pseudonyms.of(TOKEN, START_MS) == second.pseudonyms.of(TOKEN, START_MS) != ""
    reads = source.reads
    first.refresh()
    assert source.reads == reads  # nothing has changed
    FixedClock.at += DAYS * DAY_MS
    first.refresh()
    assert sorted(source.periods) == [PERIOD, PERIOD + DAYS, PERIOD + 2 * DAYS]


def test_keys_that_redis_has_lost_are_made_anew() -> None:
    source = Source()
    one = keeper(source)
    before = one.pseudonyms.of(TOKEN, START_MS)
    source.periods[PERIOD] = {}
    source.touch(PERIOD)
    one.refresh()
    assert one.pseudonyms.of(TOKEN, START_MS) not in ("", before)


def test_the_history_reveals_past_periods_and_others_do_not_read_them() -> None:
    source = Source()
    made = keeper(source).pseudonyms.of(TOKEN, START_MS)
    FixedClock.at += 2 * DAYS * DAY_MS
    assert keeper(source).pseudonyms.reveal(made) == ""
    assert keeper(source, history=True).person(made) == TOKEN


def test_a_person_whose_key_was_destroyed_is_nobody_and_one_that_cannot_be_looked_up_is_not_known_yet() -> None:
    source = Source()
    treasury, gateway = keeper(source, history=True), keeper(source)
    made = gateway.pseudonyms.of(TOKEN, START_MS)
    assert treasury.person(made) == TOKEN
    stranger = pseudonym(PERIOD, TOKEN, os.urandom(KEY))
    source.away = True
    assert treasury.person(stranger) is None
    assert treasury.person(TOKEN) == TOKEN
    assert treasury.person("rubbish") == ""
    source.away = False
    assert treasury.person(stranger) == ""
    source.destroy(TOKEN, PERIOD, replace=True)
    gateway.refresh()
    fresh = gateway.pseudonyms.of(TOKEN, START_MS)
    assert treasury.person(fresh) == TOKEN  # looked for at once
    assert treasury.person(made) == TOKEN  # for GRACE_S
    assert GRACE_S > 0
    assert keeper(source, history=True).person(made) == ""


def test_a_keeper_lives_through_a_redis_that_is_away() -> None:
    source = Source()
    source.away = True
    one = PseudonymKeeper(source, FixedClock(), DAYS)
    one.start()
    assert one.pseudonyms.of(TOKEN, START_MS) == ""
    source.away = False
    one.refresh()
    assert one.pseudonyms.of(TOKEN, START_MS) != ""
    one.close()
