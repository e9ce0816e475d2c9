"""The pacing controller over whole days in a world of chance: money spent by the plan, whatever happens on the way."""

from __future__ import annotations

from copy import deepcopy

import msgspec
import numpy as np
import pytest

from campaign_express.bidding import pacing
from campaign_express.bidding.plan import plan
from tests.support.pacing_world import DAY, DAY_MS, FLAT, START_MS, Player, World, campaign, players, spike_at

HOUR_MS = 3_600_000
FEWEST = 0.97  # of the budget
FARTHEST = 0.05  # from the plan, of the budget


def check(made: list[Player]) -> None:
    for player in made:
        assert FEWEST <= player.spent / player.budget <= 1.0, player
        assert player.deviation <= FARTHEST, player


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("steps", [600, 360])  # a step of 2.4 and of 4 minutes: a day in ten minutes
def test_a_day_with_a_spike(steps: int, seed: int) -> None:
    world = World(steps, seed, traffic=spike_at(13))
    made = players(world, 40)
    world.run(made)
    check(made)


def test_a_day_in_steps_of_two_seconds() -> None:
    world = World(43_200, 3, traffic=spike_at(13), delay_ms=300_000, requests=20_000_000)
    made = players(world, 4)
    world.run(made)
    check(made)
    assert max(player.deviation for player in made) < 0.02  # many small steps are better than few large ones


def test_a_spike_is_answered_before_its_money_shows() -> None:
    world = World(600, 5, traffic=spike_at(13), delay_ms=20 * 60_000, flush=0.0)
    made = players(world, 10, plenty=(3.0, 10.0))
    world.run(made)
    check(made)
    for player in made:
        before, during = player.participations[322], player.participations[327]  # the spike begins with step 325
        assert during < 0.4 * before


def test_a_first_day_on_which_nothing_is_known_of_supply() -> None:
    """The curve is flat then. With more than twice the supply it can be followed through the quiet night."""
    world = World(600, 1, curve=FLAT)
    made = players(world, 40, plenty=(2.5, 30.0))
    world.run(made)
    check(made)


@pytest.mark.parametrize("minutes", [0, 5, 20])
def test_notices_may_be_slow(minutes: int) -> None:
    world = World(600, 2, traffic=spike_at(18, 0.5), delay_ms=minutes * 60_000)
    made = players(world, 30)
    world.run(made)
    check(made)


def test_a_delay_that_is_not_known_does_not_upset_the_spending() -> None:
    world = World(600, 2, delay_ms=5 * 60_000, told_delay_ms=30_000)
    made = players(world, 30)
    world.run(made)
    check(made)


def test_scarce_supply_is_taken_whole() -> None:
    world = World(600, 4)
    made = [Player(world.requests * 0.02 * 1500.0 / 0.6, 0.6, 0.02) for _ in range(5)]
    world.run(made)
    for player in made:
        assert np.mean(player.participations[100:]) > 0.98
        assert player.spent / player.budget > 0.55  # of the 0.6 that there are


def test_the_controller_may_start_again_at_any_time() -> None:
    """Another process gets what was kept, or nothing but ledger, counters and what it is that runs."""

    def restart(number: int, player: Player) -> None:
        if number in (100, 333, 550):
            player.course = msgspec.msgpack.decode(msgspec.msgpack.encode(player.course), type=pacing.Course)

    def lost(number: int, player: Player) -> None:
        if number in (100, 333, 550):
            player.course = pacing.Course(participation=player.course.participation)

    for happens in (restart, lost):
        world = World(600, 6, traffic=spike_at(13), on_step=happens)
        made = players(world, 20)
        world.run(made)
        check(made)


def test_while_the_controller_is_away_the_last_pace_goes_on() -> None:
    """Forty minutes of nobody: what was spent meanwhile counts, and so do the requests that it was spent on."""

    class Away(World):
        def _control(self, player: Player, number: int, at_ms: float, counted: int) -> None:
            if 250 <= number < 267:
                player.committed += player.arrivals.pop(number, 0.0)
            else:
                super()._control(player, number, at_ms, counted)

    world = Away(600, 6)
    made = players(world, 20)
    world.run(made)
    check(made)


