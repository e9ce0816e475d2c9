"""Which auctions are traced follows from their ids alone, and so does the trace that each belongs to."""

from __future__ import annotations

import ast
import subprocess
import sys

from campaign_express.tracing import is_traced, trace_id, trace_of

AUCTIONS = [f"auction-{n}" for n in range(20_000)]


def test_the_share_is_kept_and_a_smaller_one_lies_within_a_larger_one() -> None:
    tenth = {one for one in AUCTIONS if is_traced(one, 0.1)}
    assert 0.08 < len(tenth) / len(AUCTIONS) < 0.12
    assert {one for one in AUCTIONS if is_traced(one, 0.01)} <= tenth
    assert all(is_traced(one, 1.0) for one in AUCTIONS)
    assert not any(is_traced(one, 0.0) for one in AUCTIONS)


def test_ids_are_those_of_the_auction() -> None:
    assert trace_of("a") == trace_of("a") != trace_of("b")
    trace, span = trace_of("a")
    assert trace_id("a") == f"{trace:032x}"
    assert 0 < trace < 1 << 128
    assert 0 < span < 1 << 64
    assert len({trace_id(one) for one in AUCTIONS}) == len(AUCTIONS)


def imported(statement: str) -> set[str]:
    """Modules that make and send traces which a process has after this statement.

    Those of OpenTelemetry's metrics come with the client of Redis, which imports them where they are installed.
    """
    kinds = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "requests")
    program = f"{statement}; import sys; print([m for m in sys.modules if m.startswith({kinds!r})])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: set[str] = set(ast.literal_eval(ran.stdout))
    return found


def test_an_agent_never_imports_tracing_and_a_gateway_only_when_told_to() -> None:
    settings = {"notice_keys": "k:" + "07" * 32, "otlp_endpoint": "http://127.0.0.1:4318", "trace_sample": 1.0}
    agent = (
        "from campaign_express import bootstrap, config; from campaign_express.serving import agent_socket; "
        f"bootstrap.build_bidder(config.load({settings!r}, {{}}))"
    )
    assert imported(agent) == set()
    gateway = "from campaign_express import bootstrap_notices, config; "
    off = gateway + "assert bootstrap_notices.build_spans(config.load({}, {}), 'c') is None"
    assert imported(off) == set()
    on = gateway + (
        "bootstrap_notices.build_spans(config.load({'otlp_endpoint': 'http://127.0.0.1:9'}, {}), 'c').close()"
    )
    assert "opentelemetry.sdk.trace" in imported(on)
