"""A kubeconfig becomes a client of one cluster and one namespace.

Order: `--kubeconfig`, `KUBECONFIG`, `~/.kube/config`, and inside a pod its service account.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException

from campaign_express.cluster.faults import told
from campaign_express.cluster.names import NAMESPACE
from campaign_express.errors import ClusterError, ConfigError

HOME_KUBECONFIG = "~/.kube/config"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Object = dict[str, Any]

config: Any = kubernetes_config  # its functions have no types


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster, as the options say. `timeout_s`: how long one request may take."""

    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = NAMESPACE
    timeout_s: float = 30.0


class Connection:
    """One cluster. Every call raises ClusterError, with the remedy, for whatever goes wrong."""

    def __init__(self, api_client: client.ApiClient, namespace: str, timeout_s: float) -> None:
        self.client = api_client
        self.namespace = namespace
        self.timeout_s = timeout_s

    @property
    def server(self) -> str:
        return str(self.client.configuration.host)

    def get(self, path: str, doing: str, **query: str) -> Object:
        return self._ask("GET", path, doing, query)

    def find(self, path: str, doing: str, **query: str) -> Object | None:
        """As `get`; None for what is not there."""
        try:
            return self.get(path, doing, **query)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, doing: str, **query: str) -> list[Object]:
        """All objects of a list, page by page."""
        found: list[Object] = []
        more = {**query, "limit": "500"}
        while True:
            page = self.get(path, doing, **more)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            more["continue"] = token

    def post(self, path: str, body: Object, doing: str, **query: str) -> Object:
        return self._ask("POST", path, doing, query, body)

    def patch(self, path: str, body: Any, content_type: str, doing: str, **query: str) -> Object:
        return self._ask("PATCH", path, doing, query, body, content_type)

    @contextmanager
    def lines(self, path: str, doing: str, silence_s: float | None = None, **query: str) -> Iterator[Iterator[str]]:
        """The lines of a streamed answer (logs, watches) as they come. `silence_s`: how long none may come."""
        with told(doing, self.server):
            # urllib3 takes no None within a pair; a year is as good.
            answer = self._call("GET", path, query, None, JSON, (self.timeout_s, silence_s or 365 * 86_400.0))
            try:
                yield _lines(answer.response)
            finally:
                answer.response.close()  # not released: a stream that was left cannot be used again

    def _ask(
        self, method: str, path: str, doing: str, query: Mapping[str, str], body: Any = None, content_type: str = JSON
    ) -> Object:
        with told(doing, self.server):
            answer: Object = json.loads(
                self._call(method, path, query, body, content_type, self.timeout_s).response.data
            )
        return answer

    def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str, timeout: Any
    ) -> Any:
        """The answer, not read yet. Raises ApiException for any but 2xx."""
        _, url, headers, sent, _ = self.client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self.client.call_api(method, url, header_params=headers, body=sent, _request_timeout=timeout)
        if not 200 <= answer.status < 300:
            raise ApiException(http_resp=answer, body=answer.response.data.decode(errors="replace"))
        return answer


def _lines(response: Any) -> Iterator[str]:
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


@contextmanager
def connect(target: Target) -> Iterator[Connection]:
    """Raises ConfigError where there is no usable kubeconfig or no such context."""
    api_client: Any = _client(target)
    try:
        yield Connection(api_client, target.namespace, target.timeout_s)
    finally:
        api_client.close()


def _client(target: Target) -> client.ApiClient:
    configuration = client.Configuration()
    where = str(target.kubeconfig or os.environ.get("KUBECONFIG") or HOME_KUBECONFIG)
    try:
        config.load_kube_config(where, target.context or None, configuration, persist_config=False)
    except config.ConfigException as error:
        if target.kubeconfig or target.context or not _in_cluster(configuration):
            raise ConfigError("No cluster to talk to:", [_no_cluster(where, target.context, str(error))]) from None
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise ConfigError("A kubeconfig that cannot be read:", [f"{where}: {str(error).splitlines()[0]}"]) from None
    configuration.retries = False  # an operator is told at once; urllib3's own three tries hide a wrong address
    return client.ApiClient(configuration)


def _in_cluster(configuration: client.Configuration) -> bool:
    """Take the service account of the pod that we run in, if it is one."""
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        return False
    return True


def _no_cluster(where: str, context: str, said: str) -> str:
    if context and "context" in said.lower():
        known = _contexts(where)
        return f"--context {context}: {where} has no such context" + (f"; it has {', '.join(known)}" if known else "")
    if "context" in said.lower():
        return (
            f"{where}: no current context; choose one with `kubectl config use-context NAME` or name it with --context"
        )
    remedy = "get one with `az aks get-credentials` or `aws eks update-kubeconfig`, or name one with --kubeconfig"
    if not any(Path(one).expanduser().exists() for one in where.split(os.pathsep)):
        return f"there is no kubeconfig {where}; {remedy}"
    return f"{where}: {said.strip()}; {remedy}"


def _contexts(where: str) -> list[str]:
    try:
        contexts, _ = config.list_kube_config_contexts(config_file=where)
    except Exception:  # it is only for a message
        return []
    return sorted(str(context["name"]) for context in contexts)
