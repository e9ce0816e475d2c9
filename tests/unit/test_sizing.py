"""How long outages are outlasted: the docs say what the code computes, and that is what one gets by hand."""

from __future__ import annotations

import re

import msgspec
import pytest

from campaign_express.adapters import money_sink, spool
from campaign_express.config import Settings
from campaign_express.events import encode_event, subject
from campaign_express.sizing import (
    SPOOLED,
    Row,
    Traffic,
    decision_bytes,
    decisions_an_hour,
    main,
    money_bytes,
    money_event,
    outlasts,
    request_bytes,
    table,
)
from tests.conftest import ROOT

USUAL = Traffic()


def rows(traffic: Traffic = USUAL, **settings: int | float | bool) -> dict[str, Row]:
    return {row.setting: row for row in outlasts(Settings(**settings), traffic)}


def test_the_docs_have_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"<!-- sizing -->\n(.*?)\n<!-- /sizing -->", page, re.S)
    assert shown == table(Settings(), Traffic())
    main()
    assert shown in capsys.readouterr().out
    traffic = Traffic()
    said = (
        f"At {traffic.bids / 1e6:.0f} million bids an hour and the defaults, by {traffic.cells} cells: "
        f"{traffic.requests_a_bid:g} requests a bid, {traffic.win_rate:.0%} of bids win, {traffic.notices_a_win:g} "
        "notices a win"
    )
    assert said.replace("10%", "10 %") in page


def test_a_spool_by_hand() -> None:
    """50,000,000 bids, of which 10 % win and are told of thrice: 15,000,000 notices an hour, 937,500 a cell of 16.

    A notice takes some 440 bytes of the spool, so a cell fills 414 MB an hour, and 2^30 bytes in 2.6 hours.
    """
    event = money_event()
    record = money_sink._write_letter(money_sink._Letter(subject(event), event.id, encode_event(event)))
    size = spool._frame.size + len(record)
    assert size == money_bytes() + SPOOLED
    assert 400 < size < 480
    row = rows()["spool_max_bytes"]
    assert row.bytes_an_hour == 937_500 * size
    assert row.hours == pytest.approx(2**30 / (937_500 * size))
    assert 2.4 < (row.hours or 0) < 2.8
    assert row.for_a_day == 24 * 937_500 * size


def test_decisions_by_hand() -> None:
    """Of 100 requests 25 are bid on, all of them told; of 75 no-bids one in 5. One request in 10 is kept."""
    traffic = Traffic(bids=25, requests_a_bid=4)
    settings = Settings(no_bid_share=0.2, request_share=0.1)
    assert decisions_an_hour(traffic, settings) == pytest.approx(40 * decision_bytes() + 10 * request_bytes())
    assert decisions_an_hour(traffic, msgspec.structs.replace(settings, decision_events=False)) == 0
    assert 180 < decision_bytes() < 260
    assert 1500 < request_bytes() < 1750


def test_decisions_are_kept_for_the_shorter_of_size_and_age() -> None:
    assert rows(decision_max_bytes=0)["decision_max_bytes"].hours == 48
    assert rows(decision_max_bytes=0, decision_max_age_s=0)["decision_max_bytes"].hours is None
    by_size = rows(decision_max_age_s=0)["decision_max_bytes"].hours
    assert by_size is not None
    assert rows(decision_max_age_s=round(by_size * 3600) - 60)["decision_max_bytes"].hours == pytest.approx(
        by_size - 1 / 60, abs=0.001
    )
    assert rows(decision_max_age_s=round(by_size * 3600) + 60)["decision_max_bytes"].hours == by_size


def test_what_grows_with_what() -> None:
    usual, double = rows(), rows(Traffic(bids=100_000_000))
    for name, row in usual.items():
        assert double[name].bytes_an_hour == pytest.approx(2 * row.bytes_an_hour)
    more = rows(Traffic(cells=32))
    assert more["spool_max_bytes"].hours == pytest.approx(2 * (usual["spool_max_bytes"].hours or 0))
    assert more["decision_max_bytes"] == usual["decision_max_bytes"]
    assert usual["stream_max_bytes"].hours is None
    assert rows(stream_max_bytes=10**12)["stream_max_bytes"].hours == pytest.approx(
        10**12 / usual["stream_max_bytes"].bytes_an_hour
    )
    assert rows(decision_events=False)["decision_buffer_bytes"].hours is None
    assert rows(Traffic(win_rate=0))["spool_max_bytes"].hours is None


def test_times_and_sizes_are_readable() -> None:
    shown = table(Settings(decision_buffer_bytes=1_000_000, spool_max_bytes=200_000_000), USUAL)
    assert "| 977 KiB | 4 s |" in shown
    assert "| 191 MiB | 29 min |" in shown
    assert "| no limit | the disk |" in shown
