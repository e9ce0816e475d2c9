"""One tree of errors. A no-bid is not an error (see `openrtb.nobid`).

CampaignExpressError
├── InvalidRequest      the exchange's fault: HTTP 400 or 413, gRPC INVALID_ARGUMENT; counted, not logged
├── ConfigError         the operator's fault: every problem at once, each with its key; the process does not start
│   └── PortTaken       a port is in use: names the port and its setting
├── CatalogError        a campaign file's fault: every problem at once, by campaign; the last good catalogue stays
├── ControlError        switches or paces in Redis that do not decode; what was known before stays in force
├── WarehouseError      a query that the store of events refuses; of a report: its caller's fault or ours
├── ClusterError        a Kubernetes cluster that refuses, or does not hold what is asked for; says what remedies it
│   ├── ClusterConflict changed by somebody else meanwhile, or owned by another manager: nothing was done
│   └── ClusterAway     no answer of its API server: refused, late, not found, not who it says it is
├── ModelError          a model that cannot serve: schema mismatch, provider missing under `require_accelerator`
└── Unavailable         a part is away (no agent, no broker): HTTP 503, gRPC UNAVAILABLE; logged once a change of state
"""

from __future__ import annotations

from collections.abc import Sequence


class CampaignExpressError(Exception):
    """Root. `http_status` and `grpc_status` say what a caller is told."""

    http_status = 500
    grpc_status = "INTERNAL"


class InvalidRequest(CampaignExpressError):
    """A bid request that is refused.

    `path` is a JSON path such as `$.imp[0].id`; `rule` names its row in docs/validation.md.
    """

    http_status = 400
    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, message: str, path: str = "$", rule: str = "json", http_status: int = 400) -> None:
        super().__init__(f"{message} - at `{path}`")
        self.message = message
        self.path = path
        self.rule = rule
        self.http_status = http_status


class Problems(CampaignExpressError):
    """Several problems reported at once. `problems` holds one line each: `where: what`."""

    def __init__(self, title: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join([title, *(f"  - {p}" for p in problems)]))
        self.title = title
        self.problems = tuple(problems)


class ConfigError(Problems):
    """Settings that cannot be used."""


class PortTaken(ConfigError):
    """A port is in use by another process."""


class CatalogError(Problems):
    """A catalogue that is refused; `problems` are grouped by campaign id."""

    http_status = 422
    grpc_status = "FAILED_PRECONDITION"


class ControlError(CampaignExpressError):
    """Switches or paces that do not decode."""


class WarehouseError(CampaignExpressError):
    """A query that the store of events will never answer."""


class ClusterError(CampaignExpressError):
    """A Kubernetes cluster said no. `remedy`: what the operator does about it; `status`: HTTP's, 0 without one."""

    def __init__(self, message: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
        self.status = status


class ClusterConflict(ClusterError):
    """Somebody else has changed the object, or owns `fields`: pairs of path and who."""

    def __init__(
        self, message: str, remedy: str = "", status: int = 409, fields: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, remedy, status)
        self.fields = tuple(fields)


class ClusterAway(ClusterError):
    """The API server does not answer."""


class ModelError(CampaignExpressError):
    """A model that cannot serve."""


class Unavailable(CampaignExpressError):
    """A part that is needed is away."""

    http_status = 503
    grpc_status = "UNAVAILABLE"
