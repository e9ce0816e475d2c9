"""The notices of a real bid, told to a real cell: on its own port and through Serve's ingress."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from conftest import Cells, eventually, http
from test_cell_serving import REQUEST

from campaign_express.tracing import trace_id
from tests.support.collector import Collector

Deploy = Callable[..., Cells]


# Without budget and caps: nobody leases it money here.
CATALOGUE = """
advertisers:
  - {id: acme, name: Acme, domain: acme.example, categories: [IAB22]}
campaigns:
  - id: acme-shoes
    advertiser: acme
    flight: {start: 2020-01-01T00:00:00Z}
    goal: {type: cpm, bid: 2}
    max_bid: 2
    creatives:
      - {id: shoes, media: banner, w: 300, h: 250, landing: "https://acme.example/", image: "https://acme.example/i.png"}
"""


def test_notices_of_a_bid_become_events(servers: dict[str, str], deploy: Deploy, tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(CATALOGUE)
    collector = Collector()
    traces = {"otlp_endpoint": collector.url, "trace_sample": 1.0}
    cells = deploy(factory="", agents_per_cell=1, catalog_file=str(tmp_path / "catalog.yaml"), **traces, **servers)
    status, _, answer = cells.bid(json.dumps(REQUEST).encode())
    assert status == 200, answer
    bid = json.loads(answer)["seatbid"][0]["bid"][0]
    [pixel] = re.findall(r'src="([^"]*/v1/imp\?[^"]*)"', bid["adm"])

    def call(url: str, base: str) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(url.replace("${AUCTION_PRICE}", str(bid["price"])))
        query = re.sub(r"\$\{[A-Z_]+\}", "", parts.query)
        return http(f"{base}{parts.path}?{query}")

    assert call(bid["nurl"], cells.url)[0] == 200
    assert call(bid["nurl"], cells.ingress)[0] == 200  # any way leads to the same desk: it knows this one
    assert call(bid["burl"], cells.ingress)[0] == 200
    status, headers, image = call(unescape(pixel), cells.url)
    assert (status, headers["content-type"], image[:6]) == (200, "image/gif", b"GIF89a")
    assert call(bid["burl"].replace("&p=", "&p=9"), cells.url)[0] == 400
    assert http(f"{cells.url}/v1/nothing")[0] == 404

    expected = {
        'notices_total{kind="win",outcome="published"}': 1,
        'notices_total{kind="win",outcome="duplicate"}': 1,
        'notices_total{kind="billing",outcome="published"}': 1,
        'notices_total{kind="impression",outcome="published"}': 1,
        'notices_total{kind="billing",outcome="tampered"}': 1,
    }
    eventually(lambda: expected.items() <= cells.metrics().items(), 10, str(expected))
    # The idle agent has told of its decision, within a second.
    eventually(lambda: cells.metrics().get("published_decisions_total", 0) >= 1, 10, "a decision")
    assert all(value == 1 for name, value in cells.metrics().items() if name.startswith("broker_up"))
    told = {"bid", "queue", "agent", "win", "billing", "impression"}  # sent after 5 s at most
    eventually(lambda: told <= {span.name for span in collector.spans}, 15, "the traces")
    assert {span.trace_id.hex() for span in collector.spans} == {trace_id(REQUEST["id"])}
    collector.shutdown()
    collector.server_close()
