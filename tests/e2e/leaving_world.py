"""Run by test_cell_leaves: a Ray of two bidder nodes of one machine, and a deployment that holds a port as a cell does.

Prints what the pod's hook returned, on which node the port's owner was before and is afterwards.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

from campaign_express.serving import environment

environment.prepare()

import ray  # noqa: E402  # reads its environment when imported
from ray import serve  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from campaign_express.serving.leave import leave, listens  # noqa: E402


class Holder:
    """Listens on a port of its node's own, until it is ended."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._port = ports[ray.get_runtime_context().get_node_id()]
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=50)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            self._socket.accept()[0].close()

    def __del__(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    ports = {}
    for pod in ("bidder-a", "bidder-b"):
        os.environ["RAY_CLOUD_INSTANCE_ID"] = pod
        node = cluster.add_node(num_cpus=1, resources={"npu": 1})
        ports[node.node_id] = free_port()
    pods = dict(zip(ports, ("bidder-a", "bidder-b"), strict=True))
    ray.init(address=cluster.address, log_to_driver=False, namespace="serve")
    serve.start(http_options={"host": "127.0.0.1", "port": free_port()}, proxy_location="Disabled")
    holder = serve.deployment(
        Holder,
        ray_actor_options={"num_cpus": 0, "resources": {"npu": 1}},
        graceful_shutdown_timeout_s=2,
        graceful_shutdown_wait_loop_s=0.1,
    )
    serve.run(holder.bind(ports))
    there = {pods[node] for node, port in ports.items() if listens(port)}
    (pod,) = there
    port = next(p for node, p in ports.items() if pods[node] == pod)
    environ = {"RAY_ADDRESS": cluster.address, "RAY_CLOUD_INSTANCE_ID": pod}
    strangers = leave(port, 0.0, 1.0, {**environ, "RAY_CLOUD_INSTANCE_ID": "nobody"})
    began = time.monotonic()
    problem = leave(port, 0.5, 30.0, environ)
    took = time.monotonic() - began
    afterwards = {pods[node] for node, p in ports.items() if listens(p)}
    told = {"strangers": strangers, "problem": problem, "took": took, "before": pod, "after": sorted(afterwards)}
    print(json.dumps(told), flush=True)
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main())