@pytest.mark.parametrize("factor", [1.6, 0.7])
def test_a_budget_changed_at_noon(factor: float) -> None:
    """A new plan from there on: the rest of the new budget over the rest of the day."""
    world = World(600, 7)
    made = players(world, 20, plenty=(3.0, 30.0))

    def change(number: int, player: Player) -> None:
        if number == 300:
            player.budget *= factor
            noon = START_MS + DAY_MS // 2
            player.plan = plan(campaign(), world.curve, DAY, player.budget, since_ms=noon, base=player.spent)

    world.on_step = change
    world.run(made)
    check(made)


def test_a_budget_lowered_below_what_is_spent_stops_it() -> None:
    world = World(600, 7)
    (player,) = players(world, 1, plenty=(3.0, 4.0))

    def change(number: int, player: Player) -> None:
        if number == 300:
            noon = START_MS + DAY_MS // 2
            player.plan = plan(campaign(), world.curve, DAY, 0.1 * player.budget, since_ms=noon, base=player.spent)

    world.on_step = change
    world.run([player])
    assert set(player.participations[301:]) == {0.0}


def test_a_stop_of_four_hours_is_made_good_without_haste() -> None:
    """Stopped by a switch, a campaign bids nothing; then it catches up at a few times the planned rate, not at once."""
    from_ms, to_ms = START_MS + 8 * HOUR_MS, START_MS + 12 * HOUR_MS
    world = World(600, 8)
    made = players(world, 20, plenty=(20.0, 50.0))
    for player in made:
        player.able = lambda at_ms: not from_ms <= at_ms < to_ms
    world.run(made)
    haste = [np.mean(player.participations[302:312]) / np.mean(player.participations[150:200]) for player in made]
    assert 2.0 < np.median(haste) < 1.6 * pacing.CATCH_UP
    assert max(haste) < 2.5 * pacing.CATCH_UP  # chance moves a single one; at once would be some fifty times as much
    for player in made:
        assert 0.97 <= player.spent / player.budget <= 1.0
        unit = [unit for _, unit in player.trace]
        assert unit[301] > 0.5 * unit[199]  # requests that it could not bid on say nothing of its worth


def test_traffic_that_is_not_for_a_campaign() -> None:
    """A spike of requests that it does not fit: the controller takes it for supply, and learns better."""
    world = World(600, 9, traffic=spike_at(13, 2.0))
    made = players(world, 20, plenty=(3.0, 20.0))
    spike = (START_MS + 13 * HOUR_MS, START_MS + 15 * HOUR_MS)
    chances = {id(player): player.chance for player in made}

    def fit(number: int, player: Player) -> None:
        at_ms = START_MS + number * DAY_MS // 600
        player.chance = chances[id(player)] * (0.2 if spike[0] <= at_ms < spike[1] else 1.0)

    world.on_step = fit
    world.run(made)
    check(made)


def test_bids_are_lowered_where_supply_is_plenty_and_not_where_it_is_not() -> None:
    """Wins fall with the bid, and below 0.8 of it to a third: floors. Spending keeps to the plan all the while."""

    def win(multiplier: float) -> float:
        return multiplier * (1.0 if multiplier >= 0.8 else 0.33)

    world = World(600, 10)
    rich, poor = players(world, 10, plenty=(10.0, 30.0)), players(world, 10, plenty=(1.2, 1.4))
    for player in (*rich, *poor):
        player.win, player.least_multiplier = win, 0.5
    world.run([*rich, *poor])
    check([*rich, *poor])
    assert all(0.5 <= player.course.multiplier < 0.9 for player in rich)
    assert all(player.course.multiplier > 0.9 for player in poor)


def test_bids_are_left_alone_unless_it_is_allowed() -> None:
    world = World(600, 10)
    made = players(world, 3, plenty=(10.0, 30.0))
    world.run(made)
    assert {player.course.multiplier for player in made} == {1.0}


