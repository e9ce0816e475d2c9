"""A double of a Kubernetes API server on loopback, without TLS: real HTTP, real content types, real refusals.

It validates every body against the schema that the real server uses, keeps owners of fields for server-side apply,
tells watchers, follows logs, honours disruption budgets at evictions and answers with `Status` objects as the real one
words them. What it does not do: controllers. Tests play those with `store.put`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.kube_schemas import schemas
from tests.support.kube_store import Kind, Object, Refused, Store, matches

TOKEN = "secret-token"
USER = "ops@example.com"
PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"(?:/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?)?$"
)


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    content: str
    body: Any


@dataclass
class Trouble:
    """What happens instead of an answer: an HTTP status, a `stall` in seconds, or a hook run before the real answer."""

    method: str
    path: str
    code: int = 0
    reason: str = ""
    message: str = ""
    stall_s: float = 0.0
    before: Any = None
    times: int = 1_000_000
    skip: int = 0  # so many go well first
    dry_runs: bool = True


class KubeApi:
    """Start with `with KubeApi.running(shared) as api`."""

    def __init__(self, shared: Path) -> None:
        self.store = Store(schemas(shared))
        self.requests: list[Request] = []
        self.troubles: list[Trouble] = []
        self.forbidden: set[tuple[str, str]] = set()  # verb, resource; "*" for any verb
        self.logs: dict[tuple[str, str], list[str]] = {}  # pod, container
        self.version = {"major": "1", "minor": "33", "gitVersion": "v1.33.4"}
        self.ended = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.api = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @classmethod
    @contextmanager
    def running(cls, shared: Path) -> Iterator[KubeApi]:
        api = cls(shared)
        thread = threading.Thread(target=api.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            api.ended.set()
            with api.store.changed:
                api.store.changed.notify_all()
            api.server.shutdown()
            api.server.server_close()
            thread.join()

    def kubeconfig(self, path: Path, token: str = TOKEN, server: str = "") -> Path:
        """Write one that leads here, with two contexts."""
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "production",
                    "clusters": [{"name": "c", "cluster": {"server": server or self.url}}],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [
                        {"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("production", "staging")
                    ],
                }
            )
        )
        return path

    def trouble(self, method: str, path: str, **what: Any) -> None:
        """`path`: a regular expression."""
        self.troubles.append(Trouble(method, path, **what))

    def writes(self, dry_runs: bool = False) -> list[Request]:
        """What would have changed something."""
        return [r for r in self.requests if r.method != "GET" and (dry_runs or r.query.get("dryRun") != "All")]


@dataclass
class _Where:
    kind: Kind
    namespace: str
    name: str
    sub: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    api: KubeApi


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement between head and body
    server: _Server

    def _handle(self) -> None:
        api, url = self.server.api, urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = self.headers.get("Content-Type", "")
        request = Request(self.command, unquote(url.path), query, content, json.loads(raw) if raw else None)
        api.requests.append(request)
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            self._trouble(request)
            self._route(request)
        except Refused as refused:
            self._send(refused.status["code"], refused.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle

    def _trouble(self, request: Request) -> None:
        for trouble in self.server.api.troubles:
            dry = request.query.get("dryRun") == "All"
            if trouble.method != request.method or not re.search(trouble.path, request.path) or trouble.times < 1:
                continue
            if dry and not trouble.dry_runs:
                continue
            if trouble.skip > 0:
                trouble.skip -= 1
                continue
            trouble.times -= 1
            if trouble.before:
                trouble.before()
            if trouble.stall_s:
                self.server.api.ended.wait(trouble.stall_s)
            if trouble.code:
                raise Refused(trouble.code, trouble.reason, trouble.message)

    def _route(self, request: Request) -> None:
        api = self.server.api
        if request.path == "/version":
            return self._send(200, api.version)
        found = PATH.match(request.path)
        if not found:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        group, version = found["group"] or "", found["version"]
        namespace, plural, name, sub = (found[key] or "" for key in ("namespace", "plural", "name", "sub"))
        if namespace and not plural:  # the namespace itself
            namespace, plural, name = "", "namespaces", namespace
        if not plural:
            return self._discover(group, version)
        if plural == "selfsubjectaccessreviews":
            asked = request.body["spec"]["resourceAttributes"]
            allowed = not self._is_forbidden(asked["verb"], asked["resource"])
            return self._send(201, {**request.body, "status": {"allowed": allowed}})
        kind = api.store.kind(group, version, plural)
        if kind is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        watch = request.query.get("watch") in ("true", "True")
        verb = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}.get(request.method, "")
        verb = verb or ("watch" if watch else "get" if name else "list")
        resource = f"{plural}/{sub}" if sub else plural
        if self._is_forbidden(verb, resource):
            quoted = f'"{name}" ' if name else ""
            what = f"{plural}.{group}" if group else plural
            scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            message = f'{what} {quoted}is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group '
            raise Refused(
                403, "Forbidden", f'{message}"{group}" {scope}', {"name": name, "group": group, "kind": plural}
            )
        return self._serve(request, _Where(kind, namespace, name, sub), verb)

    def _is_forbidden(self, verb: str, resource: str) -> bool:
        forbidden = self.server.api.forbidden
        return (verb, resource) in forbidden or ("*", resource) in forbidden

    def _serve(self, request: Request, where: _Where, verb: str) -> None:
        store, query = self.server.api.store, request.query
        kind, namespace, name = where.kind, where.namespace, where.name
        if where.sub == "log":
            return self._log(store.get(kind, namespace, name), query)
        if where.sub == "eviction":
            return self._evict(store.get(kind, namespace, name), query.get("dryRun") == "All")
        if verb == "list":
            items = store.list(kind, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
            return self._page(kind, items, query)
        if verb == "watch":
            return self._watch(kind, namespace, query)
        if verb == "get":
            return self._send(200, store.get(kind, namespace, name))
        if verb == "create":
            made = store.create(
                kind, namespace, request.body, query.get("fieldManager", "x"), query.get("dryRun") == "All"
            )
            return self._send(201, made)
        if verb == "patch":
            return self._send(200, store.patch(kind, namespace, name, request.body, request.content, query))
        if verb == "delete":
            return self._send(200, store.remove(kind, namespace, name))
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _discover(self, group: str, version: str) -> None:
        kinds = [k for k in self.server.api.store.kinds if (k.group, k.version) == (group, version)]
        if not kinds:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        listed = [{"name": k.plural, "kind": k.kind, "namespaced": k.namespaced, "verbs": ["get"]} for k in kinds]
        self._send(200, {"kind": "APIResourceList", "groupVersion": kinds[0].api_version, "resources": listed})

    def _page(self, kind: Kind, items: list[Object], query: dict[str, str]) -> None:
        begin, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(items)
        meta = {"resourceVersion": str(self.server.api.store.revision)}
        if begin + limit < len(items):
            meta["continue"] = str(begin + limit)
        listed = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
        self._send(200, {**listed, "items": items[begin : begin + limit]})

    def _watch(self, kind: Kind, namespace: str, query: dict[str, str]) -> None:
        store, until = self.server.api.store, time.monotonic() + float(query.get("timeoutSeconds", 60))
        since = int(query.get("resourceVersion") or 0)
        self._begin_stream("application/json")
        if since and since < store.oldest:
            status = Refused(410, "Expired", f"too old resource version: {since}").status
            return self._end_stream({"type": "ERROR", "object": status})
        if not since:
            for body in store.list(kind, namespace, "", query.get("fieldSelector", "")):
                self._chunk({"type": "ADDED", "object": body})
            since = store.revision
        while not self.server.api.ended.is_set() and time.monotonic() < until:
            with store.changed:
                news = [e for e in store.events if e[0] > since and e[2] == kind]
                if not news:
                    store.changed.wait(min(0.2, max(0.0, until - time.monotonic())))
            for revision, event, _, body in news:
                since = revision
                if namespace in ("", body["metadata"].get("namespace")) and matches(
                    body, "", query.get("fieldSelector", "")
                ):
                    self._chunk({"type": event, "object": body})
        return self._end_stream()

    def _log(self, pod: Object, query: dict[str, str]) -> None:
        containers = [c["name"] for c in pod["spec"]["containers"]]
        name = query.get("container") or containers[0]
        if name not in containers:
            raise Refused(400, "BadRequest", f"container {name} is not valid for pod {pod['metadata']['name']}")
        lines = self.server.api.logs.setdefault((pod["metadata"]["name"], name), [])
        if query.get("previous") == "true":
            message = f'previous terminated container "{name}" in pod "{pod["metadata"]["name"]}" not found'
            raise Refused(400, "BadRequest", message)
        begin = max(0, len(lines) - int(query["tailLines"])) if "tailLines" in query else 0
        self._begin_stream("text/plain")
        while True:
            for line in lines[begin:]:
                self._chunk(line + "\n")
            begin = max(begin, len(lines))
            if query.get("follow") != "true" or self.server.api.ended.wait(0.05):
                return self._end_stream()

    def _evict(self, pod: Object, dry_run: bool) -> None:
        store, meta = self.server.api.store, pod["metadata"]
        with store.changed:
            for budget in store.list(store.kind("policy", "v1", "poddisruptionbudgets"), meta["namespace"]):  # type: ignore[arg-type]
                wanted = ",".join(f"{k}={v}" for k, v in budget["spec"]["selector"]["matchLabels"].items())
                if not matches(pod, wanted, ""):
                    continue
                pods = store.list(store.kind("", "v1", "pods"), meta["namespace"], wanted)  # type: ignore[arg-type]
                ready = sum(
                    any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"]) for p in pods
                )
                if ready - 1 < budget["spec"]["minAvailable"]:
                    message = "Cannot evict pod as it would violate the pod's disruption budget."
                    raise Refused(429, "TooManyRequests", message)
            if not dry_run:
                store.remove(store.kind_of(pod), meta["namespace"], meta["name"])
        self._send(201, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _send(self, code: int, body: Any) -> None:
        payload = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _begin_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, what: Any) -> None:
        payload = (what if isinstance(what, str) else json.dumps(what) + "\n").encode()
        self.wfile.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")
        self.wfile.flush()

    def _end_stream(self, last: Any = None) -> None:
        if last is not None:
            self._chunk(last)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""
