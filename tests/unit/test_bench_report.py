"""The benchmark's own honesty: thresholds as promised, medians, misses shown, inputs that are what they claim."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import bodies, catalog_gen, closed_loop, figures, readme, report, runs, stages, targets, workload
from benchmarks.figures import PROMISES, Bound, Figure
from benchmarks.processes import Server, command_line, descendants
from campaign_express.bidding.catalog import parse_catalog
from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import decode_request

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {
    "cpu": "some CPU",
    "cores": 2,
    "memory_gb": 8.0,
    "kernel": "6.1",
    "python": "3.11.7",
    "revision": "abc1234",
    "uncommitted_changes": False,
    "taken_at": "2026-01-01T00:00:00+00:00",
}


def kept(promise: figures.Promise) -> Figure:
    return Figure(promise.name, promise.unit, (promise.threshold,))


def missed(promise: figures.Promise) -> Figure:
    worse = promise.threshold * (0.99 if promise.bound is Bound.AT_LEAST else 1.01)
    return Figure(promise.name, promise.unit, (worse,))


def test_the_thresholds_are_those_of_the_documentation() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (≥|≤) ([\d.]+) ", (ROOT / "docs/benchmarks.md").read_text(), re.MULTILINE)
    assert {(name, bound, float(threshold)) for name, bound, threshold in rows} == {
        (promise.name, promise.bound.value, promise.threshold) for promise in PROMISES
    }
    assert len(PROMISES) == 19


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_a_promise_is_kept_at_its_threshold_and_broken_beyond(promise: figures.Promise) -> None:
    assert kept(promise).kept is True
    assert missed(promise).kept is False


def test_a_figure_is_the_median_of_its_runs_and_needs_one() -> None:
    assert Figure("x", "ms", (9.0, 1.0, 2.0)).value == 2.0
    assert Figure("x", "ms", (9.0, 1.0, 2.0)).kept is None
    with pytest.raises(ValueError, match="x has no run"):
        Figure("x", "ms", ())


def test_ratios_are_taken_round_by_round() -> None:
    found = figures.cell_ratios(
        {"cell": [4000.0, 2000.0, 3000.0], "echo": [8000.0, 2000.0, 6000.0], "other": [1, 2, 3]}
    )
    assert [(figure.name, figure.runs) for figure in found] == [("cell_over_echo", (0.5, 1.0, 0.5))]
    assert figures.cell_ratios({"echo": [1.0]}) == []
    with pytest.raises(ValueError, match="2 rounds against 1"):
        figures.ratio("cell_over_echo", [1.0, 2.0], [1.0])


def test_every_ratio_names_a_target_and_a_promise() -> None:
    assert {name for pair in figures.CELL_RATIOS.values() for name in pair} <= set(targets.BY_NAME)
    assert set(figures.CELL_RATIOS) <= set(figures.BY_NAME)


def test_the_document_holds_every_promise_by_name_and_the_runs(tmp_path: Path) -> None:
    taken = [kept(promise) for promise in PROMISES] + [Figure("echo_rps", "req/s", (15000.0, 16000.0, 17000.0))]
    content = report.document(taken, MACHINE, {"rounds": 3})
    as_json, as_page = report.write(content, tmp_path)
    read = json.loads(as_json.read_text())
    assert {promise.name: read[promise.name] for promise in PROMISES} == {p.name: p.threshold for p in PROMISES}
    assert read["passed"] is True
    assert read["complete"] is True
    assert read["figures"]["echo_rps"] == {"median": 16000.0, "unit": "req/s", "runs": [15000.0, 16000.0, 17000.0]}
    assert read["figures"]["cell_over_echo"]["threshold"] == "≥ 0.5"
    assert read["machine"]["cores"] == 2
    page = as_page.read_text()
    assert "**miss**" not in page
    assert "| `echo_rps` | 16,000 req/s | 15,000, 16,000, 17,000 |" in page


def test_a_miss_and_a_figure_not_taken_are_shown_as_such() -> None:
    content = report.document([missed(PROMISES[0]), kept(PROMISES[1])], MACHINE, {})
    assert content["passed"] is False
    assert content["complete"] is False
    page = report.markdown(content)
    assert re.search(rf"`{PROMISES[0].name}`.*\*\*miss\*\*", page)
    assert re.search(rf"`{PROMISES[1].name}`.* pass ", page)
    assert f"Not measured in this run: `{PROMISES[2].name}`" in page


def test_what_wrk_prints_is_read() -> None:
    found = closed_loop.parse_wrk("Running 8s test\nFIGURES 80000 8000000 160000000 4800 9900 3\n")
    assert found == closed_loop.ClosedLoop(10_000.0, 4.8, 9.9, 3, 2000.0)
    with pytest.raises(RuntimeError, match="unable to connect"):
        closed_loop.parse_wrk("", "unable to connect")


def test_answers_that_are_errors_or_no_bids_are_no_result(tmp_path: Path) -> None:
    bench = runs.Bench(tmp_path, runs.QUICK, [b"{}"], 2000, print)
    runs._check_load(bench, "cell", closed_loop.ClosedLoop(1.0, 1.0, 1.0, 0, 2100.0))
    with pytest.raises(RuntimeError, match="no-bids"):
        runs._check_load(bench, "cell", closed_loop.ClosedLoop(1.0, 1.0, 1.0, 0, 150.0))
    with pytest.raises(RuntimeError, match="7 requests failed"):
        runs._check_load(bench, "cell", closed_loop.ClosedLoop(1.0, 1.0, 1.0, 7, 2100.0))


def test_bodies_are_reproducible_varied_and_valid() -> None:
    made = bodies.generate(300)
    assert made[:100] == bodies.generate(100)
    assert made != bodies.generate(300, seed=1)
    assert all(bodies.SMALLEST <= len(body) <= bodies.LARGEST for body in made)
    requests = [decode_request(body) for body in made]
    assert len({request.id for request in requests}) == 300
    for of in ("site", "app", "user", "regs"):
        assert 20 < sum(getattr(request, of) is not None for request in requests) < 300, of
    for of in ("banner", "video", "native", "pmp"):
        assert 5 < sum(getattr(request.imp[0], of) is not None for request in requests) < 280, of


def test_catalogues_are_reproducible_and_such_as_the_product_accepts() -> None:
    catalog = catalog_gen.generate(200)
    assert catalog == catalog_gen.generate(200)
    assert catalog != catalog_gen.generate(200, seed=1)
    assert parse_catalog(json.loads(catalog_gen.to_json(catalog))) == catalog
    used = {
        name
        for campaign in catalog.campaigns
        for name in type(campaign.targeting).__struct_fields__
        if getattr(campaign.targeting, name) != getattr(type(campaign.targeting)(), name)
    }
    assert len(used) > 15


def test_chosen_bodies_match_20_to_50_of_1000_campaigns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NOTICE_KEYS", "bench:" + "5e" * 32)
    core = workload.bidder(workload.settings(tmp_path))
    wall_ms = 1_790_000_000_000
    chosen = workload.choose(core, 40, wall_ms)
    assert len(chosen) == 40
    assert all(20 <= workload.matched(core, body, wall_ms) <= 50 for body in chosen)


def test_every_stage_is_timed_where_it_is_called_and_put_back() -> None:
    places = [place for group in stages.STAGES.values() for place in group]
    before = [getattr(*stages._owner(place)) for place in places]
    with stages.timed() as spent:
        during = [getattr(*stages._owner(place)) for place in places]
        with pytest.raises(InvalidRequest):
            getattr(*stages._owner("campaign_express.bidder:decode_request"))(b"{")
    assert all(a is not b for a, b in zip(before, during, strict=True))
    assert before == [getattr(*stages._owner(place)) for place in places]
    assert spent["decode"] > 0


ENDS_AN_ORPHAN = """
import os, sys, time
from pathlib import Path
from benchmarks.processes import Server, become_reaper, descendants

