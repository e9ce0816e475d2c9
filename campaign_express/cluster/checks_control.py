"""Checks of what controls the cells: Kubernetes, our rights, definitions, the operator, the RayService itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from campaign_express.cluster import names
from campaign_express.cluster.connection import Object
from campaign_express.cluster.doctor import Facts, Finding, Verdict, bad, ok, warn
from campaign_express.cluster.overview import deployments
from campaign_express.cluster.ray_service_api import condition

KUBERNETES_AT_LEAST = (1, 29)
KUBERAY_AT_LEAST = (1, 7)
RIGHTS = (
    ("patch", "ray.io", "rayservices"),
    ("patch", "ray.io", "rayclusters"),
    ("patch", "policy", "poddisruptionbudgets"),
    ("list", "", "pods"),
    ("get", "", "pods/log"),
    ("create", "", "pods/eviction"),
)
# Definition → fields of its spec that our manifests use, and that older releases drop without a word.
DEFINITIONS = {
    "rayservices.ray.io": ("rayClusterConfig.workerGroupSpecs[].resources", "upgradeStrategy"),
    "rayclusters.ray.io": ("gcsFaultToleranceOptions", "autoscalerOptions.version", "workerGroupSpecs[].resources"),
    "externalsecrets.external-secrets.io": (),
    "secretstores.external-secrets.io": (),
    "certificates.cert-manager.io": (),
}
_OPERATOR = "`helm upgrade --install kuberay-operator kuberay/kuberay-operator --version 1.7.0`"
_CRDS = {
    "ray.io": f"{_OPERATOR}; Helm does not renew CRDs that are there: apply them server-side from KubeRay's "
    "release, `kubectl apply --server-side -k github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.7.0`",
    "external-secrets.io": "install or upgrade External Secrets (v2.9), or make the secrets by hand",
    "cert-manager.io": "install or upgrade cert-manager (v1.21), or make HAProxy's certificate by hand",
}


def kubernetes(facts: Facts) -> Iterator[Finding]:
    said = str(facts.connection.get("/version", "read the version").get("gitVersion", ""))
    if numbers(said) < KUBERNETES_AT_LEAST:
        yield bad("Kubernetes", f"{said}", "upgrade the cluster: 1.29 or newer is needed")
    else:
        yield ok("Kubernetes", f"{said} at {facts.connection.server}")


def rights(facts: Facts) -> Iterator[Finding]:
    """What the commands of `cluster` need."""
    lacking = []
    for verb, group, resource in RIGHTS:
        plural, _, sub = resource.partition("/")
        attributes = {"namespace": facts.namespace, "verb": verb, "group": group, "resource": plural}
        asked: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {},
            "spec": {"resourceAttributes": {**attributes, **({"subresource": sub} if sub else {})}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        told = facts.connection.post(path, asked, "ask what this account may do")
        if not (told.get("status") or {}).get("allowed"):
            lacking.append(f"{verb} {resource}")
    if lacking:
        remedy = f"bind this account to a role with these verbs in namespace {facts.namespace} (kuberay/base/rbac.yaml)"
        yield warn("rights", f"this account may not {', '.join(lacking)}", remedy)
    else:
        yield ok("rights", "all that scale, restart and logs need")


def definitions(facts: Facts) -> Iterator[Finding]:
    for name, fields in DEFINITIONS.items():
        remedy = _CRDS[name.partition(".")[2]]
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        found = facts.connection.find(path, f"read the CRD {name}")
        judge = bad if name.endswith(".ray.io") else warn
        if found is None:
            yield judge(f"CRD {name}", "is not there", remedy)
            continue
        served = [version for version in found["spec"]["versions"] if version["served"]]
        current = next((version for version in served if version["name"] == "v1"), None)
        if current is None:
            have = ", ".join(version["name"] for version in served) or "nothing"
            yield judge(f"CRD {name}", f"serves {have}, not v1", remedy)
            continue
        spec = current["schema"]["openAPIV3Schema"]["properties"].get("spec") or {}
        lacking = [field for field in fields if not knows(spec, field)]
        if lacking:
            yield bad(f"CRD {name}", f"is older than our manifests: it drops {', '.join(lacking)}", remedy)
        else:
            yield ok(f"CRD {name}", "serves v1")


def knows(schema: Object, path: str) -> bool:
    """Whether a structural schema has a field: `a.b[].c`."""
    for part in path.split("."):
        schema = (schema.get("properties") or {}).get(part.removesuffix("[]")) or {}
        if part.endswith("[]"):
            schema = schema.get("items") or {}
    return bool(schema)


def operator(facts: Facts) -> Iterator[Finding]:
    doing = "find the KubeRay operator"
    found = facts.connection.items("/apis/apps/v1/deployments", doing, labelSelector=names.OPERATOR_SELECTOR)
    if not found:
        yield bad("KubeRay operator", "no Deployment kuberay-operator in any namespace", _OPERATOR)
    for one in found:
        where = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        image = str(one["spec"]["template"]["spec"]["containers"][0]["image"])
        tag = image.rpartition(":")[2]
        if not (one.get("status") or {}).get("availableReplicas"):
            remedy = (
                f"`kubectl -n {one['metadata']['namespace']} describe pods`: nothing is scaled or replaced meanwhile"
            )
            yield bad("KubeRay operator", f"{where} {tag} has no available pod", remedy)
        elif numbers(tag) == ():
            yield Finding("KubeRay operator", Verdict.UNKNOWN, f"{where} runs {image}: its tag is no version", "")
        elif numbers(tag) < KUBERAY_AT_LEAST:
            yield bad("KubeRay operator", f"{where} is {tag}; our manifests need 1.7", _OPERATOR)
        else:
            yield ok("KubeRay operator", f"{where} {tag}")
    if len(found) > 1:
        yield warn(
            "KubeRay operator", f"{len(found)} of them", "uninstall all but one: they overwrite each other's work"
        )


def ray_service(facts: Facts) -> Iterator[Finding]:
    if facts.service is None:
        remedy = (
            "deploy one: `campaign-express cluster deploy kuberay/overlays/production`, or give another --namespace"
        )
        yield bad("RayService", f"no {names.RAY_SERVICE} in namespace {facts.namespace}", remedy)
        return
    status = facts.service.get("status") or {}
    ready, upgrade = condition(status, "Ready") or {}, condition(status, "UpgradeInProgress") or {}
    if not status:
        yield bad("RayService", "no operator has looked at it", "see the check of the operator")
    elif ready.get("status") != "True":
        remedy = "`campaign-express cluster logs --of head`, and the states below"
        yield bad(
            "RayService", f"not ready: {ready.get('message') or ready.get('reason') or 'no reason given'}", remedy
        )
    elif upgrade.get("status") == "True":
        remedy = "`campaign-express cluster rollout status` waits for it; two clusters need two quotas meanwhile"
        yield warn("RayService", f"upgrade in progress: {upgrade.get('message', '')}", remedy)
    else:
        yield ok("RayService", f"{names.RAY_SERVICE} ready, {status.get('numServeEndpoints', 0)} Serve endpoints")
    applications = (status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}
    for one in deployments(applications):
        if one.status not in ("HEALTHY", "UPDATING", "UPSCALING", "DOWNSCALING"):
            remedy = "`campaign-express cluster logs`; a setting that is refused is named there"
            yield bad(f"Serve {one.name}", f"{one.status}: {one.message or 'no message'}", remedy)


def numbers(version: str) -> tuple[int, ...]:
    """`v1.33.4-eks-1` → (1, 33, 4); () for what is none."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part) for part in found.groups() if part) if found else ()
