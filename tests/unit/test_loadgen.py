"""The load generator's arithmetic and its reading of HTTP, without a network."""

from __future__ import annotations

import dataclasses

import pytest

from campaign_express.loadgen import Load, _content_length, _tmax_ns
from campaign_express.loadreport import LoadReport, Quantiles, Tally

MS = 1_000_000


def test_quantiles_are_by_nearest_rank() -> None:
    got = Quantiles.of(ms * MS for ms in range(1000, 0, -1))
    assert got == Quantiles(p50=500.0, p95=950.0, p99=990.0, p999=999.0, max=1000.0)


def test_quantiles_of_one_value_and_of_none() -> None:
    assert Quantiles.of([3 * MS]) == Quantiles(3.0, 3.0, 3.0, 3.0, 3.0)
    assert Quantiles.of([]) == Quantiles(0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("body", "tmax_ms"),
    [(b'{"id":"1","tmax":80}', 80), (b'{"id":"1"}', 120), (b"\x1f\x8b not json", 120), (b'{"tmax":"soon"}', 120)],
)
def test_lateness_is_judged_by_the_requests_own_tmax(body: bytes, tmax_ms: int) -> None:
    assert _tmax_ns(body, 120) == tmax_ms * MS


@pytest.mark.parametrize(
    ("head", "status", "length"),
    [
        (b"http/1.1 200 ok\r\ncontent-length: 12\r\nserver: x", 200, 12),
        (b"http/1.1 200 ok\r\nserver: x\r\ncontent-length:7", 200, 7),
        (b"http/1.1 204 no content\r\nserver: x", 204, 0),
        (b"http/1.1 200 ok\r\nx-content-length: 3", 200, None),
        (b"http/1.1 200 ok\r\ntransfer-encoding: chunked", 200, None),
    ],
)
def test_content_length(head: bytes, status: int, length: int | None) -> None:
    assert _content_length(head, status) == length


def test_an_answer_after_tmax_is_late_and_an_error_status_is_a_failure() -> None:
    tally = Tally()
    tally.answer(now=90 * MS, due=0, tmax=100 * MS, status=200, bid=True)
    tally.answer(now=101 * MS, due=0, tmax=100 * MS, status=204, bid=False)
    tally.answer(now=110 * MS, due=0, tmax=100 * MS, status=503, bid=False)
    assert (tally.answered, tally.bids, tally.late, dict(tally.failures)) == (2, 1, 1, {"http-503": 1})
    assert tally.latencies == [90 * MS, 101 * MS]


def report(lag_ms: float, latency_ms: float) -> LoadReport:
    return LoadReport(
        rate=10,
        duration_s=1,
        sent=12,
        answered=10,
        bids=5,
        failed=2,
        failures={"reset": 2},
        late=0,
        latency=Quantiles(1, 1, latency_ms, 1, 1),
        generator_lag=Quantiles(0, 0, lag_ms, 0, 0),
        connects=1,
        longest_gap_s=0.1,
        first_failure_s=0.2,
        last_failure_s=0.3,
    )


@pytest.mark.parametrize(
    ("lag_ms", "latency_ms", "doubtful"), [(0.5, 0.6, False), (3.0, 40.0, False), (3.0, 5.0, True)]
)
def test_a_report_that_measures_the_generator_says_so(lag_ms: float, latency_ms: float, doubtful: bool) -> None:
    found = report(lag_ms, latency_ms)
    assert found.measures_generator is doubtful
    assert any(name == "warning" for name, _ in found.rows()) is doubtful


def test_rows_name_every_kind_of_failure() -> None:
    rows = dict(report(0, 1).rows())
    assert rows["  reset"] == "2"
    assert rows["bid rate"] == "50.0%"
    assert dataclasses.asdict(report(0, 1))["latency"]["p50"] == 1


@pytest.mark.parametrize(
    ("url", "rate", "duration_s", "bodies", "churn"),
    [
        ("ftp://127.0.0.1/", 1, 1, [b"{}"], 0.0),
        ("http:///v1/bid", 1, 1, [b"{}"], 0.0),
        ("http://127.0.0.1/", 0, 1, [b"{}"], 0.0),
        ("http://127.0.0.1/", 1, 0, [b"{}"], 0.0),
        ("http://127.0.0.1/", 1, 1, [], 0.0),
        ("http://127.0.0.1/", 1, 1, [b"{}"], 1.5),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    url: str, rate: float, duration_s: float, bodies: list[bytes], churn: float
) -> None:
    with pytest.raises(ValueError, match=r"URL|above 0"):
        Load(url, rate, duration_s, bodies, churn=churn)
