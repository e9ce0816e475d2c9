"""What HAProxy, as it is deployed, adds to a request: the same open-loop load with it and without, in turns.

Behind it is the server that decides nothing (`servers/echo.py`), so that what is measured is the way alone.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from benchmarks import runs
from benchmarks.balancer import BINDS, CELL_PORTS, Balancer
from benchmarks.figures import Figure
from benchmarks.processes import free_port
from campaign_express.loadgen import run_load
from campaign_express.loadreport import LoadReport

RATE = 500.0  # requests a second: the reference's least, and half of what the limit of a source allows
ADDRESS = "127.0.0.1"
READY_S = 10.0


def measure(bench: runs.Bench) -> list[Figure]:
    """Overhead by round, in ms. Raises RuntimeError where HAProxy does not start, or a request failed."""
    bench.say(f"haproxy: what it adds at {RATE:.0f}/s")
    plan = bench.plan
    reports: dict[str, list[LoadReport]] = {"direct": [], "through": []}
    place = bench.folder / "haproxy"
    place.mkdir(exist_ok=True)
    with bench.start("echo") as running:
        direct = urlsplit(running.url)
        cell_ports = {name: direct.port or 0 if name == "http" else free_port() for name in CELL_PORTS}
        with Balancer(place, {name: free_port() for name in BINDS}, cell_ports) as balancer:
            balancer.names.addresses = [ADDRESS]
            _wait(balancer)
            urls = {"direct": running.url, "through": f"http://{ADDRESS}:{balancer.ports['http']}{direct.path}"}
            for url in urls.values():
                run_load(url, RATE, plan.warm_s, bench.bodies, plan.connections)
            for number in range(1, plan.rounds + 1):
                for name, url in urls.items():
                    report = run_load(url, RATE, plan.open_s, bench.bodies, plan.connections)
                    if report.failed:
                        raise RuntimeError(f"{name}: {report.failed} of {report.sent} failed: {report.failures}")
                    latency = f"p50 {report.latency.p50:.2f}, p99 {report.latency.p99:.2f} ms"
                    bench.say(f"round {number} haproxy {name}: {latency}")
                    reports[name].append(report)
    pairs = list(zip(reports["through"], reports["direct"], strict=True))
    return [
        Figure("haproxy_overhead_p99_ms", "ms", tuple(one.latency.p99 - other.latency.p99 for one, other in pairs)),
        Figure("haproxy_overhead_p50_ms", "ms", tuple(one.latency.p50 - other.latency.p50 for one, other in pairs)),
        Figure("haproxy_p99_ms_at_500rps", "ms", tuple(report.latency.p99 for report in reports["through"])),
    ]


def _wait(balancer: Balancer) -> None:
    give_up = time.monotonic() + READY_S
    while ADDRESS not in balancer.up("bk_campaign_express"):
        if time.monotonic() > give_up:
            raise RuntimeError(f"HAProxy takes the server for absent: {balancer.log()}")
        time.sleep(0.05)
