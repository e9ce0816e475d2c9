"""The pacing controller: how much of its supply a campaign should take part in, so that spending follows its plan.

Pure arithmetic on one campaign at a time; whoever calls it reads the ledger and the counters of requests, and publishes
what comes out. A step does this:

- *What is spent.* Notices come late, so the ledger shows the past. Requests that were taken part in move through a
  first-order lag of the mean delay of notices; what is still in it is money under way (Little's law: a rate times its
  mean delay). Without that a controller drives by the mirror and swings (a Smith predictor, in control terms).
- *What a request is worth* (the unit rate, micros of spending for a request at participation 1): spending over requests
  taken part in, both as the ledger shows them, forgotten over half an hour but never below a few impressions.
- *What is wanted*: by the end of a short horizon spending should be where the plan is then. The planned part of that is
  feed-forward, the deviation divided by the horizon is proportional control.
- *Participation* is what is wanted over what full participation would bring: unit rate times the supply of just now.
  So a spike of traffic is answered in the step that sees it, before any of its money shows.

A model with a wrong unit rate would leave a lasting deviation; that it is learned anew from what is spent is the
integral part of this controller, and it cannot wind up when participation is at its bound.

Sources: Agarwal et al., "Budget Pacing for Targeted Online Advertisements at LinkedIn", KDD 2014 (participation by
chance against a curve of forecast traffic, slow start, fast finish); Lee, Jalali and Dasdan, "Real Time Bid
Optimization with Smooth Budget Delivery in Online Advertising", ADKDD 2013 (participation from the spending of the last
slot and the forecast of the next); Zhang et al., "Feedback Control of Real-Time Display Advertising", WSDM 2016
(feedback control of bidding, with the bid as actuator); Zhang, Yuan and Wang, "Optimal Real-Time Bidding for Display
Advertising", KDD 2014 (with more supply than money, lower bids buy more).

Times are Unix ms of the wall clock, amounts micros.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import NamedTuple

from msgspec import Struct

from campaign_express.bidding.plan import Plan
from campaign_express.control import Pace

MINUTE_MS = 60_000.0
HOUR_MS = 60 * MINUTE_MS
HORIZON_MS = 15 * MINUTE_MS  # within which a deviation is made good, where steps and notices are fast enough
HORIZON_STEPS, HORIZON_DELAYS = 4.0, 3.0
MEMORY_MS = 30 * MINUTE_MS  # in which evidence of the unit rate is forgotten,
LEAST_IMPRESSIONS = 15.0  # but not below this many impressions
KNOWN_IMPRESSIONS = 4.0  # evidence of fewer is a guess
CATCH_UP = 4.0  # times the planned rate, at most, to make good a large deviation
FIRST_GUESS = 0.1  # of the most an impression may cost: the unit rate of a campaign that has never spent
FIRST_PARTICIPATION = 0.05  # while not even the supply is known
SUPPLY_STEPS = 3.0  # over which supply is smoothed
SILENCE = 5.0  # a step without any request where so many were expected is no chance: exp(-5) is below 1 %
PLENTY, SCARCE = 0.25, 0.6  # participation below which bids are lowered, above which they are raised again
LOWER_AN_HOUR, RAISE_AN_HOUR = 0.1, 0.6
TOLERANCE = 0.01  # deviation, of the goal, that leaves bids alone


class Seen(NamedTuple):
    """What is known of a campaign when a step is made."""

    at_ms: float
    committed: float  # today, as the ledger has it
    requests: int  # on its exchanges since some beginning; only grows, but for a restart of the counter
    delay_ms: float  # from a bid to its money in the ledger, on average
    cost: float  # the most that an impression may cost
    able: bool = True  # could bid since the last step: runs, is not stopped, has money in all scopes


class Course(Struct, array_like=True):
    """All that the controller remembers of a campaign: kept outside, another process goes on where this one ended."""

    at_ms: float = 0.0
    committed: float = 0.0
    requests: int = 0
    step_ms: float = 0.0  # between steps, smoothed
    supply: float = 0.0  # requests a millisecond, just now
    pending: float = 0.0  # requests taken part in whose money has not come yet
    spent: float = 0.0  # evidence of the unit rate: money,
    taken: float = 0.0  # over requests taken part in
    participation: float = FIRST_PARTICIPATION
    usual: float = FIRST_PARTICIPATION  # participation over the last hour
    multiplier: float = 1.0
    silent: bool = False  # no requests come, where many did: supply is away, and not small
    began: bool = False  # the last step brought the first requests, or the first ones after silence

    @property
    def unit(self) -> float:
        """Spending for a request at participation 1, micros."""
        return self.spent / self.taken

    @property
    def under_way(self) -> float:
        """Money that has been bid and won, as far as is known, and is not in the ledger yet."""
        return self.unit * self.pending if self.taken else 0.0


def step(course: Course, plan: Plan, seen: Seen, least_multiplier: float = 1.0) -> Pace:
    """Bring `course` up to what is `seen` and return how the campaign is to bid from now on.

    `least_multiplier`: how far bids may be lowered while supply is plentiful; 1.0 leaves them alone.
    """
    if _observe(course, seen):
        _participate(course, plan, seen)
        _shade(course, plan, seen, least_multiplier)
    return Pace(round(course.participation, 5), round(course.multiplier, 4))


def new_day(course: Course) -> None:
    """Begin a day: nothing is committed in it, and what is under way belongs to the day before."""
    course.committed = course.pending = 0.0


def _observe(course: Course, seen: Seen) -> bool:
    """Take in what has happened since the last step; False where there was none, or no time has passed."""
    if not course.taken:
        course.spent, course.taken = seen.cost, 1.0 / FIRST_GUESS
    elapsed = seen.at_ms - course.at_ms
    if not course.at_ms or elapsed < 0.0:  # a clock that was put back, or another simulation: begin to measure here
        course.at_ms, course.committed, course.requests = seen.at_ms, seen.committed, seen.requests
        return False
    if elapsed == 0.0:
        return False
    requests = max(seen.requests - course.requests, 0)
    committed = seen.committed - course.committed
    course.at_ms, course.committed, course.requests = seen.at_ms, seen.committed, seen.requests
    course.step_ms += (elapsed - course.step_ms) * (0.2 if course.step_ms else 1.0)
    silent = course.silent or not course.supply
    course.began = silent and requests > 0
    course.silent = not requests and (silent or course.supply * elapsed >= SILENCE)
    if not course.silent:
        _measure_supply(course, requests, elapsed)
    delays = elapsed / max(seen.delay_ms, 1.0)
    if not seen.able:
        course.pending *= exp(-delays)
        return True
    taken = course.participation * requests
    # What came evenly over the step has waited for half of it on average: hence the second term.
    pending = course.pending * exp(-delays) + taken * (1.0 - exp(-delays)) / delays
    arrived = course.pending + taken - pending
    course.pending = pending
    keep = exp(-elapsed / MEMORY_MS) if course.spent > LEAST_IMPRESSIONS * seen.cost else 1.0
    course.spent = max(course.spent * keep + committed, 0.0)
    course.taken = max(course.taken * keep + arrived, 1.0)
    return True


def _measure_supply(course: Course, requests: int, elapsed: float) -> None:
    """Smoothed, but a jump upwards is believed at once: a spike costs money while it is doubted."""
    expected = course.supply * elapsed
    surge = requests - expected > 0.5 * expected + 4.0 * sqrt(expected + 1.0)
    weight = 1.0 if surge or not course.supply else 1.0 - exp(-elapsed / (SUPPLY_STEPS * course.step_ms))
    course.supply += (requests / elapsed - course.supply) * weight


def _participate(course: Course, plan: Plan, seen: Seen) -> None:
    if not plan.runs:
        course.participation = 0.0
        return
    left = max(plan.end_ms - seen.at_ms, course.step_ms)
    horizon = min(max(HORIZON_MS, HORIZON_STEPS * course.step_ms, HORIZON_DELAYS * seen.delay_ms), left)
    spent = seen.committed + course.under_way
    then = plan.aim(seen.at_ms + horizon)
    planned = then - plan.aim(seen.at_ms)
    needed = (plan.goal - spent) * horizon / left  # a steady rate that would just spend the goal
    wanted = min(then - spent, max(CATCH_UP * planned, 2.0 * needed))
    full = course.unit * course.supply * horizon
    if full <= 0.0:
        return  # nobody asks: no reason to change
    # Growth is bounded: evidence that is only late must not be answered twice. What the plan itself asks for may come
    # at once, but not of a campaign that is hardly known (a slow start).
    doubled = course.participation * 2.0 ** (course.step_ms / (course.step_ms + seen.delay_ms))
    known = course.spent >= KNOWN_IMPRESSIONS * seen.cost
    bound = max(doubled, planned / full if known else min(planned / full, FIRST_PARTICIPATION))
    if course.began:  # for a part of the step only, maybe: its supply looks smaller than it is
        bound = course.participation
    course.participation = min(max(wanted / full, 0.0), bound, 1.0)


def _shade(course: Course, plan: Plan, seen: Seen, least_multiplier: float) -> None:
    """Lower bids slowly while a small part of supply is enough, raise them faster when much of it is needed."""
    hours = course.step_ms / HOUR_MS
    course.usual += (course.participation - course.usual) * (1.0 - exp(-hours))
    behind = plan.due(seen.at_ms) - seen.committed - course.under_way > TOLERANCE * plan.goal
    if course.participation > SCARCE or (behind and course.multiplier < 1.0):
        course.multiplier *= exp(RAISE_AN_HOUR * hours)
    elif course.usual < PLENTY and course.participation < PLENTY and plan.runs:
        course.multiplier *= exp(-LOWER_AN_HOUR * hours)
    course.multiplier = min(max(course.multiplier, least_multiplier), 1.0)
