"""Every row of the validation table is true: examples meet its verdict, the docs show it, real requests obey it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bootstrap import build_bidder
from campaign_express.config import Secret, Settings
from campaign_express.errors import InvalidRequest
from campaign_express.frames import BODY_GZIP, JSON, PROTOBUF, Ask
from campaign_express.openrtb.codec import body_too_large, decode_request, gunzip
from campaign_express.openrtb.native import parse_native_request
from campaign_express.openrtb.nobid import BY_INDEX, NoBidReason
from campaign_express.openrtb.protobuf import decode_request_pb
from campaign_express.openrtb.rule_examples import EXAMPLE_LIMIT, Encoding, Rule, Verdict
from campaign_express.openrtb.rules import BY_ID, RULES, markdown

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [pytest.param(rule, e, id=f"{rule.id}-{i}") for rule in RULES for i, e in enumerate(rule.examples)]


def read(rule: Rule, body: bytes) -> Any:
    if rule.encoding is Encoding.PROTOBUF:
        return decode_request_pb(body)
    if rule.id == "body-size":  # whoever reads the socket finds this out
        raise body_too_large(EXAMPLE_LIMIT)
    return decode_request(gunzip(body, EXAMPLE_LIMIT) if rule.encoding is Encoding.GZIP else body)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_example_meets_its_verdict(rule: Rule, example: Any) -> None:
    if rule.verdict is Verdict.TOLERATED:
        request = read(rule, example.body)
        assert not example.path
        natives = [imp.native for imp in request.imp if imp.native is not None]
        for native in natives:
            if rule.reason is NoBidReason.NATIVE_REQUEST:
                with pytest.raises(InvalidRequest) as caught:
                    parse_native_request(native.request)
                assert caught.value.rule == rule.id
            else:
                assert parse_native_request(native.request).assets
        return
    with pytest.raises(InvalidRequest) as caught:
        read(rule, example.body)
    assert (caught.value.rule, caught.value.path) == (rule.id, example.path)
    assert caught.value.http_status == int(rule.verdict.value)
    assert caught.value.message


def test_the_bidder_answers_each_example_as_the_table_says() -> None:
    bidder = build_bidder(Settings(notice_keys=Secret("test:" + "5a" * 32)))
    wall_ms = 1_800_000_000_000  # January 2027: the example campaigns run
    for rule, example in [(r, e) for r in RULES for e in r.examples]:
        if rule.verdict is Verdict.TOO_LARGE:
            continue  # limits are the gateway's and the settings'
        encoding = PROTOBUF if rule.encoding is Encoding.PROTOBUF else JSON
        now = time.monotonic_ns()
        ask = Ask("", now, example.body, encoding, BODY_GZIP if rule.encoding is Encoding.GZIP else 0)
        [answer] = bidder.answer([ask], now, wall_ms).answers
        told = f"{rule.id}: {example.body[:200]!r}"
        if rule.verdict is Verdict.REFUSED:
            assert answer.status == 400, told
            assert json.loads(answer.body)["error"]["rule"] == rule.id, told
        elif rule.reason is not None:
            assert BY_INDEX[answer.reason] is rule.reason, told
        else:
            assert answer.status in (200, 204), told


def test_rule_ids_are_unique_and_each_has_an_example() -> None:
    assert len(BY_ID) == len(RULES)
    assert all(rule.examples for rule in RULES)


def test_docs_show_the_table() -> None:
    page = (ROOT / "docs" / "validation.md").read_text()
    shown = page.partition("<!-- rules -->\n")[2].partition("<!-- /rules -->")[0]
    assert shown == markdown(), "run python -m campaign_express.openrtb.rules and put its output between the marks"


def test_real_requests_are_accepted(shared: Path) -> None:
    lines = (shared / "openrtb" / "requests.jsonl").read_bytes().splitlines()
    assert len(lines) == 400
    for line in lines:
        assert decode_request(line).imp


# What prebid-server (or the fixture's maker) says is wrong → the row that answers it, first match first. "id missing"
# stands before what else the same request breaks, since decoding comes before rules across fields.
ROWS = (
    (r"\.id missing|missing imp array|imp element is empty|not valid JSON", "required"),
    (r"user\.ext: wrong type|Malformed ext in regs|request is null", "type"),
    (r"no banner, video|no Banner, Video", "imp-without-media"),
    (r"duplicate imp\.id", "duplicate-imp-id"),
    (r"more than one of site|both site and dooh", "one-inventory"),
    (r"Empty id field in the deals|empty Imp array", "empty"),
    (r"negative PPI", "unread-field"),
    (r"negative", "range"),
    (r"Banner Ad Without Sizes", "banner-no-size"),
    (r"empty Native field", "native-request"),
    (r"zero hratio|zero height", "format-no-size"),
)
NATIVE_ROWS = (
    (r"missing length|mixed asset type|empty native\.request|negative height", "native-request"),
    (r"minduration|maxduration|empty protocols", "native-video-unspecified"),
    (r"[Ss]ubtype|subcontext|eventtrackers|context value", "native-unread"),
)


def row_of(why: str, rows: tuple[tuple[str, str], ...]) -> Rule:
    for pattern, rule_id in rows:
        if re.search(pattern, why):
            return BY_ID[rule_id]
    raise AssertionError(f"no row of the table for: {why}")


def place_of(rule: Rule, request: Any) -> str | None:
    """Where the request breaks a rule across fields, found the obvious way; None for rules that the decoder checks."""
    imps = (request or {}).get("imp", [])
    if rule.id == "imp-without-media":
        kinds = ("banner", "video", "audio", "native")
        return next(f"$.imp[{i}]" for i, imp in enumerate(imps) if all(imp.get(kind) is None for kind in kinds))
    if rule.id == "duplicate-imp-id":
        ids = [imp["id"] for imp in imps]
        return next(f"$.imp[{i}].id" for i, imp_id in enumerate(ids) if imp_id in ids[:i])
    if rule.id == "one-inventory":
        return [f"$.{place}" for place in ("site", "app", "dooh") if place in request][1]
    return None


def test_real_bad_requests_fall_under_the_table(shared: Path) -> None:
    count = 0
    for line in (shared / "openrtb" / "invalid.jsonl").read_text().splitlines():
        case = json.loads(line)
        body = json.dumps(case["request"]).encode()
        try:
            request = decode_request(body)
        except InvalidRequest as error:
            refused: InvalidRequest | None = error
        else:
            refused = None
        if case["class"] == "openrtb":
            rule = row_of(case["why"], ROWS)
            if rule.verdict is Verdict.TOLERATED:
                assert refused is None, case["source"]
            else:
                assert refused is not None, case["source"]
                assert refused.rule == rule.id, case["source"]
                assert refused.path == (place_of(rule, case["request"]) or refused.path)
                assert refused.path.startswith("$")
            count += 1
        elif case["class"] == "openrtb-native":
            rule = row_of(case["why"], NATIVE_ROWS)
            assert refused is None
            text = request.imp[0].native.request  # type: ignore[union-attr]
            if rule.reason is NoBidReason.NATIVE_REQUEST:
                with pytest.raises(InvalidRequest):
                    parse_native_request(text)
            else:
                assert parse_native_request(text).assets
            count += 1
        elif refused is not None:  # `edge` and `prebid-only`: to accept or to refuse is both fine
            assert refused.rule in BY_ID
    assert count == 100
