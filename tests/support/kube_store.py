"""The objects of an API server's double: versions, owners, watches, refusals. No HTTP here."""

from __future__ import annotations

import copy
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.support import kube_patches as patches
from tests.support.kube_schemas import Schemas

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = [
    Kind("", "v1", "namespaces", "Namespace", False),
    Kind("", "v1", "nodes", "Node", False),
    Kind("", "v1", "persistentvolumes", "PersistentVolume", False),
    *(
        Kind("", "v1", plural, kind)
        for plural, kind in {
            "pods": "Pod",
            "services": "Service",
            "configmaps": "ConfigMap",
            "secrets": "Secret",
            "serviceaccounts": "ServiceAccount",
            "persistentvolumeclaims": "PersistentVolumeClaim",
            "events": "Event",
        }.items()
    ),
    Kind("apps", "v1", "deployments", "Deployment"),
    Kind("apps", "v1", "daemonsets", "DaemonSet"),
    Kind("apps", "v1", "statefulsets", "StatefulSet"),
    Kind("batch", "v1", "jobs", "Job"),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    Kind("rbac.authorization.k8s.io", "v1", "roles", "Role"),
    Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    Kind("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False),
    Kind("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
]


class Refused(Exception):
    """An answer that is no success: a Kubernetes `Status`."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details or {},
            "code": code,
        }


@dataclass
class Stored:
    body: Object
    owners: dict[patches.Path, set[patches.Owner]] = field(default_factory=dict)


class Store:
    """Thread-safe. `oldest`: watches that begin before it get 410, as after a compaction."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self.kinds = list(KINDS)
        self.objects: dict[tuple[str, str, str], Stored] = {}  # plural.group, namespace, name
        self.events: list[tuple[int, str, Kind, Object]] = []
        self.changed = threading.Condition(threading.RLock())
        self.revision = 1000
        self.oldest = 0

    def kind(self, group: str, version: str, plural: str) -> Kind | None:
        return next((k for k in self.kinds if (k.group, k.version, k.plural) == (group, version, plural)), None)

    def install(self, crd: Object) -> None:
        """A CRD makes its served versions known. It is a megabyte: kept as it is, not copied."""
        spec = crd["spec"]
        for version in spec["versions"]:
            if version["served"]:
                names = spec["names"]
                self.kinds.append(
                    Kind(spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced")
                )
        self.revision += 1
        meta = {**crd["metadata"], "resourceVersion": str(self.revision), "uid": str(uuid.uuid4())}
        key = self._key(self.kind_of(crd), "", crd["metadata"]["name"])
        self.objects[key] = Stored({**crd, "metadata": meta})

    def kind_of(self, body: Object) -> Kind:
        return next(k for k in self.kinds if (k.api_version, k.kind) == (body["apiVersion"], body["kind"]))

    def put(self, body: Object, check: bool = True, owner: patches.Owner = ("setup", "Update")) -> Object:
        """For tests: make or replace an object, with its status, as a controller would."""
        kind = self.kind_of(body)
        with self.changed:
            if check:
                self._check(kind, body)
            key = self._key(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"])
            old = self.objects.get(key)
            owners = old.owners if old else {path: {owner} for path in patches.owned_leaves(body)}
            return self._save(kind, copy.deepcopy(body), owners)

    def remove(self, kind: Kind, namespace: str, name: str) -> Object:
        with self.changed:
            stored = self._stored(kind, namespace, name)
            del self.objects[self._key(kind, namespace, name)]
            self.revision += 1
            self._tell("DELETED", kind, stored.body)
            return stored.body

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        with self.changed:
            return self._shown(self._stored(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        with self.changed:
            return [
                self._shown(stored)
                for (what, where, _), stored in sorted(self.objects.items())
                if what == f"{kind.plural}.{kind.group}"
                and namespace in ("", where)
                and matches(stored.body, labels, fields)
            ]

    def create(self, kind: Kind, namespace: str, body: Object, manager: str, dry_run: bool) -> Object:
        with self.changed:
            name = body["metadata"]["name"]
            if self._key(kind, namespace, name) in self.objects:
                raise Refused(409, "AlreadyExists", f'{_resource(kind)} "{name}" already exists', _details(kind, name))
            body["metadata"].setdefault("namespace", namespace)
            self._check(kind, body)
            owners = {path: {(manager, "Update")} for path in patches.owned_leaves(body)}
            return body if dry_run else self._save(kind, body, owners)

    def patch(self, kind: Kind, namespace: str, name: str, body: Any, content: str, query: dict[str, str]) -> Object:
        """`query`: fieldManager, force, dryRun."""
        manager, dry_run = query.get("fieldManager", "unknown"), query.get("dryRun") == "All"
        with self.changed:
            if content == "application/apply-patch+yaml":
                return self._apply(kind, namespace, name, body, manager, query.get("force") == "true", dry_run)
            stored = self._stored(kind, namespace, name)
            if content == "application/json-patch+json":
                try:
                    after = patches.json_patch(stored.body, body)
                except patches.TestFailed:
                    message = "the server rejected our request due to an error in our request"
                    raise Refused(422, "Invalid", message) from None
            elif content == "application/merge-patch+json":
                after = patches.merge_patch(stored.body, body)
            else:
                raise Refused(
                    415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content}"
                )
            given = after["metadata"].get("resourceVersion")
            if given != stored.body["metadata"]["resourceVersion"]:
                message = f'Operation cannot be fulfilled on {_resource(kind)} "{name}": the object has been modified; '
                message += "please apply your changes to the latest version and try again"
                raise Refused(409, "Conflict", message, _details(kind, name))
            self._check(kind, after)
            owners = patches.updated_owners(stored.body, after, stored.owners, manager)
            return after if dry_run else self._save(kind, after, owners)

    def _apply(
        self, kind: Kind, namespace: str, name: str, body: Object, manager: str, force: bool, dry_run: bool
    ) -> Object:
        if kind.namespaced and ("namespaces.", "", namespace) not in self.objects:
            raise Refused(
                404, "NotFound", f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"}
            )
        self._check(kind, body)
        stored = self.objects.get(self._key(kind, namespace, name))
        live = stored.body if stored else {**body, "metadata": dict(body["metadata"])}
        try:
            after, owners = patches.apply(live, body, stored.owners if stored else {}, manager, force)
        except patches.Conflicts as conflicts:
            causes = [
                {
                    "reason": "FieldManagerConflict",
                    "message": f'conflict with "{who[0]}" using {kind.api_version}',
                    "field": "." + ".".join(path),
                }
                for path, who in conflicts.fields.items()
            ]
            message = f"Apply failed with {len(causes)} conflict{'s' * (len(causes) > 1)}: {causes[0]['message']}"
            raise Refused(409, "Conflict", message, {"causes": causes}) from None
        if kind.namespaced:
            after["metadata"].setdefault("namespace", namespace)
        self._check(kind, after)
        return after if dry_run else self._save(kind, after, owners)

    def _check(self, kind: Kind, body: Object) -> None:
        name = body["metadata"].get("name", "")
        causes = self.schemas.causes(body)
        unknown = [where_what for where_what in causes if "Additional properties" in where_what[1]]
        if unknown:
            fields = ", ".join(f'unknown field "{where}" ({what})' for where, what in unknown)
            message = (
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: '
            )
            raise Refused(400, "BadRequest", message + fields)
        causes += _rules(body)
        if causes:
            listed = [{"reason": "FieldValueInvalid", "message": what, "field": where} for where, what in causes]
            message = f'{kind.kind}.{kind.group} "{name}" is invalid: ' + ", ".join(f"{w}: {m}" for w, m in causes)
            raise Refused(422, "Invalid", message, {**_details(kind, name), "causes": listed})

    def _save(self, kind: Kind, body: Object, owners: dict[patches.Path, set[patches.Owner]]) -> Object:
        meta = body["metadata"]
        key = self._key(kind, meta.get("namespace", ""), meta["name"])
        old = self.objects.get(key)
        body.pop("managedFields", None)
        if old and old.body == body:
            return self._shown(old)  # no change, no new version
        self.revision += 1
        meta["resourceVersion"] = str(self.revision)
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", "2026-11-27T08:00:00Z")
        if old and kind.group == "ray.io":
            meta["generation"] = old.body["metadata"].get("generation", 1) + (old.body.get("spec") != body.get("spec"))
        else:
            meta.setdefault("generation", 1)
        self.objects[key] = Stored(body, owners)
        self._tell("MODIFIED" if old else "ADDED", kind, body)
        return self._shown(self.objects[key])

    def _tell(self, event: str, kind: Kind, body: Object) -> None:
        self.events.append((self.revision, event, kind, copy.deepcopy(body)))
        self.changed.notify_all()

    def _stored(self, kind: Kind, namespace: str, name: str) -> Stored:
        stored = self.objects.get(self._key(kind, namespace, name))
        if stored is None:
            raise Refused(404, "NotFound", f'{_resource(kind)} "{name}" not found', _details(kind, name))
        return stored

    @staticmethod
    def _key(kind: Kind, namespace: str, name: str) -> tuple[str, str, str]:
        return f"{kind.plural}.{kind.group}", namespace if kind.namespaced else "", name

    @staticmethod
    def _shown(stored: Stored) -> Object:
        return stored.body if stored.body["kind"] == "CustomResourceDefinition" else copy.deepcopy(stored.body)


def matches(body: Object, labels: str, fields: str) -> bool:
    """Equality selectors."""
    have = body["metadata"].get("labels") or {}
    for part in filter(None, labels.split(",")):
        key, _, value = part.partition("=")
        if have.get(key) != value:
            return False
    for part in filter(None, fields.split(",")):
        path, _, value = part.partition("=")
        at: Any = body
        for step in path.split("."):
            at = (at or {}).get(step)
        if str(at) != value:
            return False
    return True


def _rules(body: Object) -> list[tuple[str, str]]:
    """What neither schema says and the server or KubeRay's webhook refuses."""
    spec = body.get("spec") or {}
    if body["kind"] == "PodDisruptionBudget" and "minAvailable" in spec and "maxUnavailable" in spec:
        return [("spec", "minAvailable and maxUnavailable cannot be both set")]
    cluster = spec.get("rayClusterConfig") if body["kind"] == "RayService" else spec
    found = []
    for at, group in enumerate((cluster or {}).get("workerGroupSpecs") or ()):
        if group.get("minReplicas", 0) > group.get("maxReplicas", 0):
            found.append((f"workerGroupSpecs[{at}].minReplicas", "must not be more than maxReplicas"))
    return found


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _details(kind: Kind, name: str) -> Object:
    return {"name": name, "group": kind.group, "kind": kind.plural}
