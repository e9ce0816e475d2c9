"""Names in the cluster that the manifests and this package agree on (a test compares those of `deploy/names.yaml`)."""

from __future__ import annotations

import re
from enum import StrEnum

NAMESPACE = "campaign-express"
RAY_SERVICE = "campaign-express"
WORKER_GROUP = "npu-bidders"
DISRUPTION_BUDGET = "campaign-express"
APPLICATION = "campaign-express"  # of serveConfigV2
DEPLOYMENT = "BidGateway"  # whose replicas are the cells
SERVICE = "campaign-express"
HEADLESS_SERVICE = "campaign-express-headless"
PORTS = {"http": 8080, "grpc": 9090, "metrics": 9091}

DEVICE_PLUGINS = re.compile(r"(npu|xdna|neuron).*device-plugin")  # names of daemon sets
# Who has set a field, as server-side apply remembers it.
FIELD_MANAGER = "campaign-express"
SCALE_MANAGER = "campaign-express-scale"
RESTART_MANAGER = "campaign-express-restart"

# Labels that KubeRay puts on its pods.
CLUSTER_LABEL = "ray.io/cluster"
NODE_TYPE_LABEL = "ray.io/node-type"
GROUP_LABEL = "ray.io/group"
OPERATOR_SELECTOR = "app.kubernetes.io/name=kuberay-operator"


class Part(StrEnum):
    """What has logs."""

    CELLS = "cells"
    HEAD = "head"
    AUTOSCALER = "autoscaler"
    OPERATOR = "operator"
