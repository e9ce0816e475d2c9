"""Logs of pods, several at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign_express.cluster import names
from campaign_express.cluster.cells import label, service_pods
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.names import Part
from campaign_express.cluster.ray_service_api import RayServiceApi
from campaign_express.cluster.scale import no_service
from campaign_express.errors import ClusterError

AUTOSCALER = "autoscaler"


@dataclass(frozen=True, slots=True)
class Source:
    """A container."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """`tail`: lines at the end; 0: all. `since_s`: seconds back; 0: from the beginning."""

    tail: int = 100
    since_s: int = 0
    follow: bool = False
    previous: bool = False


def sources(connection: Connection, part: Part, pod: str = "") -> list[Source]:
    """Containers of a part of the system, or of one pod of it. Raises ClusterError where there is none."""
    if part is Part.OPERATOR:
        found = connection.items("/api/v1/pods", "find the KubeRay operator", labelSelector=names.OPERATOR_SELECTOR)
    else:
        service = RayServiceApi(connection).get_ray_service(names.RAY_SERVICE, connection.namespace)
        if service is None:
            raise no_service(connection.namespace)
        node_type = "worker" if part is Part.CELLS else "head"
        found = [one for one in service_pods(connection, service) if label(one, names.NODE_TYPE_LABEL) == node_type]
    chosen = [one for one in found if pod in ("", one["metadata"]["name"])]
    if not chosen:
        have = ", ".join(sorted(one["metadata"]["name"] for one in found)) or "none"
        what = f"pod {pod}" if pod else "pod"
        raise ClusterError(f"there is no {what} of {part}", f"pods of {part}: {have}", 404)
    return [
        Source(one["metadata"]["namespace"], one["metadata"]["name"], _container(one, part))
        for one in sorted(chosen, key=lambda body: str(body["metadata"]["name"]))
    ]


def _container(pod: Object, part: Part) -> str:
    listed = [one["name"] for one in pod["spec"]["containers"]]
    if part is not Part.AUTOSCALER:
        return str(listed[0])  # KubeRay's own rule: the first is Ray's
    if AUTOSCALER not in listed:
        raise ClusterError(
            f"the head {pod['metadata']['name']} has no autoscaler", "set enableInTreeAutoscaling in rayClusterConfig"
        )
    return AUTOSCALER


def lines(connection: Connection, source: Source, wanted: Wanted) -> Iterator[str]:
    """Lines of one container as they come. Raises ClusterError."""
    path = f"/api/v1/namespaces/{source.namespace}/pods/{source.pod}/log"
    query = {"container": source.container}
    query |= {"tailLines": str(wanted.tail)} if wanted.tail else {}
    query |= {"sinceSeconds": str(wanted.since_s)} if wanted.since_s else {}
    query |= {"follow": "true"} if wanted.follow else {}
    query |= {"previous": "true"} if wanted.previous else {}
    with connection.lines(path, f"read the log of pod {source.pod}", None, **query) as stream:
        yield from stream


def together(connection: Connection, chosen: Sequence[Source], wanted: Wanted) -> Iterator[tuple[Source, str]]:
    """Lines of several containers as they come, until all have ended. A log that breaks off says so in its last one."""
    if not wanted.follow:  # one pod after another reads better
        for source in chosen:
            yield from ((source, line) for line in _told(connection, source, wanted))
        return
    told: queue.SimpleQueue[tuple[Source, str | None]] = queue.SimpleQueue()

    def read(source: Source) -> None:
        for line in _told(connection, source, wanted):
            told.put((source, line))
        told.put((source, None))

    for source in chosen:
        threading.Thread(target=read, args=(source,), daemon=True).start()
    reading = len(chosen)
    while reading:
        source, line = told.get()
        if line is None:
            reading -= 1
        else:
            yield source, line


def _told(connection: Connection, source: Source, wanted: Wanted) -> Iterator[str]:
    """As `lines`, with what went wrong for a last line: one pod that is gone does not hide the others."""
    try:
        yield from lines(connection, source, wanted)
    except ClusterError as error:
        yield f"({error.message})"
