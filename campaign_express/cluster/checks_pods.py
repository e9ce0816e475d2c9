"""Checks of what pods need and how they are: secrets, volumes, cells, disruption budget, bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from campaign_express.cluster import names
from campaign_express.cluster.cells import cell_of
from campaign_express.cluster.doctor import Facts, Finding, bad, ok, warn
from campaign_express.cluster.overview import clusters
from campaign_express.cluster.ray_service_api import RayServiceApi, condition
from campaign_express.cluster.scale import kept_available
from campaign_express.cluster.serve_text import cell_bounds

SOURCES = {
    "secret": ("secretKeyRef", "secretRef", "secrets"),
    "config map": ("configMapKeyRef", "configMapRef", "configmaps"),
}
RESTARTS = 3


def secrets(facts: Facts) -> Iterator[Finding]:
    """Secrets and config maps that the pods name, with the keys that they take. Values are never told."""
    yield from _external_secrets(facts)
    for kind, (by_key, whole, plural) in SOURCES.items():
        for name, keys in sorted(_needed(facts, by_key, whole).items()):
            found = facts.connection.find(facts.path(plural, name), f"read {kind} {name}")
            made = "External Secrets makes it: see its ExternalSecret" if kind == "secret" else "deploy kuberay again"
            if found is None:
                yield bad(f"{kind} {name}", "is not there, and pods wait for it", made)
                continue
            data = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
            lacking = sorted(key for key in keys if key not in data)
            empty = sorted(key for key in keys if key in data and not data[key])
            if lacking:
                yield bad(
                    f"{kind} {name}", f"lacks {', '.join(lacking)}", f"add it where the {kind} comes from. {made}"
                )
            elif empty and kind == "secret":
                yield warn(f"{kind} {name}", f"is empty for {', '.join(empty)}", "set it in the key vault")
            else:
                yield ok(f"{kind} {name}", f"has {len(keys)} of {len(keys)} keys" if keys else "is there")


def _needed(facts: Facts, by_key: str, whole: str) -> dict[str, set[str]]:
    """Name → keys, over head and bidders. What is optional is left out."""
    ray = facts.ray()
    specs = [ray["headGroupSpec"]["template"]["spec"], facts.bidder_spec()]
    needed: dict[str, set[str]] = {}
    for spec in specs:
        for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
            for one in container.get("env") or ():
                source = (one.get("valueFrom") or {}).get(by_key)
                if source and not source.get("optional"):
                    needed.setdefault(source["name"], set()).add(source["key"])
            for one in container.get("envFrom") or ():
                if one.get(whole) and not one[whole].get("optional"):
                    needed.setdefault(one[whole]["name"], set())
    return needed


def _external_secrets(facts: Facts) -> Iterator[Finding]:
    path = facts.path("externalsecrets", api="/apis/external-secrets.io/v1")
    listed = facts.connection.find(path, "list ExternalSecrets") or {}
    needed = _needed(facts, "secretKeyRef", "secretRef") if facts.service else {}
    for one in listed.get("items") or ():
        ready = condition(one.get("status") or {}, "Ready") or {}
        name = f"ExternalSecret {one['metadata']['name']}"
        makes = (one["spec"].get("target") or {}).get("name") or one["metadata"]["name"]
        judge = bad if makes in needed else warn  # what no pod waits for
        if ready.get("status") == "True":
            yield ok(name, "synced")
        else:
            remedy = "check the SecretStore's identity and that the key vault has every key that it names"
            why = ready.get("message") or ready.get("reason") or "not looked at yet"
            yield judge(name, f"not synced: {why}", remedy)


def volumes(facts: Facts) -> Iterator[Finding]:
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in facts.bidder_spec().get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    for name in sorted(claims):
        doing = f"read PersistentVolumeClaim {name}"
        found = facts.connection.find(facts.path("persistentvolumeclaims", name), doing)
        phase = (found or {}).get("status", {}).get("phase", "")
        if found is None:
            yield bad(f"volume {name}", "the claim is not there", "deploy kuberay again, and publish a model into it")
        elif phase != "Bound":
            remedy = "its storage class must offer ReadOnlyMany; where none does, take the model from the image instead"
            yield bad(f"volume {name}", f"the claim is {phase or 'new'}, not Bound", remedy)
        else:
            yield ok(f"volume {name}", "bound")


def cells(facts: Facts) -> Iterator[Finding]:
    seen = [cell_of(pod) for pod in facts.bidders()]
    low = int(facts.bidder_group()["minReplicas"])
    ready = sum(cell.ready for cell in seen)
    states = Counter(cell.state for cell in seen if not cell.ready)
    why = "; ".join(f"{number} {state}" for state, number in states.most_common(3))
    if ready < low:
        remedy = "the state says why; `campaign-express cluster logs --pod NAME`"
        yield bad("cells", f"{ready} ready, {low} are the minimum" + (f": {why}" if why else ""), remedy)
    elif ready < _wanted(facts):
        found = f"{ready} of {_wanted(facts)} ready" + (f": {why}" if why else "")
        normal = "normal while cells are added or replaced: `campaign-express cluster rollout status`"
        stuck = set(states) - {"not ready yet", "is leaving", "pending"}
        yield warn("cells", found, "the state says why; `kubectl describe pod` says more" if stuck else normal)
    else:
        yield ok("cells", f"{ready} ready")
    often = [cell for cell in seen if cell.restarts >= RESTARTS]
    if often:
        some = ", ".join(f"{cell.pod} {cell.restarts}" for cell in often[:3])
        remedy = "`campaign-express cluster logs --pod NAME --previous`; memory beyond its limit restarts a pod, too"
        yield warn(
            "restarts", f"pods that restart: {some}" + (f" and {len(often) - 3} more" if len(often) > 3 else ""), remedy
        )
    images = sorted({cell.image for cell in seen})
    if len(images) > 1:
        yield warn("images", f"cells run {' and '.join(images)}", "a roll-out is under way, or stopped half-way")


def disruption_budget(facts: Facts) -> Iterator[Finding]:
    facts.bidder_group()
    path = facts.path("poddisruptionbudgets", names.DISRUPTION_BUDGET, "/apis/policy/v1")
    found = facts.connection.find(path, "read the disruption budget")
    put_right = "`campaign-express cluster scale` puts it right"
    if found is None:
        yield bad("disruption budget", "is not there: a drain may take all cells at once", "deploy kuberay again")
        return
    kept = found["spec"].get("minAvailable")
    wanted = _wanted(facts)
    should = kept_available(wanted)
    if not isinstance(kept, int):
        why = "RayCluster has no scale subresource, so Kubernetes cannot tell 80 % of what"
        yield bad("disruption budget", f"minAvailable {kept} is not honoured: {why}", put_right)
    elif kept >= wanted > 0:
        yield bad("disruption budget", f"keeps {kept} of {wanted}: no node can be drained", put_right)
    elif kept != should:
        yield warn("disruption budget", f"keeps {kept} of {wanted}; 80 % are {should}", put_right)
    else:
        yield ok("disruption budget", f"keeps {kept} of {wanted}")


def _wanted(facts: Facts) -> int:
    assert facts.service is not None
    running = clusters(RayServiceApi(facts.connection), facts.service, facts.namespace)
    active = [one.desired for one in running if one.role == "active"]
    return active[0] if active and active[0] else int(facts.bidder_group().get("replicas") or 0)


def scaling(facts: Facts) -> Iterator[Finding]:
    """The same bounds in Serve, in the RayService's worker group and in the running cluster's."""
    facts.ray()
    assert facts.service is not None
    group, cells_ = facts.bidder_group(), cell_bounds(facts.service["spec"].get("serveConfigV2") or "")
    places = {"serveConfigV2": (cells_.low, cells_.high), "RayService": (group["minReplicas"], group["maxReplicas"])}
    for one in clusters(RayServiceApi(facts.connection), facts.service, facts.namespace):
        places[f"RayCluster {one.name}"] = (one.low, one.high)
    if len(set(places.values())) > 1:
        told = ", ".join(f"{low} to {high} in {place}" for place, (low, high) in places.items())
        remedy = f"`campaign-express cluster scale --min {cells_.low} --max {cells_.high}` makes them agree"
        yield warn("scaling", f"the bounds differ: {told}", remedy)
    elif not facts.ray().get("enableInTreeAutoscaling"):
        remedy = "set enableInTreeAutoscaling: true in rayClusterConfig"
        yield bad("scaling", "Ray's autoscaler is off: cells that are wanted get no nodes", remedy)
    else:
        yield ok("scaling", f"{cells_.low} to {cells_.high} cells, one a node")
