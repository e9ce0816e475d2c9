"""Ray's own autoscaler at work on this machine: 1 node grows to 3 under load and shrinks again, while bids go on.

`benchmarks.autoscale` starts it in namespaces of its own, since starting Ray's test cluster runs a `ray stop` that ends
every Ray process it sees. The cells are the product's, on the fake nodes of `ray.cluster_utils.AutoscalingCluster`,
with the autoscaling policy and its arithmetic as in production and with shorter windows. Only the cells' `load` counts:
CPU and memory would be those of the whole machine, and so everybody's.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from benchmarks import namespace
from benchmarks.namespace import Served
from benchmarks.processes import free_port
from campaign_express.serving import environment

environment.prepare()

import ray  # noqa: E402  # reads its environment when imported
from ray import serve  # noqa: E402
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID  # noqa: E402
from ray.autoscaler._private.kuberay.autoscaling_config import (  # noqa: E402
    _generate_legacy_autoscaling_config_fields,
)
from ray.cluster_utils import AutoscalingCluster  # noqa: E402

from campaign_express import config  # noqa: E402
from campaign_express.loadreport import LoadReport  # noqa: E402
from campaign_express.serving import builder  # noqa: E402

MOST = 3  # nodes
AGENTS = 1  # a cell
STORE_BYTES = 80_000_000  # the least that Ray takes
PEAK, LULL = 600.0, 10.0  # requests a second
KEEP_S = 4.0  # under the peak once it has grown, with all its cells
MONITOR_LOGS = "logs/monitor.*"  # of Ray's autoscaler
GIVE_UP_S = 210.0  # of everything together
WAIT_S = 90.0  # for growing, and for shrinking
# A request keeps an agent busy for some 0.2 ms: at the peak 3 cells are above this target, in a lull one is far below.
POLICY = {"load": 0.02, "cpu": 100.0, "memory": 100.0, "down_window_s": 4.0, "down_period_s": 1.0, "up_period_s": 1.0}


class Seen(Struct):
    """What OUT holds. Times are seconds; `grow_s` from the first request of the peak, `shrink_s` from its last."""

    # (since the start, nodes, cells that run) at each change
    course: list[tuple[float, int, int]] = field(default_factory=list)
    grow_s: float = 0.0
    shrink_s: float = 0.0
    served: Served = field(default_factory=Served)
    most_resident_mb: int = 0


class Nodes(AutoscalingCluster):  # type: ignore[misc]
    """Ray's wheel lacks the file that the original begins with."""

    def _generate_config(
        self, head_resources: Any, worker_node_types: Any, autoscaler_v2: bool, **more: Any
    ) -> dict[str, Any]:
        head = {"resources": head_resources, "node_config": {}, "max_workers": 0}
        provider = {
            # By its module, since the provider's own name would have Ray read a file that its wheel lacks.
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": "127.0.0.1:6379",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        }
        return copy.deepcopy(
            {
                "cluster_name": "fake",
                "provider": provider,
                "available_node_types": {**worker_node_types, "ray.head.default": head},
                "head_node_type": "ray.head.default",
                "max_workers": MOST,
                "upscaling_speed": 1000.0,
                **_generate_legacy_autoscaling_config_fields(),
                **more,
            }
        )


class Watch:
    """Counts nodes, cells and this namespace's memory twice a second."""

    def __init__(self, seen: Seen) -> None:
        self.nodes = self.cells = 0
        self._seen, self._began = seen, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            self.nodes = sum(node["Alive"] and "npu" in node["Resources"] for node in ray.nodes())
            states = serve.status().applications["bidding"].deployments["BidGateway"].replica_states
            self.cells = sum(states.values()) if set(states) <= {"RUNNING"} else -1  # on their way
            now = (round(time.monotonic() - self._began, 1), self.nodes, max(0, int(states.get("RUNNING", 0))))
            if not self._seen.course or self._seen.course[-1][1:] != now[1:]:
                self._seen.course.append(now)
            self._seen.most_resident_mb = max(self._seen.most_resident_mb, namespace.resident_mb())


def grow_and_shrink(url: str, seen: Seen, watch: Watch) -> list[LoadReport]:
    def course() -> object:
        return seen.course

    with namespace.Stream(url, LULL) as lull:
        time.sleep(namespace.SPELL_S)
        began = time.monotonic()
        with namespace.Stream(url, PEAK) as peak:
            namespace.wait_for(
                lambda: watch.nodes == watch.cells == MOST, WAIT_S, f"{MOST} nodes with a cell each", course
            )
            seen.grow_s = round(time.monotonic() - began, 1)
            time.sleep(KEEP_S)
        began = time.monotonic()
        namespace.wait_for(lambda: watch.nodes == watch.cells == 1, WAIT_S, "1 node again", course)
        seen.shrink_s = round(time.monotonic() - began, 1)
    return lull.reports + peak.reports


def run(directory: Path) -> Seen:
    namespace.loopback_up()
    node = {"CPU": 1, "npu": AGENTS, "object_store_memory": STORE_BYTES}
    cluster = Nodes(
        {"CPU": 0, "object_store_memory": STORE_BYTES},
        {"npu-bidders": {"resources": node, "node_config": {}, "min_workers": 1, "max_workers": MOST}},
        autoscaler_v2=True,
        idle_timeout_minutes=0.05,
    )
    cluster.start()
    ray.init(address="auto", namespace="autoscale", log_to_driver=False)
    seen = Seen()
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": free_port()},
        logging_config={"enable_access_log": False},
    )
    settings = config.load(
        {
            "http_port": free_port(),
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "data_dir": str(directory),
            "agents_per_cell": AGENTS,
            "npu_per_agent": 1,
            "notice_keys": "run:" + os.urandom(32).hex(),
        },
        {},
    )
    scaling = {
        "min_replicas": 1,
        "initial_replicas": 1,
        "max_replicas": MOST,
        "look_back_period_s": 3.0,
        "upscale_delay_s": 0.0,
        "downscale_delay_s": 0.0,
        "policy": {
            "policy_function": "campaign_express.serving.autoscaling:hpa",
            "policy_kwargs": POLICY,
        },
    }
    serve.run(builder.build(settings, autoscaling_config=scaling), name="bidding", route_prefix="/")
    with Watch(seen) as watch:
        reports = grow_and_shrink(f"http://127.0.0.1:{settings.http_port}/v1/bid", seen, watch)
    seen.served.add(reports)
    return seen


def main(out: Path) -> int:
    """All that is written goes beside OUT, whose path is short: sockets are there."""
    directory = out.parent
    os.environ["RAY_TMPDIR"] = tempfile.tempdir = str(directory)
    namespace.end_in(GIVE_UP_S, directory, MONITOR_LOGS)
    try:
        out.write_bytes(msgspec.json.encode(run(directory)))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        namespace.give_up(directory, MONITOR_LOGS)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