def test_the_second_day_begins_with_what_the_first_has_taught() -> None:
    world = World(600, 11)
    made = players(world, 20)
    world.run(made)
    for player in made:
        player.plan, player.deviation = None, 0.0
        player.spent = player.committed = 0.0
        player.arrivals.clear()
        pacing.new_day(player.course)
    second = World(600, 12, start_ms=START_MS + DAY_MS, requests=500_000)
    second.run(made)
    check(made)


def test_a_campaign_that_is_not_known_starts_slowly() -> None:
    """It wins nearly all it asks for, ten times what the first guess takes for likely, and notices take ten minutes."""
    world = World(600, 13, delay_ms=600_000)
    made = [Player(world.requests * 0.9 * 1500.0 / over, over, 0.9) for over in (5.0, 20.0, 60.0)]
    world.run(made)
    check(made)


def test_evidence_that_is_late_does_not_let_participation_leap() -> None:
    """A campaign that has hardly won anything doubles in a step and the notices' delay, and no faster."""
    course, delay_ms = pacing.Course(), 600_000.0
    made = plan(campaign(), FLAT, DAY, 1e12)
    for minute in range(11):
        seen = pacing.Seen(START_MS + minute * 60_000.0, 0.0, 1000 * minute, delay_ms, 2000.0)
        pacing.step(course, made, seen)
    assert course.participation <= 2.0 * pacing.FIRST_PARTICIPATION


def test_the_first_requests_of_a_step_do_not_let_participation_leap() -> None:
    """A known campaign, and traffic that began a moment before the step ended: its supply looks a hundredth of it."""
    evidence = 100 * 2000.0
    course = pacing.Course(spent=evidence, taken=evidence / 1500.0, participation=0.01)
    made = plan(campaign(), FLAT, DAY, 1e7)  # 116 a second, of 150,000 that full participation would spend
    seen = pacing.Seen(float(START_MS), 0.0, 0, 1000.0, 2000.0)
    pacing.step(course, made, seen)
    assert pacing.step(course, made, seen._replace(at_ms=START_MS + 1000.0, requests=1)).participation <= 0.01
    after = pacing.step(course, made, seen._replace(at_ms=START_MS + 2000.0, requests=101))
    assert after.participation < 0.01


def test_supply_that_returns_after_an_hour_of_silence_is_not_met_with_full_participation() -> None:
    evidence = 100 * 2000.0
    course = pacing.Course(spent=evidence, taken=evidence / 1500.0, participation=0.001)
    made = plan(campaign(), FLAT, DAY, 1e7)
    seen, requests = pacing.Seen(float(START_MS), 0.0, 0, 1000.0, 2000.0), 0
    highest = 0.0
    for second in range(7200):
        requests += 100 if second < 1800 or second > 5400 else 0
        due = made.due(seen.at_ms) if second < 1800 else made.due(START_MS + 1_800_000.0)  # as the curve wants it
        seen = seen._replace(at_ms=START_MS + 1000.0 * (second + 1), requests=requests, committed=due)
        participation = pacing.step(course, made, seen).participation
        if 1800 <= second <= 5402:
            highest = max(highest, participation)
    assert 0.0 < highest <= 5 * 1e7 / 86_400 / (1500.0 * 100)  # catching up, at most four times the plan, and some lead


def test_a_step_is_bounded_and_repeatable() -> None:
    course = pacing.Course()
    made = plan(campaign(), FLAT, DAY, 1e6)
    seen = pacing.Seen(float(START_MS), 0.0, 0, 1000.0, 2000.0)
    assert pacing.step(course, made, seen).participation == pacing.FIRST_PARTICIPATION
    again = deepcopy(course)
    later = seen._replace(at_ms=START_MS + 2000.0, requests=100)
    assert pacing.step(course, made, later) == pacing.step(again, made, later)
    assert pacing.step(course, made, later) == pacing.step(again, made, later)  # no time has passed: nothing changes
    earlier = seen._replace(at_ms=START_MS - 3_600_000.0)  # the clock was put back: it is measured from there
    pacing.step(course, made, earlier)
    assert course.at_ms == earlier.at_ms
    restarted = seen._replace(at_ms=START_MS + 4000.0, requests=5)  # the counter began anew
    assert 0.0 <= pacing.step(course, made, restarted).participation <= 1.0
