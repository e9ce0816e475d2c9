"""What a bidder pod does when it is told to go, before Ray is: its preStop hook,
`python -m campaign_express.serving.leave`.

Kubernetes takes the pod out of its Services and runs this in the same moment, so first it waits until load balancers
have heard of it and connections come no more. Then it asks Ray to drain the node: Serve starts the cell elsewhere,
where there is room, and ends this one, which answers what it has. When the cell's port is closed, or the deadline near,
the hook returns and the pod gets its SIGTERM.

KubeRay sets what is read here: RAY_ADDRESS, and RAY_CLOUD_INSTANCE_ID (the pod's name, by which GCS knows the node).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, as the next two: without types
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]

from campaign_express import config

POLL_S = 0.25
ASK_S = 5.0  # for an answer of GCS


def node_id(gcs: Any, instance: str) -> str:
    """The living Ray node of this pod, hex; "" when GCS knows of none."""
    for key, node in gcs.get_all_node_info(timeout=ASK_S).items():
        if node.state == GcsNodeInfo.ALIVE and node.instance_id == instance:
            return str(key.hex())
    return ""


def drain(address: str, instance: str, deadline_s: float) -> str:
    """Ask Ray to empty this pod's node within `deadline_s`. Returns why it will not, "" when it does."""
    try:
        gcs = GcsClient(address=address)
        node = node_id(gcs, instance)
        if not node:
            return f"no living Ray node is the pod {instance}"
        # Nothing but this reason is heeded while actors run; there is none for a pod that is deleted.
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, refusal = gcs.drain_node(
            node, reason, "the pod is being deleted", time.time_ns() // 1_000_000 + int(deadline_s * 1000)
        )
    except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
        return f"GCS at {address} does not answer: {error}"
    return "" if accepted else f"Ray refuses: {refusal}"


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of this pod."""
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def leave(port: int, unlisted_after_s: float, deadline_s: float, environ: Mapping[str, str]) -> str:
    """The whole of it. Returns what went wrong, "" when the cell has gone in time.

    `port`: of the cell; `unlisted_after_s`: until no load balancer sends here any more; `deadline_s`: for the cell.
    """
    if not listens(port):
        return ""  # there is no cell here
    time.sleep(unlisted_after_s)
    refusal = drain(environ.get("RAY_ADDRESS", ""), environ.get("RAY_CLOUD_INSTANCE_ID", ""), deadline_s)
    if refusal:
        return refusal
    until = time.monotonic() + deadline_s
    while listens(port):
        if time.monotonic() > until:
            return f"the cell still listens on port {port} after {deadline_s:g} s"
        time.sleep(POLL_S)
    return ""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="leave", description="Empty this bidder pod before it is ended.")
    parser.add_argument("--unlisted-after", type=float, default=10.0, help="seconds until nobody sends here any more")
    parser.add_argument("--deadline", type=float, default=40.0, help="seconds for Serve to move the cell")
    options = parser.parse_args(arguments)
    problem = leave(config.load().http_port, options.unlisted_after, options.deadline, os.environ)
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
