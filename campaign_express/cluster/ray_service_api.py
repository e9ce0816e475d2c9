"""RayServices and their RayClusters, with the method names of KubeRay's own Python client.

KubeRay's client (`clients/python-client` of its repository) is on no package registry and has classes for clusters and
jobs, none for services. This one has the methods that its `RayClusterApi` and `RayjobApi` would give a service, with
names and parameters by the same pattern and the same dicts. Where theirs logs and returns None or False, ours raises
ClusterError, which says what remedies it; only `get_*` answer None for what is not there, as theirs do. Should KubeRay
publish a `RayServiceApi`, a subclass of it that raises can take this one's place: `RayServices` is what we use.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Protocol

from kubernetes import client

from campaign_express.cluster.connection import JSON_PATCH, MERGE_PATCH, Connection, Object
from campaign_express.cluster.faults import told
from campaign_express.cluster.names import FIELD_MANAGER, NAMESPACE
from campaign_express.errors import ClusterError

GROUP = "ray.io"
VERSION = "v1"
SERVICES = "rayservices"
CLUSTERS = "rayclusters"


class RayServices(Protocol):
    """What the commands need; `RayServiceApi` is one."""

    def list_ray_services(self, k8s_namespace: str = NAMESPACE) -> list[Object]: ...
    def get_ray_service(self, name: str, k8s_namespace: str = NAMESPACE) -> Object | None: ...
    def patch_ray_service(
        self,
        name: str,
        ray_patch: Any,
        k8s_namespace: str = NAMESPACE,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object: ...
    def get_ray_cluster(self, name: str, k8s_namespace: str = NAMESPACE) -> Object | None: ...
    def patch_ray_cluster(
        self,
        name: str,
        ray_patch: Any,
        k8s_namespace: str = NAMESPACE,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object: ...


class RayServiceApi:
    """Over the client's `CustomObjectsApi`. A list is sent as a JSON patch, a dict as a merge patch."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.api: Any = client.CustomObjectsApi(connection.client)

    def list_ray_services(self, k8s_namespace: str = NAMESPACE) -> list[Object]:
        with self._told(f"list RayServices in namespace {k8s_namespace}"):
            listed = self.api.list_namespaced_custom_object(
                GROUP, VERSION, k8s_namespace, SERVICES, _request_timeout=self._connection.timeout_s
            )
        return list(listed.get("items") or ())

    def get_ray_service(self, name: str, k8s_namespace: str = NAMESPACE) -> Object | None:
        return self._get(SERVICES, "RayService", name, k8s_namespace)

    def create_ray_service(self, body: Object, k8s_namespace: str = NAMESPACE) -> Object:
        name = (body.get("metadata") or {}).get("name", "")
        with self._told(f"create RayService {name} in namespace {k8s_namespace}"):
            made: Object = self.api.create_namespaced_custom_object(
                GROUP,
                VERSION,
                k8s_namespace,
                SERVICES,
                body,
                field_manager=FIELD_MANAGER,
                _request_timeout=self._connection.timeout_s,
            )
        return made

    def delete_ray_service(self, name: str, k8s_namespace: str = NAMESPACE) -> bool:
        """Whether there was one. Its clusters and pods go with it."""
        try:
            with self._told(f"delete RayService {name} in namespace {k8s_namespace}"):
                self.api.delete_namespaced_custom_object(
                    GROUP, VERSION, k8s_namespace, SERVICES, name, _request_timeout=self._connection.timeout_s
                )
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def patch_ray_service(
        self,
        name: str,
        ray_patch: Any,
        k8s_namespace: str = NAMESPACE,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        return self._patch(SERVICES, "RayService", name, ray_patch, k8s_namespace, dry_run, manager)

    def get_ray_service_status(
        self, name: str, k8s_namespace: str = NAMESPACE, timeout: float = 60, delay_between_attempts: float = 5
    ) -> Object | None:
        """Its `status`, as soon as the operator has written one; None after `timeout` seconds without."""
        until = time.monotonic() + timeout
        while True:
            service = self.get_ray_service(name, k8s_namespace)
            if service is None or service.get("status"):
                return (service or {}).get("status")
            if time.monotonic() + delay_between_attempts > until:
                return None
            time.sleep(delay_between_attempts)

    def wait_until_ray_service_running(
        self, name: str, k8s_namespace: str = NAMESPACE, timeout: float = 60, delay_between_attempts: float = 5
    ) -> bool:
        """Whether the operator called it Ready within `timeout` seconds."""
        until = time.monotonic() + timeout
        while True:
            status = self.get_ray_service_status(name, k8s_namespace, 0) or {}
            if is_true(status, "Ready"):
                return True
            if time.monotonic() + delay_between_attempts > until:
                return False
            time.sleep(delay_between_attempts)

    def watch_ray_service(
        self, name: str, k8s_namespace: str = NAMESPACE, resource_version: str = "", timeout: float = 30
    ) -> Iterator[Object]:
        """States of the service as they come, for at most `timeout` seconds: then, or when the version is too old
        to go on from (HTTP 410), it ends. Raises ClusterError, status 404, when it is deleted.
        """
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{k8s_namespace}/{SERVICES}"
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "timeoutSeconds": str(max(1, round(timeout))),
            **({"resourceVersion": resource_version} if resource_version else {}),
        }
        doing = f"watch RayService {name} in namespace {k8s_namespace}"
        with self._connection.lines(path, doing, timeout + self._connection.timeout_s, **query) as lines:
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        return
                    raise ClusterError(f"cannot {doing}: {event['object'].get('message')}", "run it again")
                if event["type"] == "DELETED":
                    raise ClusterError(f"cannot {doing}: it was deleted", "deploy it again", 404)
                if event["type"] != "BOOKMARK":
                    yield event["object"]

    def get_ray_cluster(self, name: str, k8s_namespace: str = NAMESPACE) -> Object | None:
        return self._get(CLUSTERS, "RayCluster", name, k8s_namespace)

    def patch_ray_cluster(
        self,
        name: str,
        ray_patch: Any,
        k8s_namespace: str = NAMESPACE,
        dry_run: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        return self._patch(CLUSTERS, "RayCluster", name, ray_patch, k8s_namespace, dry_run, manager)

    def _get(self, plural: str, kind: str, name: str, namespace: str) -> Object | None:
        try:
            with self._told(f"read {kind} {name} in namespace {namespace}"):
                found: Object = self.api.get_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, name, _request_timeout=self._connection.timeout_s
                )
        except ClusterError as error:
            if error.status == 404 and "does not know this kind" not in error.message:
                return None
            raise
        return found

    def _patch(
        self, plural: str, kind: str, name: str, patch: Any, namespace: str, dry_run: bool, manager: str
    ) -> Object:
        with self._told(f"patch {kind} {name} in namespace {namespace}"):
            patched: Object = self.api.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                namespace,
                plural,
                name,
                patch,
                field_manager=manager,
                field_validation="Strict",
                _content_type=JSON_PATCH if isinstance(patch, list) else MERGE_PATCH,
                _request_timeout=self._connection.timeout_s,
                dry_run="All" if dry_run else None,
            )
        return patched

    def _told(self, doing: str) -> Any:
        return told(doing, self._connection.server)


def condition(status: Object, kind: str) -> Object | None:
    """One of `status.conditions`."""
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), None)


def is_true(status: Object, kind: str) -> bool:
    return (condition(status, kind) or {}).get("status") == "True"
