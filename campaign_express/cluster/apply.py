"""Server-side apply of a set of objects: every one is tried before the first one changes.

`dryRun=All` runs validation, admission and conflicts of fields for each object without keeping it. Namespaces that the
set itself brings have to be there for that, so they are made first. Fields that were set by others (by `scale` too)
are not overwritten unless `force` says so. What `restart` has written is, and so is the `serveConfigV2` of `scale`
where the manifest bounds the cells as it did: the rest of that text was never its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from campaign_express.cluster import names
from campaign_express.cluster.connection import APPLY_PATCH, Connection, Object
from campaign_express.cluster.manifests import meta
from campaign_express.cluster.serve_text import same_ends
from campaign_express.errors import ClusterConflict, ClusterError


@dataclass(frozen=True, slots=True)
class Applied:
    """One object. `how`: `created`, `changed` or `unchanged`."""

    kind: str
    namespace: str
    name: str
    how: str


@dataclass(slots=True)
class Kinds:
    """What the cluster knows: (apiVersion, kind) → (plural, whether it lives in a namespace), asked once a group."""

    connection: Connection
    _known: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)

    def path(self, body: Object) -> tuple[str, str]:
        """Path and namespace of the object. Raises ClusterError for a kind that the cluster does not know."""
        version, kind = body["apiVersion"], body["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._known:
            listed = self.connection.find(root, f"ask for the kinds of {version}") or {}
            resources = [one for one in listed.get("resources") or () if "/" not in one["name"]]
            self._known[version] = {one["kind"]: (one["name"], one["namespaced"]) for one in resources}
        if kind not in self._known[version]:
            raise ClusterError(
                f"the cluster does not know {kind} of {version}", _INSTALL.get(version.partition("/")[0], _CRD), 404
            )
        plural, namespaced = self._known[version][kind]
        namespace = (meta(body).get("namespace") or self.connection.namespace) if namespaced else ""
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{where}/{plural}/{meta(body)['name']}", namespace


_CRD = "install its CustomResourceDefinition first"
_INSTALL = {
    "ray.io": "install the KubeRay operator first: `helm install kuberay-operator kuberay/kuberay-operator --version "
    "1.7.0`",
    "external-secrets.io": "install External Secrets first: its chart is external-secrets/external-secrets",
    "cert-manager.io": "install cert-manager first: its chart is jetstack/cert-manager",
}


def deploy(
    connection: Connection,
    objects: Sequence[Object],
    force: bool = False,
    dry_run: bool = False,
    told: Callable[[Applied], None] = lambda _: None,
) -> list[Applied]:
    """Apply them in the order given, `told` of each. Raises ClusterError with the problems of all objects together."""
    kinds = Kinds(connection)
    absent, made = {name for name in _brought(objects) if _absent(connection, name)}, set[str]()
    problems: list[ClusterError] = []
    for body in objects:
        try:
            _, namespace = kinds.path(body)
            if namespace in absent - made:
                if dry_run:
                    continue  # it cannot be tried in a namespace that is not there
                _make_namespace(connection, kinds, objects, namespace, force)
                made.add(namespace)
            _apply(connection, kinds, body, force, dry_run=True)
        except ClusterError as error:
            problems.append(error)
    if problems:
        raise _together(problems)
    done: list[Applied] = []
    for body in objects:
        path, namespace = kinds.path(body)
        before = connection.find(path, f"read {body['kind']} {meta(body)['name']}") if path else None
        try:
            after = body if dry_run and before is None else _apply(connection, kinds, body, force, dry_run)
        except ClusterError as error:
            how_far = f"{len(done)} of {len(objects)} objects were applied before; applying all again is safe"
            error.args = (f"{error}\n{how_far}",)
            raise
        one = Applied(body["kind"], namespace, meta(body)["name"], _how(before, after))
        if body["kind"] == "Namespace" and one.name in made:
            one = replace(one, how="created")  # it was, for the check of the others
        done.append(one)
        told(one)
    return done


def _how(before: Object | None, after: Object) -> str:
    if before is None:
        return "created"
    return "unchanged" if _essence(before) == _essence(after) else "changed"


def _essence(body: Object) -> Object:
    """Without what the server counts up by itself."""
    counted = ("managedFields", "resourceVersion", "generation")
    inner = {key: value for key, value in meta(body).items() if key not in counted}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": inner}


def _apply(connection: Connection, kinds: Kinds, body: Object, force: bool, dry_run: bool) -> Object:
    path, namespace = kinds.path(body)
    where = f" in namespace {namespace}" if namespace else ""
    query = {"fieldManager": names.FIELD_MANAGER, "fieldValidation": "Strict"}
    query |= {"dryRun": "All"} if dry_run else {}
    doing = f"apply {body['kind']} {meta(body)['name']}{where}"
    try:
        return connection.patch(path, body, APPLY_PATCH, doing, **query, force="true" if force else "false")
    except ClusterConflict as error:
        if not error.fields or not all(_yields(connection, path, body, *one) for one in error.fields):
            raise
        return connection.patch(path, body, APPLY_PATCH, doing, **query, force="true")


def _yields(connection: Connection, path: str, body: Object, field: str, message: str) -> bool:
    """Whether a field that others have set to another value may be taken over without asking."""
    if names.RESTART_MANAGER in message:
        return True
    if names.SCALE_MANAGER not in message or field != ".spec.serveConfigV2":
        return False
    live = connection.find(path, f"read {body['kind']} {meta(body)['name']}") or {}
    return same_ends(body["spec"]["serveConfigV2"], (live.get("spec") or {}).get("serveConfigV2") or "")


def _brought(objects: Sequence[Object]) -> set[str]:
    return {meta(body)["name"] for body in objects if body["kind"] == "Namespace"}


def _absent(connection: Connection, namespace: str) -> bool:
    return connection.find(f"/api/v1/namespaces/{namespace}", f"read namespace {namespace}") is None


def _make_namespace(
    connection: Connection, kinds: Kinds, objects: Sequence[Object], namespace: str, force: bool
) -> None:
    body = next(one for one in objects if one["kind"] == "Namespace" and meta(one)["name"] == namespace)
    _apply(connection, kinds, body, force, dry_run=False)


def _together(problems: Sequence[ClusterError]) -> ClusterError:
    """One error of all; nothing but namespaces was made."""
    if len(problems) == 1:
        return problems[0]
    lines = "\n".join(f"  - {error.message}" for error in problems)
    remedies = "; ".join(dict.fromkeys(error.remedy for error in problems if error.remedy))
    kind = ClusterConflict if all(isinstance(error, ClusterConflict) for error in problems) else ClusterError
    return kind(f"{len(problems)} objects cannot be applied, so none was:\n{lines}", remedies, problems[0].status)
