"""What dashboards are made of: panels, boards, and the expressions that they share."""

from __future__ import annotations

from typing import NamedTuple

CE = "campaign_express_"


class Panel(NamedTuple):
    """`queries`: legend (with labels in {{}}) to expression."""

    title: str
    unit: str
    queries: dict[str, str]
    description: str = ""


class Board(NamedTuple):
    uid: str  # and the name of its file
    title: str
    rows: dict[str, list[Panel]]


def quantiles(metric: str, labels: str = "") -> dict[str, str]:
    rate = f"sum by (le) (rate({metric}_bucket{labels}[$__rate_interval]))"
    return {f"p{round(q * 100)}": f"histogram_quantile({q}, {rate})" for q in (0.99, 0.95, 0.5)}


def rate(metric: str, by: str = "") -> str:
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({metric}[$__rate_interval]))"


def p99_by(metric: str, label: str) -> dict[str, str]:
    buckets = f"sum by (le, {label}) (rate({metric}_bucket[$__rate_interval]))"
    return {f"{{{{{label}}}}}": f"histogram_quantile(0.99, {buckets})"}
