"""What a simulation is to do: how many requests, when, with which faults, for which catalogue."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from campaign_express.bidding.model import Catalog
from campaign_express.clock import Clock
from campaign_express.exchange.faults import Faults
from campaign_express.exchange.traffic import Traffic
from campaign_express.exchange.venues import Venue


class Behaviour(Struct, frozen=True, kw_only=True):
    """What people do with what they are shown; delays are of the wall clock."""

    rendered: float = 0.997  # of what is won
    render_ms: int = 4_000  # mean time from winning to being shown
    clicked: float = 0.006  # of what is shown, on average: each creative and place has its own hidden probability
    click_ms: int = 12_000
    converted: float = 0.08  # of clicks, likewise
    convert_ms: int = 600_000


class Plan(Struct, frozen=True, kw_only=True):
    """`start_ms` and `end_ms` are on `clock`. `tokens`: an advertiser's postback token, where conversions are told."""

    seed: int
    host: str
    port: int
    requests: int
    start_ms: int
    end_ms: int
    clock: Clock
    traffic: Traffic
    venues: tuple[Venue, ...]
    catalog: Catalog | None = None
    faults: Faults = Faults()
    behaviour: Behaviour = Behaviour()
    people: int = 0  # 0: one for six requests
    bid_connections: int = 128  # an answer takes some 20 ms on a busy machine, and there are over a thousand a second
    notice_connections: int = 128  # likewise: a notice that waits for a connection is one the bidder is never told
    grace_ms: int = 200  # beyond tmax that an answer is waited for: delays of this process, which shares the machine
    timeout_s: float = 5.0  # real time; then a bid or notice counts as unanswered
    linger_s: float = 15.0  # real time after the last answer in which notices that are due are still sent
    tokens: Callable[[str], str] | None = None

    @property
    def crowd(self) -> int:
        return self.people or max(10, self.requests // 6)
