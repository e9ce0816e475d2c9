"""Real process trees: daemons that left their parents are found and ended, others are left alone."""

from __future__ import annotations

import subprocess
import sys

from campaign_express import descendants

# A process that adopts orphans, starts a daemon by a double fork (deaf to SIGTERM if told so), and reports.
SCRIPT = """
import os, subprocess, sys, time
from campaign_express import descendants
descendants.adopt_orphans()
deaf = "trap '' TERM;" if "deaf" in sys.argv else ""
daemon = f"(setsid bash -c \\"{deaf} while true; do sleep 0.05; done\\" > /dev/null & echo $!) "
pid = int(subprocess.run(["bash", "-c", daemon], stdout=subprocess.PIPE, check=True, close_fds=True).stdout.split()[0])
spared = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
found = descendants.living(os.getpid(), spared=[spared.pid])
assert pid in found, (pid, found)
deadline = time.monotonic() + 20
while deaf and not int(open(f"/proc/{pid}/status").read().partition("SigIgn:")[2].split()[0], 16) >> 14 & 1:  # SIGTERM
    assert time.monotonic() < deadline, "it has not closed its ears"
    time.sleep(0.01)
assert spared.pid not in found
started = time.monotonic()
descendants.end(os.getpid(), 0.3, spared=[spared.pid])
assert not os.path.exists(f"/proc/{pid}")
assert spared.poll() is None
spared.kill()
spared.wait()
print(time.monotonic() - started)
"""


def run(*arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_daemon_below_us_is_ended_and_a_spared_process_is_not() -> None:
    run()


def test_a_daemon_that_ignores_sigterm_is_killed_after_a_while() -> None:
    assert run("deaf") >= 0.3


def test_processes_of_others_are_not_seen() -> None:
    with subprocess.Popen(["sleep", "60"]) as ours:
        try:
            assert descendants.living(ours.pid) == []
        finally:
            ours.kill()
