"""What the decision needs from outside, as Protocols. Implementations are in `adapters/`, chosen in `bootstrap.py`.

All of these are called before or after `pipeline.decide`, or are pure look-ups in memory: none may block.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from campaign_express.events import MoneyEvent


class Scorer(Protocol):
    """Click and conversion probabilities for rows of features; see `bidding/features.py` for names and order."""

    version: str  # of the model, for metrics and events

    def embed(self, creative_cat: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors [L, D] of creatives given by their features [L, len(CREATIVE_CATEGORICAL)]; once a catalogue."""
        ...

    def score(
        self,
        request_cat: NDArray[np.int64],  # [R, len(REQUEST_CATEGORICAL)] table rows, one row an impression
        request_num: NDArray[np.float32],  # [R, len(REQUEST_NUMERIC)]
        creative: NDArray[np.float32],  # [N, D] what `embed` gave, one row a candidate
        row: NDArray[np.int64],  # [N] which of the R impressions a candidate is for
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(pctr [N], pcvr [N]): P(click | impression), P(conversion | click), both in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a user agent string tells.

    `device_type` is AdCOM's (1 mobile/tablet, 2 PC, 3 CTV, 4 phone, 5 tablet, ...), 0 unknown.
    """

    device_type: int = 0
    os: str = ""  # lower case, OpenRTB's usual names: "android", "ios", "windows", "macos", "linux", ...
    os_version: str = ""
    browser: str = ""
    make: str = ""
    crawler: bool = False


@dataclass(frozen=True, slots=True)
class GeoFacts:
    """What an IP address tells. Codes as in OpenRTB: country alpha-3, region without country, metro = DMA."""

    country: str = ""
    region: str = ""
    city: str = ""
    metro: str = ""
    lat: float | None = None
    lon: float | None = None
    utc_offset: int | None = None  # minutes


class Enricher(Protocol):
    """Facts about a request's device and address from data in memory. Bounded caches; never raises for bad input."""

    def device(self, user_agent: str) -> DeviceFacts: ...

    def geo(self, ip: str) -> GeoFacts: ...

    def is_data_center(self, ip: str) -> bool: ...

    def seller_authorised(self, domain_or_bundle: str, exchange: str, publisher_id: str) -> bool | None:
        """True or False by ads.txt / sellers.json lists; None where no list covers the domain."""
        ...


class UserWant(NamedTuple):
    """Whose state a request wants: the person's ids, best first, as `kind:value`; `weight` slots may show an ad."""

    ids: tuple[str, ...]
    weight: int


class UserState(Struct, gc=False):
    """What is known of one person when a batch is decided. Times are Unix ms, entities `c:<campaign>`, `k:<creative>`.

    `pending` is the weight of this person's other requests that are being decided just now: each of those may still
    take that many impressions of any entity.
    """

    key: str  # canonical id, opaque
    token: bytes = b""  # of our own pending weight, given back by `settle`
    segments: tuple[str, ...] = ()
    interests: tuple[float, ...] = ()
    first_seen_ms: int = 0
    last_seen_ms: int = 0
    shown: dict[str, tuple[int, ...]] = {}  # entity -> times of its last impressions, oldest first
    held: dict[str, int] = {}  # entity -> bids that may still become impressions
    pending: int = 0


class Hold(NamedTuple):
    """A bid that takes one provisional count of each entity until it is lost, shown or expired."""

    bid_key: str
    entities: tuple[str, ...]
    expires_ms: int


class UserStore(Protocol):
    """Profiles and frequency counts. At most one awaited round trip a batch; never raises."""

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        """In the order of `wants`; None where there is no want, or where the store did not answer in time."""
        ...

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None:
        """Turn the pending weight of `state` into these holds. Queued: goes out with the next `fetch` or `flush`."""
        ...

    def flush(self) -> None:
        """Send what is queued. Called when nobody waits for an answer."""
        ...


class Purse(Protocol):
    """The money that this agent may spend: leases in memory. Never blocks; safe from two threads."""

    version: int  # grows whenever a campaign comes into money or runs out of it

    def funded(self, campaign: str) -> bool:
        """Whether it has money for one more bid, as far as is known."""
        ...

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        """Take `micros` from the campaign's lease.

        Returns the lease's id (> 0), 0 where no budget limits the campaign, -1 where it has not enough.
        """
        ...


class Kept(StrEnum):
    """Where an event is durable."""

    PUBLISHED = "published"  # acknowledged by JetStream
    DUPLICATE = "duplicate"  # likewise, and it was there before
    SPOOLED = "spooled"  # fsynced here, and goes to JetStream later


class EventSink(Protocol):
    """Where money events go."""

    def publish(self, event: MoneyEvent) -> Awaitable[Kept]:
        """Ends when the event is durable. Raises Unavailable, when awaited, where it can be made so nowhere."""
        ...


class Touch(Struct, frozen=True, array_like=True, gc=False):
    """A click or a view that a later conversion may be due to; the names are those of `MoneyEvent`."""

    kind: str  # click, impression
    bid_key: str
    exchange: str
    auction: str
    imp: str
    bid: str
    advertiser: str
    campaign: str
    creative: str
    authorised_micros: int
    lease: int
    bid_ms: int
    touched_ms: int  # when the notice came
    user: str
    test: bool


class TouchStore(Protocol):
    """Recent clicks and views, each kept as long as its attribution window."""

    def record(self, touch: Touch) -> None:
        """Queued; never raises. A view counts only where it has a user."""
        ...

    async def find(self, advertiser: str, click_id: str, user: str) -> list[Touch]:
        """What is known under a click id (`bid_key`) and of a user, either of which may be "". Raises Unavailable."""
        ...


class Message(NamedTuple):
    """One message of a stream."""

    seq: int
    subject: str
    data: bytes


class Unreadable(NamedTuple):
    """A message that has no place in the tables, and why."""

    message: Message
    problem: str


class Rows(NamedTuple):
    """What a query gives."""

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Warehouse(Protocol):
    """The tables of events and sums: ClickHouse, or chDB in this process. Blocking; may be called from several threads.

    All methods raise Unavailable where the store is away or cannot do it just now, WarehouseError for what it will
    never do (wrong SQL, a parameter of the wrong type).
    """

    cluster: str  # name of the cluster whose replicas hold the tables, "" one server
    where: str  # which store it is and who has it, for people: no password

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """`parameters` stand in `sql` as `{name:Type}` and are bound by the store, never pasted into the text."""
        ...

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement without a result; returns when it is done."""
        ...

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], token: str) -> None:
        """Rows by column, durable when this returns. Rows of the same `token` are inserted once.

        Times are whole units of their column (milliseconds for DateTime64(3), seconds for DateTime).
        """
        ...

    def make_database(self) -> None:
        """The database that the tables are in, where there is none."""
        ...

    def close(self) -> None: ...


class IdentityStore(Protocol):
    """Which ids are one person's."""

    async def link(self, ids: list[str]) -> str:
        """Make these ids (`kind:value`) one person's; returns the canonical id. Raises Unavailable."""
        ...

    async def find(self, user_id: str) -> str:
        """The canonical id of the person with this one. Raises Unavailable."""
        ...
