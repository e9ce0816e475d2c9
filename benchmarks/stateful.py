"""The benchmark's cell with money and memory: budgets and caps on every campaign, profiles of every person, a Valkey.

Caps are three a day and budgets are large, so that what is measured is their being kept, not their being used up. About
half of the requests tell no user; on those the campaigns bid uncounted.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import catalog_gen, market
from campaign_express import config, embedded
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.users_profiles import Row, UserProfiles
from campaign_express.bidder import Bidder
from campaign_express.bidding.budget import Accounts, settle_s
from campaign_express.bidding.identity import ids_of
from campaign_express.bootstrap import build_bidder, read_catalog, read_exchanges
from campaign_express.openrtb.codec import decode_request

TURNS = 20  # persons who send each body
STATE = {  # of each campaign; USD
    "budget": {"daily": 100_000},
    "caps": [{"limit": 3, "per": "day"}],
    "cap_without_user": True,
    "pacing": "asap",
}


def people(bodies: Iterable[bytes]) -> list[tuple[str, ...]]:
    """The ids of every person in the bodies, as an agent reads them."""
    core = _reader()
    found: dict[str, tuple[str, ...]] = {}
    for body in bodies:
        ids = ids_of(core._context(decode_request(body), core._exchange(""), 0))
        if ids:
            found.setdefault(ids[0], ids)
    return list(found.values())


def prepare(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Start a Valkey and load it for the bodies in `folder`; returns the settings of a cell that uses it.

    The server runs until this process ends.
    """
    own = config.load({"data_dir": str(folder / "state"), "embedded_redis_port": 0})
    catalog = folder / "catalog-with-state.json"
    content = msgspec.json.decode(Path(settings["catalog_file"]).read_bytes())
    content["campaigns"] = [{**campaign, **STATE} for campaign in content["campaigns"]]
    catalog.write_bytes(msgspec.json.encode(content))
    url = embedded.ensure(own, only=("redis_url",)).redis_url
    stateful = {**settings, "catalog_file": str(catalog), "redis_url": url}
    load(stateful, (folder / "bodies.jsonl").read_bytes().splitlines())
    return stateful


def events(folder: Path, on: bool) -> dict[str, Any]:
    """Start a NATS; settings of a cell that tells it of every decision, or of none. It runs until this process ends."""
    own = config.load({"data_dir": str(folder / "state"), "embedded_nats_port": 0})
    ready = embedded.ensure(own, only=("nats_url", "notice_keys"))
    os.environ["CAMPAIGN_EXPRESS_NOTICE_KEYS"] = str(ready.notice_keys)
    return {"nats_url": ready.nats_url, "decision_events": on}


def load(settings: dict[str, Any], bodies: Iterable[bytes]) -> None:
    """Open every advertiser's ledger, as the treasury would, and write a profile of everybody."""
    read = config.load(settings)
    exchanges = read_exchanges(read)
    catalog = read_catalog(read, exchanges)
    exps = {exchange.name: exchange.exp for exchange in exchanges.exchanges}
    ledger = Ledger(read.redis_url, Accounts(catalog), settle_s=settle_s(exps, read.notice_lateness_s))
    for advertiser, fence in ledger.fences([a.id for a in catalog.advertisers]).items():
        ledger.set_fence(advertiser, fence.run_id)
    ledger.close()
    rng = random.Random(2026)
    everybody = people(bodies)
    profiles = UserProfiles.from_settings(read)
    rows = [Row(ids, tuple(rng.sample(market.SEGMENTS, rng.randint(1, 4)))) for ids in everybody]
    for start in range(0, len(rows), 1000):
        profiles.write(rows[start : start + 1000], time.time_ns() // 1_000_000)


def _reader() -> Bidder:
    """A bidder whose reading of requests is the product's; it has one campaign, since nothing is bid."""
    return build_bidder(config.load({}), catalog_gen.generate(1))
