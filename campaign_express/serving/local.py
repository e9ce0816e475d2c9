"""A Ray of our own on this machine, and `serve run` in it: what `campaign-express up` runs as a child process.

`python -m campaign_express.serving.local SERVE_CONFIG DASHBOARD_PORT`. Ray is started here, rather than by `serve run`
itself, for its dashboard's port, a small object store and no usage report. Ends cleanly on SIGINT and SIGTERM (cells
drain, then Ray goes), and with exit code 1 when the application does not come up.
"""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus
from ray.serve.scripts import cli as serve_cli

OBJECT_STORE_BYTES = 100_000_000  # the data path does not use it
POLL_S = 0.5


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _failure() -> str:
    """Why an application has failed for good, "" while none has."""
    for name, application in serve.status().applications.items():
        if application.status == ApplicationStatus.DEPLOY_FAILED:
            return f"{name}: {application.message}"
    return ""


def main(config: str, dashboard_port: int) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        ray.init(
            address="local",
            namespace="serve",
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            object_store_memory=OBJECT_STORE_BYTES,
        )
        signal.signal(signal.SIGTERM, _interrupt)  # Ray has put its own in place, which would skip the draining
        try:
            serve_cli.main(["run", "--non-blocking", config], standalone_mode=False)
            while not (failure := _failure()):
                time.sleep(POLL_S)
            print(failure, file=sys.stderr, flush=True)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
    except KeyboardInterrupt:  # while Ray was starting: it cleans up at exit
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