become_reaper()
command = "import subprocess, time; subprocess.Popen(['sleep', '987'], start_new_session=True); time.sleep(987)"
with Server([sys.executable, "-c", command], {}, Path(sys.argv[1])):
    while len(descendants(os.getpid())) < 2:
        time.sleep(0.02)
    print(*descendants(os.getpid()))
print(*descendants(os.getpid()))
"""


def test_a_server_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """In a process of its own, since ending a target ends every descendant of the benchmark."""
    script = tmp_path / "bench.py"
    script.write_text(ENDS_AN_ORPHAN)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "log")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    during, after = done.stdout.split("\n")[:2]
    assert len(during.split()) == 2, done.stderr
    assert after == ""
    assert not any("sleep 987" in command_line(int(pid)) for pid in during.split())


def test_a_server_that_ends_tells_why(tmp_path: Path) -> None:
    server = Server([sys.executable, "-c", "raise SystemExit('no catalogue')"], {}, tmp_path / "log")
    with pytest.raises(RuntimeError, match="no catalogue"):  # noqa: PT012 (it takes a moment to end)
        while True:
            server.check()
            time.sleep(0.01)
    assert server.pid not in descendants(os.getpid())


def test_figures_in_the_readme_are_those_of_the_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    results = report.RESULTS / "latest.json"
    assert readme.filled(text, json.loads(results.read_text(encoding="utf-8"))) == text


def test_a_readme_without_marks_is_not_filled() -> None:
    content = {"figures": {}, "machine": {"cpu": "c", "cores": 2, "python": "3", "revision": "r"}}
    with pytest.raises(ValueError, match="marks"):
        readme.filled("no marks here", content)
