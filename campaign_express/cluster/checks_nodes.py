"""Checks of the nodes that bidders may go to, and of the device that they ask for."""

from __future__ import annotations

from collections.abc import Iterator

from campaign_express.cluster import names
from campaign_express.cluster.connection import Object
from campaign_express.cluster.doctor import Facts, Finding, bad, ok, warn
from campaign_express.cluster.overview import node_ready


def labels(facts: Facts) -> Iterator[Finding]:
    spec, group = facts.bidder_spec(), facts.bidder_group()
    wanted = spec.get("nodeSelector") or {}
    text = ",".join(f"{key}={value}" for key, value in wanted.items())
    nodes = facts.connection.items("/api/v1/nodes", "list nodes")
    fitting = [node for node in nodes if wanted.items() <= (node["metadata"].get("labels") or {}).items()]
    low = int(group["minReplicas"])
    if not wanted:
        remedy = "give the worker group a nodeSelector (kuberay/base has one)"
        yield warn("NPU labels", "bidders have no nodeSelector: they may go to any node", remedy)
    elif not fitting:
        remedy = f"label the node pool (`--labels {text}`; Terraform does), or a node: `kubectl label node NAME {text}`"
        yield bad("NPU labels", f"none of {len(nodes)} nodes has {text}", remedy)
        return
    ready = [node for node in fitting if node_ready(node)]
    repelled = [node for node in ready if _repels(node, spec.get("tolerations") or [])]
    if repelled:
        taints = sorted({_text(taint) for node in repelled for taint in _repels(node, spec.get("tolerations") or [])})
        remedy = f"add a toleration for {', '.join(taints)} to the worker group, or take the taint off the pool"
        yield bad("NPU taints", f"{len(repelled)} of {len(ready)} nodes repel bidders by {', '.join(taints)}", remedy)
    if len(ready) - len(repelled) < low:
        remedy = (
            "the cluster autoscaler adds nodes while pods wait: look at the pool's maximum and the quota of its size"
        )
        yield warn("NPU nodes", f"{len(ready)} of {len(fitting)} ready, and {low} cells are the minimum", remedy)
    else:
        yield ok("NPU nodes", f"{len(ready)} of {len(fitting)} ready" + (f" with {text}" if text else ""))


def device_plugin(facts: Facts) -> Iterator[Finding]:
    spec = facts.bidder_spec()
    limits = (spec["containers"][0].get("resources") or {}).get("limits") or {}
    asked = [name for name in limits if "/" in name and not name.startswith("hugepages")]
    if not asked:
        yield ok("device plugin", "bidders ask for no device: they score on the CPU")
        return
    wanted = spec.get("nodeSelector") or {}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    nodes = facts.connection.items("/api/v1/nodes", "list nodes", **({"labelSelector": selector} if selector else {}))
    for device in asked:
        without = [node for node in nodes if _amount(node, device) < int(limits[device])]
        if not nodes:
            continue  # the check of labels says so
        if len(without) == len(nodes):
            remedy = (
                "run its device plugin on these nodes (kuberay/base/npu-device-plugin.yaml); where there is no device, "
                "deploy the overlay that does not ask for it (kuberay/overlays/aks or eks)"
            )
            yield bad(
                "device plugin", f"no node offers {device}, which bidders ask for: they would wait for ever", remedy
            )
        elif without:
            some = ", ".join(node["metadata"]["name"] for node in without[:3])
            remedy = "look at the plugin's pod on these nodes; the driver may lack"
            yield warn("device plugin", f"{len(without)} of {len(nodes)} nodes offer no {device}: {some}", remedy)
        else:
            yield ok("device plugin", f"{device} on {len(nodes)} nodes")
    yield from _daemon_set(facts)


def _daemon_set(facts: Facts) -> Iterator[Finding]:
    found = facts.connection.items("/apis/apps/v1/daemonsets", "list daemon sets")
    for one in found:
        if not names.DEVICE_PLUGINS.search(one["metadata"]["name"]):
            continue
        status = one.get("status") or {}
        ready, wanted = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        if ready < wanted:
            remedy = f"`kubectl -n {one['metadata']['namespace']} describe pods`: the image or the device is missing"
            yield bad("device plugin", f"{where}: {ready} of {wanted} pods ready", remedy)


def _amount(node: Object, device: str) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(device, 0))


def _repels(node: Object, tolerations: list[Object]) -> list[Object]:
    """Taints that keep pods off, of which none is tolerated."""
    taints = (node.get("spec") or {}).get("taints") or []
    hard = [taint for taint in taints if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return [taint for taint in hard if not any(_tolerates(one, taint) for one in tolerations)]


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def _text(taint: Object) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"
