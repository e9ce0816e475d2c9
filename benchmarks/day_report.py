"""What a simulated day has shown: the promised figures, rows by campaign, and a page with charts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from benchmarks import machine
from benchmarks.day_audit import Audit
from benchmarks.day_catalog import group_of
from benchmarks.day_chaos import Chaos
from campaign_express.exchange.chart import render
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.report import Curve, Report, curves, make_report
from campaign_express.exchange.simulation import Results
from campaign_express.exchange.truth import Overspent

APART = "solo"
# figure -> (least, most) that is wanted
WANTED: dict[str, tuple[float, float]] = {
    "overspend_micros_max": (0, 0),
    "caps_exceeded": (0, 0),
    "ledger_ok": (1, 1),
    "delivery_min": (0.97, 1.0),
    "delivery_max": (0.97, 1.0),
    "pacing_error_max": (0.0, 0.05),
}


class Apart(Struct, kw_only=True):
    """The campaigns of the exchange with a single notice kind: what is lost of that, nobody can know of."""

    overspend_micros_max: int
    caps_exceeded: int
    charged_micros: int
    unheard_micros: int  # of that, of which no notice arrived


class DayReport(Struct, kw_only=True):
    """`delivery_*` and `pacing_error_max` are over evenly paced campaigns with enough supply (`even-...`)."""

    overspend_micros_max: int
    caps_exceeded: int
    ledger_ok: int
    delivery_min: float | None
    delivery_max: float | None
    pacing_error_max: float | None
    real_s: float = 0.0
    cpu_s: dict[str, float] = {}  # of the day itself, by part; agents that were killed have taken theirs along
    single_notice_kind: Apart
    campaigns_by_group: dict[str, int]
    agents_killed: int
    failed_over: bool
    problems: list[str]
    ledger_differs: list[str]
    ledger_broken: list[str]
    ledger_waited_s: float
    overspent: list[str]
    exceeded: list[str]
    machine: dict[str, object]
    treasury: dict[str, Any] = {}  # what it says of itself at the end
    report: Report
    curves: list[Curve] = []

    def missed(self) -> list[str]:
        """Names of the figures that are not as wanted."""
        return [
            name
            for name, (least, most) in WANTED.items()
            if (value := getattr(self, name)) is None or not least <= value <= most
        ]

    def facts(self) -> list[tuple[str, str]]:
        missed = self.missed()
        rows = [
            (
                name,
                f"{getattr(self, name)}  (wanted {least:g}{'' if least == most else f' to {most:g}'})"
                + ("  MISSED" if name in missed else ""),
            )
            for name, (least, most) in WANTED.items()
        ]
        rows.append(("agents killed, masters failed over", f"{self.agents_killed}, {int(self.failed_over)}"))
        solo = self.single_notice_kind
        rows.append(
            (
                "single notice kind: beyond a budget, beyond caps, unheard of charged",
                f"{solo.overspend_micros_max}, {solo.caps_exceeded}, {solo.unheard_micros} of {solo.charged_micros}",
            )
        )
        rows.append(("CPU, s", ", ".join(f"{name} {seconds:g}" for name, seconds in self.cpu_s.items())))
        return rows + self.report.facts()

    def lines(self) -> list[str]:
        told = [f"{name:<72} {value}" for name, value in self.facts()]
        told += [f"problem: {text}" for text in self.problems]
        told += [f"ledger: {text}" for text in (self.ledger_differs + self.ledger_broken)[:20]]
        told += [f"beyond a cap: {text}" for text in self.exceeded[:20]]
        return told + [f"overspent: {text}" for text in self.overspent[:20]]

    def page(self) -> str:
        return render(self.report, self.curves, self.facts())


def make(plan: Plan, results: Results, audit: Audit, chaos: Chaos) -> DayReport:
    if plan.catalog is None:
        raise ValueError("a day has a catalogue")
    report = make_report(plan, results)
    apart_accounts = {c.advertiser for c in plan.catalog.campaigns if group_of(c.id) == APART}

    def apart(over: Overspent) -> bool:
        kind, name = over.owner.split(" ", 1)
        return group_of(name) == APART if kind == "campaign" else name in apart_accounts

    over = list(results.sales.charges.overspent())
    ours = [row for row in report.campaigns if group_of(row.campaign) != APART]
    solo = [row for row in report.campaigns if group_of(row.campaign) == APART]
    judged = [row for row in ours if group_of(row.campaign) == "even"]
    deliveries = [row.delivery for row in judged if row.delivery is not None]
    errors = [row.pacing_error for row in judged if row.pacing_error is not None]
    return DayReport(
        overspend_micros_max=max((o.beyond_micros for o in over if not apart(o)), default=0),
        caps_exceeded=sum(row.caps_exceeded for row in ours),
        ledger_ok=int(audit.ok),
        delivery_min=min(deliveries, default=None),
        delivery_max=max(deliveries, default=None),
        pacing_error_max=max(errors, default=None),
        single_notice_kind=Apart(
            overspend_micros_max=max((o.beyond_micros for o in over if apart(o)), default=0),
            caps_exceeded=sum(row.caps_exceeded for row in solo),
            charged_micros=sum(row.charged_micros for row in solo),
            unheard_micros=sum(row.unheard_micros for row in solo),
        ),
        campaigns_by_group=dict(Counter(group_of(c.id) for c in plan.catalog.campaigns)),
        agents_killed=len(chaos.killed),
        failed_over=chaos.failed_over,
        problems=chaos.problems,
        ledger_differs=audit.differing,
        ledger_broken=audit.broken,
        ledger_waited_s=audit.waited_s,
        overspent=report.overspent,
        exceeded=report.exceeded,
        machine=machine.describe(),
        report=report,
        curves=curves(plan, results),
    )
