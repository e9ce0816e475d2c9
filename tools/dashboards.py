"""Write Grafana's dashboards: `make dashboards`. A test fails when the files differ from what is made here.

One row of panels a question; expressions use recording rules where there is one. deploy/monitoring/grafana/dashboards
holds the result, which Grafana reads as it is.
"""

from __future__ import annotations

import itertools
import string
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from tools.dashboard_panels import Board, Panel
from tools.dashboard_platform import INFRASTRUCTURE, PIPELINE, RAY
from tools.dashboard_product import BIDDING, INFERENCE, MAIN, MONEY

DIRECTORY = Path(__file__).resolve().parents[1] / "deploy/monitoring/grafana/dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
HEIGHT, WIDTH = 8, 8  # of 24: three panels a line
LEGEND = (
    common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
)
TOOLTIP = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
BOARDS = (MAIN, BIDDING, MONEY, INFERENCE, PIPELINE, RAY, INFRASTRUCTURE)


def render(board: Board) -> str:
    """The dashboard as Grafana reads it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["campaign-express"])
        .timezone("utc")
        .refresh("30s")
        .time("now-6h", "now")
        .readonly()
    )
    number = itertools.count(1)
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made = made.with_panel(_panel(panel, next(number)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _panel(panel: Panel, number: int) -> timeseries.Panel:
    made = timeseries.Panel().id(number).title(panel.title).unit(panel.unit).min(0)
    made = made.datasource(SOURCE).height(HEIGHT).span(WIDTH).legend(LEGEND).tooltip(TOOLTIP)
    if panel.description:
        made = made.description(panel.description)
    for letter, (legend, expression) in zip(string.ascii_uppercase, panel.queries.items(), strict=False):
        made = made.with_target(prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter))
    return made


def main() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (DIRECTORY / f"{board.uid}.json").write_text(render(board), encoding="utf-8")


if __name__ == "__main__":
    main()
