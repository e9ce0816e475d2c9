"""A cluster with a healthy Campaign Express of 20 cells in it, for the double of the API server."""

from __future__ import annotations

import base64
from typing import Any

from tests.support.kube_api import KubeApi

NAMESPACE = "campaign-express"
CLUSTER = "campaign-express-x7k2p"
IMAGE = "registry.example.com/campaign-express:1.4.0"
NPU_LABEL = {"campaign-express.io/npu": "true"}
PARTS = {"app.kubernetes.io/name": "campaign-express"}
AT = "2026-11-28T06:00:00Z"

SERVE_CONFIG = """\
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
applications:
  - name: campaign-express
    route_prefix: /
    import_path: campaign_express.serving.builder:app
    args:
      agents_per_cell: 20
    deployments:
      - name: BidGateway
        autoscaling_config:
          min_replicas: 10  # nodes follow
          initial_replicas: 20
          max_replicas: 40
          policy:
            policy_function: "campaign_express.serving.autoscaling:hpa"
      - name: Treasury
        num_replicas: 1
"""

Object = dict[str, Any]


def pod_spec(container: str) -> Object:
    secret = {"secretKeyRef": {"name": "campaign-express-secrets", "key": "redis-url"}}
    return {
        "nodeSelector": NPU_LABEL,
        "tolerations": [{"key": "npu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": container,
                "image": IMAGE,
                "envFrom": [{"configMapRef": {"name": "campaign-express-config"}}],
                "env": [{"name": "CAMPAIGN_EXPRESS_REDIS_URL", "valueFrom": secret}],
                "ports": [
                    {"name": "http", "containerPort": 8080},
                    {"name": "grpc", "containerPort": 9090},
                    {"name": "metrics", "containerPort": 9091},
                ],
                "resources": {"limits": {"cpu": "4", "memory": "8Gi", "amd.com/xdna": "1"}},
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
            }
        ],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "campaign-express-models"}}],
    }


def cluster_spec(low: int = 10, now: int = 20, high: int = 40) -> Object:
    head = pod_spec("ray-head")
    del head["nodeSelector"], head["containers"][0]["resources"]["limits"]["amd.com/xdna"]
    return {
        "rayVersion": "2.60.0",
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": 120, "upscalingMode": "Default"},
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": {"spec": head}},
        "workerGroupSpecs": [
            {
                "groupName": "npu-bidders",
                "minReplicas": low,
                "replicas": now,
                "maxReplicas": high,
                "resources": {"npu": "20"},
                "rayStartParams": {"metrics-export-port": "8090"},
                "template": {"metadata": {"labels": PARTS}, "spec": pod_spec("ray-worker")},
            }
        ],
    }


def ray_service(serve_config: str = SERVE_CONFIG) -> Object:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "campaign-express", "namespace": NAMESPACE, "generation": 3},
        "spec": {
            "serveConfigV2": serve_config,
            "rayClusterConfig": cluster_spec(),
            "upgradeStrategy": {"type": "NewCluster"},
        },
    }


def service_status(state: str = "RUNNING", cells: str = "HEALTHY", generation: int = 3, **more: Any) -> Object:
    """`more`: fields of status beside those."""
    deployments = {"BidGateway": {"status": cells, "message": ""}, "Treasury": {"status": "HEALTHY", "message": ""}}
    application = {"status": state, "message": "", "serveDeploymentStatuses": deployments}
    return {
        "observedGeneration": generation,
        "serviceStatus": "Running",
        "numServeEndpoints": 21,
        "conditions": [
            condition("Ready", "True", "NonZeroServeEndpoints", "Number of serve endpoints is greater than 0"),
            condition("UpgradeInProgress", "False", "NoPendingCluster", "Active Ray cluster exists"),
        ],
        "activeServiceStatus": {"rayClusterName": CLUSTER, "applicationStatuses": {"campaign-express": application}},
        **more,
    }


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": AT}


def bidder(at: int, ready: bool = True) -> Object:
    return _pod(f"{CLUSTER}-npu-bidders-worker-{at:05x}", "worker", "npu-bidders", f"npu-{at:02}", ready, at)


def _pod(name: str, node_type: str, group: str, node: str, ready: bool, at: int) -> Object:
    containers = [f"ray-{node_type}"] + (["autoscaler"] if node_type == "head" else [])
    spec = pod_spec(containers[0])
    spec["containers"] += [{"name": one, "image": IMAGE} for one in containers[1:]]
    labels = {"ray.io/cluster": CLUSTER, "ray.io/node-type": node_type, "ray.io/group": group, **PARTS}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, "creationTimestamp": AT},
        "spec": {**spec, "nodeName": node},
        "status": {
            "phase": "Running",
            "podIP": f"10.1.{at // 250}.{at % 250 + 1}",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {
                    "name": one,
                    "ready": ready,
                    "restartCount": 0,
                    "image": IMAGE,
                    "imageID": "sha256:0",
                    "state": {"running": {"startedAt": AT}},
                }
                for one in containers
            ],
        },
    }


