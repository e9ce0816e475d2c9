"""The treasury beside a cell in Serve: money from its lease to the books, on the metrics page and in the status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from conftest import Cells, eventually, http
from test_cell_serving import REQUEST

from campaign_express.adapters.control import ControlStore
from campaign_express.control import Stop, Switched, with_stop, without_stop

Deploy = Callable[..., Cells]

CATALOGUE = """
advertisers:
  - {id: acme, name: Acme, domain: acme.example, categories: [IAB22]}
campaigns:
  - id: acme-shoes
    advertiser: acme
    flight: {start: 2020-01-01T00:00:00Z}
    goal: {type: cpm, bid: 2}
    max_bid: 2
    pacing: asap
    budget: {daily: 10}
    creatives:
      - {id: shoes, media: banner, w: 300, h: 250, landing: "https://acme.example/", image: "https://acme.example/i.png"}
"""


def test_a_budget_from_lease_to_books(servers: dict[str, str], deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(CATALOGUE)
    cells = deploy(factory="", agents_per_cell=1, catalog_file=str(tmp_path / "catalog.yaml"), **servers)

    def bid() -> dict[str, str] | None:
        status, _, answer = cells.bid(json.dumps(REQUEST).encode())
        return json.loads(answer)["seatbid"][0]["bid"][0] if status == 200 else None

    # Without a treasury its ledger would never be open, and nobody would have money for it.
    made = eventually(bid, 15, "the ledger is open and lends")
    for kind in ("nurl", "burl"):
        parts = urlsplit(made[kind].replace("${AUCTION_PRICE}", str(made["price"])))
        query = parts.query.replace("${AUCTION_ID}", "").replace("${AUCTION_LOSS}", "")
        assert http(f"{cells.url}{parts.path}?{query}")[0] == 200
    expected = {
        "treasury_leader": 1,
        'treasury_events_total{outcome="applied"}': 2,
        "treasury_committed_usd_total": 0.002,
    }
    eventually(lambda: expected.items() <= cells.metrics().items(), 15, str(expected))
    status = json.loads(http(f"{cells.ingress}/v1/status")[2])
    assert status["treasury"]["leads"] is True
    assert status["treasury"]["parts"]["consumer"]["problem"] == ""
    assert status["treasury"]["lost_ledgers"] == []

    control = ControlStore(servers["redis_url"])
    control.update(lambda switches: with_stop(switches, Switched("campaign", "acme-shoes"), Stop("test")))
    eventually(lambda: bid() is None, 1.5, "the switch holds in the agent")
    control.update(lambda switches: without_stop(switches, Switched("campaign", "acme-shoes")))
    eventually(bid, 3, "and is taken back")
    control.close()
