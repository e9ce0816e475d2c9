"""A cell without Ray, as a process of its own: the product's listeners, queue, metrics and bidder, on real sockets.

`python -m tests.support.plain_cell HTTP_PORT METRICS_PORT DIRECTORY`; ends on SIGTERM. Treasury and pipeline do not
run; their metrics are there, at 0, as a process of the node would give them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from campaign_express import config
from campaign_express.bootstrap import build_bidder
from campaign_express.families import SUFFIX, encode_families
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.node import NodeMetrics
from campaign_express.pipeline.metrics import families as pipeline_families
from campaign_express.pipeline.worker import Tally
from campaign_express.serving.agent_socket import AgentSocket
from campaign_express.treasury.metrics import METRICS
from campaign_express.treasury.metrics import families as treasury_families

HOST = "127.0.0.1"


async def run(http_port: int, metrics_port: int, directory: Path) -> None:
    settings = config.load({"data_dir": str(directory), "notice_keys": "test:" + "07" * 32}, {})
    bidder = build_bidder(settings)
    bidder.warm_up()
    path = str(directory / "agent.sock")
    agent = AgentSocket(bidder, path)
    meters = Meters("plain")
    pool = AgentPool(meters, max_batch=16, batches_in_flight=2, max_queue=1024, timeout_ms=500)
    pool.connect(path)
    await pool.wait_live(1)

    def refresh() -> None:
        meters.gauges.agents = 1
        meters.gauges.live_agents = pool.live

    app = ExchangeApp(pool, meters, max_body_bytes=settings.max_body_bytes)
    node = NodeMetrics(meters, directory, refresh)
    listeners = [
        HttpListener(app, HOST, http_port, keep_alive_s=settings.keep_alive_s),
        HttpListener(node, HOST, metrics_port, keep_alive_s=settings.keep_alive_s),
    ]
    await node.start()
    for listener in listeners:
        await listener.start()
    idle = encode_families(
        treasury_families({metric.name: {"none": 0} if metric.label else 0 for metric in METRICS})
        + pipeline_families({"p": Tally()}, 0, 0)
    )

    def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(idle)
        writer.close()

    others = await asyncio.start_unix_server(give, str(directory / f"idle{SUFFIX}"))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    for listener in listeners:
        await listener.stop()
    others.close()
    await node.retire()
    pool.close()
    agent.close()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
