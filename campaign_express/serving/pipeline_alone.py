"""The event pipeline in a process of its own, without Ray: `python -m campaign_express.serving.pipeline_alone`.

For who runs the pipeline elsewhere than beside the cells, and for tests that kill it. Settings come from the
environment, and nothing is embedded: `redis_url` and `nats_url` are wanted. Ends in good order on SIGINT and SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal

from campaign_express import config
from campaign_express.bootstrap_pipeline import build_pipeline
from campaign_express.serving import logs
from campaign_express.serving.process import SideProcess


async def run() -> None:
    """Until a signal says to end."""
    settings = config.load()
    logs.configure(settings.log_level, component="pipeline")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    process = SideProcess(settings, f"pipeline-{os.getpid()}", build_pipeline)
    try:
        await process.start()
        await stop.wait()
    finally:
        await process.stop()


if __name__ == "__main__":
    asyncio.run(run())