def node(at: int, npu: bool = True) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"npu-{at:02}" if npu else f"system-{at}", "labels": NPU_LABEL if npu else {}},
        "spec": {"taints": [{"key": "npu", "value": "true", "effect": "NoSchedule"}]} if npu else {},
        "status": {
            "allocatable": {"cpu": "16", "memory": "64Gi", **({"amd.com/xdna": "1"} if npu else {})},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": AT, "lastTransitionTime": AT}],
            "nodeInfo": {
                "kubeletVersion": "v1.33.4",
                **dict.fromkeys(("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"), "x"),
                **dict.fromkeys(
                    ("containerRuntimeVersion", "kubeProxyVersion", "operatingSystem", "architecture"), "x"
                ),
            },
        },
    }


def _named(api_version: str, kind: str, name: str, namespace: str = NAMESPACE, **rest: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **rest}


def service(name: str, ports: dict[str, int], namespace: str = NAMESPACE, headless: bool = False) -> list[Object]:
    """With one ready endpoint."""
    listed = [{"name": key, "port": port, "targetPort": port} for key, port in ports.items()]
    spec: Object = {"ports": listed, "selector": PARTS, **({"clusterIP": "None"} if headless else {})}
    slice_ = _named("discovery.k8s.io/v1", "EndpointSlice", f"{name}-1", namespace)
    slice_["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    slice_ |= {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}}]}
    slice_["ports"] = [{"name": key, "port": port} for key, port in ports.items()]
    return [_named("v1", "Service", name, namespace, spec=spec), slice_]


def _workload(kind: str, name: str, namespace: str, labels: dict[str, str], image: str, status: Object) -> Object:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    body = _named("apps/v1", kind, name, namespace, status=status)
    body["metadata"]["labels"] = labels
    body["spec"] = {"selector": {"matchLabels": labels}, "template": template}
    return body


CRDS = (
    "rayservices.ray.io",
    "rayclusters.ray.io",
    "externalsecrets.external-secrets.io",
    "secretstores.external-secrets.io",
    "certificates.cert-manager.io",
    "clusterissuers.cert-manager.io",
)


def operators(api: KubeApi) -> None:
    """CRDs, and the namespaces that each cluster has."""
    for name in CRDS:
        api.store.install(api.store.schemas.crds[name])
    api.store.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})


def healthy(api: KubeApi) -> KubeApi:
    """Fill it."""
    operators(api)
    for body in objects():
        api.store.put(body, check=not _CHECKED)
    _CHECKED.add(True)
    return api


_CHECKED: set[bool] = set()  # that these objects pass their schemas is found out once


def objects() -> list[Object]:
    cluster = _named("ray.io/v1", "RayCluster", CLUSTER, spec=cluster_spec())
    cluster["status"] = {
        "state": "ready",
        "desiredWorkerReplicas": 20,
        "readyWorkerReplicas": 20,
        "availableWorkerReplicas": 20,
        "minWorkerReplicas": 10,
        "maxWorkerReplicas": 40,
        "head": {"podName": f"{CLUSTER}-head", "podIP": "10.1.3.1", "serviceName": f"{CLUSTER}-head-svc"},
    }
    operator = {"app.kubernetes.io/name": "kuberay-operator"}
    up = {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    plugin = {"name": "npu-device-plugin"}
    everywhere = {
        "desiredNumberScheduled": 20,
        "numberReady": 20,
        "currentNumberScheduled": 20,
        "numberMisscheduled": 0,
    }
    budget = _named("policy/v1", "PodDisruptionBudget", "campaign-express")
    selector = {"matchLabels": {"ray.io/group": "npu-bidders"}}
    budget |= {"spec": {"minAvailable": 16, "selector": selector}}
    budget["status"] = {"currentHealthy": 20, "desiredHealthy": 16, "disruptionsAllowed": 4, "expectedPods": 20}
    config = {
        "CAMPAIGN_EXPRESS_NATS_URL": "nats://nats:4222",
        "CAMPAIGN_EXPRESS_CLICKHOUSE_URL": "clickhouse://clickhouse.campaign-express.svc:9000",
        "CAMPAIGN_EXPRESS_LOG_LEVEL": "info",
    }
    secret = {"redis-url": base64.b64encode(b"redis://:hunter2@redis-cluster:6379").decode()}
    claim: Object = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "10Gi"}}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {**ray_service(), "status": service_status()},
        cluster,
        _pod(f"{CLUSTER}-head", "head", "headgroup", "system-1", True, 750),
        *(bidder(at) for at in range(20)),
        *(node(at) for at in range(20)),
        node(1, npu=False),
        budget,
        _named("v1", "ConfigMap", "campaign-express-config", data=config),
        _named("v1", "Secret", "campaign-express-secrets", data=secret),
        _named("v1", "PersistentVolumeClaim", "campaign-express-models", spec=claim, status={"phase": "Bound"}),
        _workload("Deployment", "kuberay-operator", "kuberay-system", operator, "quay.io/kuberay/operator:v1.7.0", up),
        _workload("DaemonSet", "npu-device-plugin", NAMESPACE, plugin, "amd/xdna-plugin:1", everywhere),
        *service("campaign-express", {"http": 8080, "grpc": 9090, "metrics": 9091}),
        *service("campaign-express-headless", {"grpc": 9090}, headless=True),
        *service("nats", {"client": 4222}),
        *service("redis-cluster", {"redis": 6379}),
        *service("clickhouse", {"native": 9000, "http": 8123}),
        *service("kube-dns", {"dns": 53}, "kube-system"),
    ]
