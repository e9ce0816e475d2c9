"""`python -m benchmarks.footprint`: what lives in a bidder pod beside its agents, for kuberay/footprint.yaml.

Starts `campaign-express up` with a cell of 20 agents on free ports, waits until all of them bid, and prints the
proportional memory (PSS: a page that several processes share counts once in all) of each other process that a bidder
pod has too, in MB (1,000,000 bytes). What only a head has (GCS, dashboard, Serve's controller) is left out.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.processes import STOP_S, become_reaper, descendants, free_port

AGENTS = 20
START_S = 300.0
PORTS = ("http", "grpc", "metrics", "serve", "dashboard", "embedded_redis", "embedded_nats")
# By what stands in the command line; Ray gives its workers titles of their own.
PARTS = {
    "raylet": r"raylet/raylet",  # first: its command line holds those of the agents that it starts
    "gateway": r"ServeReplica.*BidGateway",
    "serve_proxy": r"ProxyActor",
    "dashboard_agent": r"dashboard/agent\.py|DashboardAgent",
    "runtime_env_agent": r"runtime_env/agent/main\.py|RuntimeEnvAgent",
    "log_monitor": r"log_monitor\.py",
    "treasury": r"ServeReplica.*Treasury",
    "event_pipeline": r"ServeReplica.*EventPipeline",
}


def pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(kib[1]) * 1024 / 1e6 if kib else 0.0


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return json.load(answer).get("agents") == AGENTS  # type: ignore[no-any-return]
    except OSError:
        return False


def measure(root: int) -> dict[str, int]:
    """Raises RuntimeError for a part that no process, or more than one, is."""
    found: dict[str, list[int]] = {name: [] for name in PARTS}
    for pid in descendants(root):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        for name, pattern in PARTS.items():
            if re.search(pattern, line):
                found[name].append(pid)
                break
    if wrong := {name: pids for name, pids in found.items() if len(pids) != 1}:
        raise RuntimeError(f"not one process each: {wrong}")
    return {name: round(pss_mb(pid)) for name, (pid,) in found.items()}


def main() -> int:
    become_reaper()
    with tempfile.TemporaryDirectory() as data_dir:
        ports = {name: free_port() for name in PORTS}
        environ = {**os.environ, "CAMPAIGN_EXPRESS_DATA_DIR": data_dir}
        environ["CAMPAIGN_EXPRESS_AGENTS_PER_CELL"] = str(AGENTS)
        environ |= {f"CAMPAIGN_EXPRESS_{name.upper()}_PORT": str(port) for name, port in ports.items()}
        command = [str(Path(sys.executable).with_name("campaign-express")), "up"]
        with Path(data_dir, "up.log").open("wb") as log:
            up = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            give_up = time.monotonic() + START_S
            while not ready(ports["http"]):
                if up.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"it did not come up: {Path(data_dir, 'up.log').read_text()[-2000:]}")
                time.sleep(0.2)
            for name, mb in measure(up.pid).items():
                print(f"{name}: {mb}")
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(STOP_S + 30.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
