"""What goes wrong between us and an API server, as a message that names the remedy.

Kubernetes answers with a `Status` object: its `message` says what, its `reason` and `details.causes` say why. Below
HTTP there are the name that does not resolve, the port that nobody listens on, the certificate, the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3 import exceptions as http

from campaign_express.errors import ClusterAway, ClusterConflict, ClusterError


@contextmanager
def told(doing: str, server: str = "") -> Iterator[None]:
    """Within it, errors of the client become ClusterError. `doing`: `read RayService campaign-express in namespace x`.

    Raises ClusterConflict for HTTP 409 and for a JSON patch whose `test` failed, ClusterError for everything else.
    """
    try:
        yield
    except ApiException as error:
        if not error.status:  # the client wraps TLS errors so
            raise ClusterAway(
                f"cannot {doing}: {_first_line(str(error.reason))}", _UNREACHABLE.format(server=server)
            ) from None
        raise of_status(error, doing) from None
    except http.HTTPError as error:
        raise of_network(error, doing, server) from None


def of_status(error: ApiException, doing: str) -> ClusterError:
    """An answer of the API server."""
    status = _status_object(error.body)
    said = str(status.get("message") or error.reason or "").strip()
    code = int(error.status)
    causes = [cause for cause in (status.get("details") or {}).get("causes") or () if isinstance(cause, dict)]
    if code == 401:
        return ClusterError(
            f"cannot {doing}: the API server does not accept these credentials (401)",
            "sign in again (`az aks get-credentials ...`, `aws eks update-kubeconfig ...`) or give another --context",
            code,
        )
    if code == 403:
        return ClusterError(
            f"cannot {doing}: forbidden (403): {said}",
            "ask for a role that allows this verb on this resource; `kubectl auth can-i --list` shows what is allowed",
            code,
        )
    if code == 404:
        if status.get("reason") != "NotFound" or not (status.get("details") or {}).get("name"):
            return ClusterError(
                f"cannot {doing}: the cluster does not know this kind of object (404)",
                "install its CRD (for ray.io: the KubeRay operator); `campaign-express cluster doctor` says what lacks",
                code,
            )
        return ClusterError(
            f"cannot {doing}: {said} (404)",
            "check --context, --namespace and the name; `campaign-express cluster deploy` makes what is not there yet",
            code,
        )
    if code == 409:
        if causes and all(cause.get("reason") == "FieldManagerConflict" for cause in causes):
            lines = "".join(f"\n  - {cause.get('field')}: {cause.get('message')}" for cause in causes)
            return ClusterConflict(
                f"cannot {doing}: {len(causes)} of its fields were set by others (409):{lines}",
                "put these values into the manifest, or take the fields over with --force-conflicts",
                code,
                [(str(cause.get("field")), str(cause.get("message"))) for cause in causes],
            )
        return ClusterConflict(
            f"cannot {doing}: changed by somebody else meanwhile (409): {said}", "run it again", code
        )
    if code == 422 and "rejected our request due to an error in our request" in said:  # a JSON patch whose test failed
        return ClusterConflict(f"cannot {doing}: it was changed by somebody else meanwhile", "run it again", code)
    if code in (400, 422):
        lines = "".join(f"\n  - {cause.get('field')}: {cause.get('message')}" for cause in causes)
        return ClusterError(
            f"cannot {doing}: the API server refuses the object ({code}): {lines or said}",
            "mend the fields named above; a field that is unknown here may need a newer CRD",
            code,
        )
    if code == 429:
        return ClusterError(
            f"cannot {doing}: the API server allows no more for the moment (429): {said}",
            "wait and run it again; for an eviction, the disruption budget has no room until more cells are ready",
            code,
        )
    if code in (500, 502, 503, 504):
        return ClusterError(
            f"cannot {doing}: the API server has failed ({code}): {said}",
            "run it again; if it stays, look at the control plane and at admission webhooks that the message names",
            code,
        )
    return ClusterError(f"cannot {doing}: the API server answered {code}: {said}", "", code)


_UNREACHABLE = "check --context, network and VPN, and that {server} is the API server: `kubectl cluster-info`"


def of_network(error: http.HTTPError, doing: str, server: str) -> ClusterAway:
    """No answer at all."""
    cause = getattr(error, "reason", None) or error
    where = server or "the API server"
    if isinstance(cause, http.NewConnectionError) or "refused" in str(cause):
        if "resolve" in str(cause) or "Name or service" in str(cause):
            what = f"the name of {where} does not resolve"
        elif "refused" in str(cause):
            what = f"{where} refuses connections"
        else:
            what = f"no connection to {where}"
        return ClusterAway(f"cannot {doing}: {what}", _UNREACHABLE.format(server=where))
    if isinstance(cause, (http.TimeoutError, http.ConnectTimeoutError, http.ReadTimeoutError)):
        return ClusterAway(
            f"cannot {doing}: {where} did not answer in time",
            "run it again with a longer --timeout; if it stays, check network and VPN",
        )
    if isinstance(cause, http.SSLError):
        return ClusterAway(
            f"cannot {doing}: {where} does not prove who it is: {_first_line(str(cause))}",
            "renew the kubeconfig: its certificate-authority-data is not that of this server",
        )
    return ClusterAway(f"cannot {doing}: the connection to {where} broke: {_first_line(str(cause))}", "run it again")


def _status_object(body: Any) -> dict[str, Any]:
    try:
        status = json.loads(body or "{}")
    except (TypeError, ValueError):
        return {"message": str(body).strip()[:300]}
    return status if isinstance(status, dict) else {}


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
