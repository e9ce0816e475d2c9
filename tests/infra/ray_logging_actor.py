"""Run by ray_ports_world.sh: an actor that logs as a cell does."""

import logging
import sys

import ray

from campaign_express.serving import logs


@ray.remote(num_cpus=0)
class Cell:
    def tell(self) -> None:
        logs.configure("info", component="gateway", cell="c1")
        logging.getLogger("campaign_express.serving.cell").info("told")


ray.init(address=sys.argv[1], log_to_driver=False)
ray.get(Cell.remote().tell.remote())
