"""What every target gets: the same catalogue, exchange, signing key and bodies, as files in one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import bodies, catalog_gen
from campaign_express import config
from campaign_express.bidder import Bidder
from campaign_express.bootstrap import build_bidder

CAMPAIGNS = 1000
MATCHED = (20, 50)  # campaigns that a request is to match of CAMPAIGNS
POOL = 2  # bodies made for each one that is kept
_EXCHANGES = """\
default: bench
exchanges:
  - name: bench
    currency: USD
    auction: first-price
    notices: [nurl, burl, lurl]
"""
_KEY = "CAMPAIGN_EXPRESS_NOTICE_KEYS"


def environment() -> None:
    """Rid this process, and so the servers it starts, of settings from outside; give all the same signing key."""
    for name in [name for name in os.environ if name.startswith(config.PREFIX)]:
        del os.environ[name]
    os.environ[_KEY] = "bench:" + "5e" * 32  # the product makes a random one; its value has no bearing on speed


def settings(folder: Path, campaigns: int = CAMPAIGNS) -> dict[str, Any]:
    """Settings of a bidder for `campaigns` campaigns; the files are written to `folder` when first asked for."""
    catalog, exchanges = folder / f"catalog-{campaigns}.json", folder / "exchanges.yaml"
    if not catalog.exists():
        catalog.write_bytes(catalog_gen.to_json(catalog_gen.generate(campaigns)))
        exchanges.write_text(_EXCHANGES)
    return {
        "catalog_file": str(catalog),
        "exchanges_file": str(exchanges),
        "notice_base_url": "https://bid.campaign-express.example",
        "log_level": "warning",
    }


def settings_file(folder: Path, campaigns: int = CAMPAIGNS) -> Path:
    """The same as a JSON file, for a server's command line."""
    path = folder / f"settings-{campaigns}.json"
    path.write_bytes(msgspec.json.encode(settings(folder, campaigns)))
    return path


def bidder(values: dict[str, Any]) -> Bidder:
    """The product's own core for these settings, warm."""
    return build_bidder(config.load(values))


def matched(core: Bidder, body: bytes, wall_ms: int) -> int:
    """How many campaigns the core's own matching admits for a body, over all its impressions."""
    from campaign_express.bidding.bitmaps import bits
    from campaign_express.bidding.pipeline import Decision
    from campaign_express.openrtb.codec import decode_request

    context = core._context(decode_request(body), core._exchange(""), wall_ms)
    offers = core.pipeline.match([Decision(context)])
    lines = core.pipeline.lines.lines
    return len({lines[bit].campaign.id for offer in offers for bit in bits(offer.mask)})


def choose(core: Bidder, count: int, wall_ms: int, seed: int = bodies.SEED) -> list[bytes]:
    """`count` bodies that match 20 to 50 campaigns each. Raises ValueError where too few of the pool do."""
    low, high = MATCHED
    kept = []
    for body in bodies.generate(count * POOL, seed):
        if low <= matched(core, body, wall_ms) <= high:
            kept.append(body)
            if len(kept) == count:
                return kept
    raise ValueError(f"only {len(kept)} of {count * POOL} bodies match {low} to {high} campaigns; {count} are needed")
