"""Spending against the ideal curve as one HTML file with inline SVG, which needs nothing to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from campaign_express.exchange.report import Curve, Report

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 210, 64, 24, 26
MOST = 60  # charts of campaigns, those furthest from their curves first

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1c2733;margin:24px;max-width:1480px}
h1{font-size:20px} table{border-collapse:collapse;margin:12px 0 20px} td{padding:2px 14px 2px 0}
td+td{text-align:right;font-variant-numeric:tabular-nums} .charts{display:flex;flex-wrap:wrap;gap:14px}
svg{border:1px solid #d8dee6;border-radius:6px;background:#fff} text{font:11px system-ui,sans-serif;fill:#51606f}
.name{font-weight:600;fill:#1c2733} .spent{fill:none;stroke:#1167b1;stroke-width:1.8}
.ideal{fill:none;stroke:#e07b00;stroke-width:1.4;stroke-dasharray:5 4} .grid{stroke:#e8ecf1;stroke-width:1}
"""


def render(report: Report, curves: list[Curve], facts: list[tuple[str, str]]) -> str:
    """The page. `facts` stand in its table; the first curve is drawn first, the others by their distance from ideal."""
    first, rest = curves[:1], sorted(curves[1:], key=_distance, reverse=True)
    table = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts)
    drawn = "".join(_chart(curve) for curve in [*first, *rest[:MOST]])
    left_out = f"<p>{len(rest) - MOST} more campaigns are nearer to their curves than these.</p>" if rest[MOST:] else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Simulated exchange</title>'
        f"<style>{_STYLE}</style></head><body><h1>Spend against the ideal curve</h1><table>{table}</table>"
        f"<p>Blue: what the exchange charged, by the time of the bid. Orange, dashed: the daily budget along the usual "
        f"traffic of the day. Times are UTC, amounts USD; seed {report.seed}.</p>"
        f'<div class="charts">{drawn}</div>{left_out}</body></html>\n'
    )


def _distance(curve: Curve) -> float:
    most = max(curve.ideal_micros, default=0)
    if not most:
        return 0.0
    return max(abs(s - i) for s, i in zip(curve.spent_micros, curve.ideal_micros, strict=True)) / most


def _chart(curve: Curve) -> str:
    most = max(1, *curve.spent_micros, *(curve.ideal_micros or [0]))
    start, end = curve.at_ms[0], max(curve.at_ms[-1], curve.at_ms[0] + 1)
    wide, high = WIDTH - LEFT - 10, HEIGHT - TOP - BOTTOM

    def x(at_ms: float) -> float:
        return round(LEFT + (at_ms - start) / (end - start) * wide, 1)

    def y(micros: float) -> float:
        return round(TOP + high - micros / most * high, 1)

    parts = []
    for quarter in range(5):
        value, at = most * quarter / 4, start + (end - start) * quarter / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(value)}" y2="{y(value)}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value / 1e6:,.2f}</text>')
        clock = f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M}"
        anchor = ("start", "middle", "middle", "middle", "end")[quarter]
        parts.append(f'<text x="{x(at)}" y="{HEIGHT - 8}" text-anchor="{anchor}">{clock}</text>')
    for name, values in (("ideal", curve.ideal_micros), ("spent", curve.spent_micros)):
        if values:
            points = " ".join(f"{x(at)},{y(value)}" for at, value in zip(curve.at_ms, values, strict=True))
            parts.append(f'<polyline class="{name}" points="{points}"/>')
    title = curve.name
    if curve.ideal_micros:
        title += f": {curve.spent_micros[-1] / max(1, curve.ideal_micros[-1]):.1%}, at most {_distance(curve):.1%} off"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text class="name" x="{LEFT}" y="15">{escape(title)}</text>{"".join(parts)}</svg>'
    )
