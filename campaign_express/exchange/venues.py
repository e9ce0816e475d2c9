"""The exchanges that are simulated, each with habits of its own, and the exchanges file that tells a bidder of them.

    metro    first price, all notices, the billing notice sets the price
    harbour  second price, the win notice sets the price: what is won is paid, shown or not
    vista    first price, the impression sets the price (a price macro in the markup), no billing notice
    cipher   second price, encrypted prices under a macro of its own
    solo     first price, one notice in all: the impression. What is lost of those nobody can know of

`solo` is there to be reported apart: two of a hundred impressions lost without another notice are two of a hundred that
the bidder pays for and never hears of, whatever it does.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from campaign_express.bidding.model import AuctionType, Exchange

TMAX_MS = 450  # generous: a simulated day leaves no core idle
EXP_S = 900
_KEYS = (bytes(range(32)), bytes(range(32, 64)))  # of a simulation, so no secret


class Venue(Struct, frozen=True):
    """One simulated exchange: its habits as the bidder knows them, and its share of the requests."""

    exchange: Exchange
    share: float
    keys: tuple[bytes, bytes] | None = None  # encryption and integrity key, where it encrypts prices

    @property
    def name(self) -> str:
        return self.exchange.name

    @property
    def second_price(self) -> bool:
        return self.exchange.auction is AuctionType.SECOND_PRICE

    @property
    def charged(self) -> str:
        """What makes the bidder owe the price: "win" or "impression"."""
        return "win" if self.exchange.price_notice == "nurl" else "impression"


SOLO = "solo"


def venues(tmax_ms: int = TMAX_MS, exp_s: int = EXP_S) -> tuple[Venue, ...]:
    """All simulated exchanges. `tmax_ms` is real time, `exp_s` (bid to impression) is of the wall clock."""

    def exchange(
        name: str,
        auction: AuctionType,
        notices: tuple[str, ...],
        price_notice: str,
        price_macro: str = "${AUCTION_PRICE}",
        price_encryption: str = "none",
    ) -> Exchange:
        return Exchange(
            name=name,
            auction=auction,
            notices=notices,
            price_notice=price_notice,
            price_macro=price_macro,
            price_encryption=price_encryption,
            tmax=tmax_ms,
            exp=exp_s,
        )

    first, second = AuctionType.FIRST_PRICE, AuctionType.SECOND_PRICE
    every = ("nurl", "burl", "lurl")
    return (
        Venue(exchange("metro", first, every, "burl"), 0.36),
        Venue(exchange("harbour", second, ("nurl", "lurl"), "nurl"), 0.24),
        Venue(exchange("vista", first, ("nurl", "lurl"), "impression"), 0.15),
        Venue(
            exchange("cipher", second, every, "burl", "%%WINNING_PRICE%%", "google"),
            0.20,
            _KEYS,
        ),
        Venue(exchange(SOLO, first, (), "impression"), 0.05),
    )


def price_keys(known: tuple[Venue, ...]) -> str:
    """The bidder's setting `price_keys` for these exchanges."""
    return ",".join(f"{v.name}={v.keys[0].hex()}:{v.keys[1].hex()}" for v in known if v.keys is not None)


def write_exchanges(path: Path, known: tuple[Venue, ...]) -> None:
    """The exchanges file that the bidder is to be started with (setting `exchanges_file`)."""
    values = [msgspec.to_builtins(venue.exchange) for venue in known]
    default = Exchange(name="default")
    plain = [
        {key: value for key, value in one.items() if value != getattr(default, key) and value is not None}
        for one in values
    ]
    for one in plain:
        one["name"] = one.pop("name")
    text = yaml.safe_dump({"default": known[0].name, "exchanges": plain}, sort_keys=False)
    path.write_text("# Written by `campaign-express exchange`: the exchanges that it simulates.\n" + text)
