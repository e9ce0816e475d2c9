"""Catalogues as text, JSON and YAML, and encoded: read, written, and there and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from campaign_express.bidding import documents
from campaign_express.bidding.catalog import (
    decode_catalog,
    dump_catalog,
    encode_catalog,
    load_catalog,
    parse_catalog,
)
from campaign_express.bidding.model import Campaign, Match, Targeting
from campaign_express.errors import CatalogError
from tests.support.raw_catalog import example, raw

# Text of files.


def load(tmp_path: Path, name: str, text: str | bytes) -> Any:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_catalog(path)


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    text = json.dumps(raw())
    assert load(tmp_path, "c.json", text) == load(tmp_path, "c.yaml", text) == load(tmp_path, "c.yml", text)
    assert load(tmp_path, "c.json", "\ufeff" + text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.yaml", "campaigns: [\nadvertisers: }", r"line 2, column 14: "),
        ("c.yaml", "a:\n  b: 1\n  b: 2", r'line 3, column 3: the key "b" is written twice'),
        ("c.yaml", "a: !!python/object/apply:os.getcwd []", r"line 1, column 4: could not determine a constructor"),
        ("c.yaml", "a: 1\n---\nb: 1", r"line 2, column 1: "),
        ("c.yaml", "? [a]\n: b", r"line 1, column 3: a key must be a plain word"),
        ("c.yaml", "a: *b", r"line 1, column 4: found undefined alias"),
        ("c.yaml", "[" * 100_000, r"line 1, column \d+: "),
        ("c.yaml", "\n".join(" " * n + "a:" for n in range(500)), r"line 33, column 33: more than 32 levels deep"),
        ("c.yaml", "a: \x00", r"is not YAML: unacceptable character"),
        ("c.yaml", b"a: 1\nb: \xff\xfe", r"line 2: is not UTF-8 text"),
        ("c.json", '{"a": 1,\n "b" 2}', r"line 2, column 6: Expecting ':' delimiter"),
        ("c.json", '{"a": 1, "a": 2}', r'the key "a" is written twice'),
        ("c.json", '{"a": NaN}', r"NaN is not JSON"),
        ("c.json", "[" * 100_000, r"is nested too deep"),
        ("c.txt", "{}", r'the name ends in ".txt"'),
    ],
    ids=str,
)
def test_text_that_is_no_document(tmp_path: Path, name: str, text: str | bytes, says: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, name, text)
    (problem,) = caught.value.problems
    assert re.match(re.escape(str(tmp_path / name)) + ": " + says, problem), problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot be read: No such file"):
        load_catalog(tmp_path / "none.yaml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("[1, 2, 3]")
    assert documents.read_document(path, 9) == [1, 2, 3]
    with pytest.raises(documents.DocumentError, match="larger than 8 bytes"):
        documents.read_document(path, 8)


def test_yaml_does_not_surprise() -> None:
    """Norway is not false, a time is not a number of minutes, a date is text as in JSON."""
    text = "{a: NO, b: 12:30, c: 2026-01-01, d: 0123, e: [yes, on, true], f: 1_000, g: ~, h: 1e3, i: .5, j: -2}"
    assert documents.parse_yaml(text) == {
        "a": "NO",
        "b": "12:30",
        "c": "2026-01-01",
        "d": 123,
        "e": ["yes", "on", True],
        "f": "1_000",
        "g": None,
        "h": 1000.0,
        "i": 0.5,
        "j": -2,
    }


def test_what_is_dumped_reads_back_equal() -> None:
    catalog = msgspec.structs.replace(example(), version=7)
    text = dump_catalog(catalog)
    assert "max_bid: 30.00" in text
    assert "&id" not in text
    assert parse_catalog(documents.parse_yaml(text)) == catalog


@pytest.mark.parametrize("micros", [1, 10, 2_500_000, 1_000_000_000_000_000 - 1, 123_456_789_012_345])
def test_amounts_survive_the_dump(micros: int) -> None:
    (campaign,) = parse_catalog(raw(goal={"type": "cpc", "bid": 1})).campaigns
    catalog = msgspec.structs.replace(
        parse_catalog(raw()), campaigns=(msgspec.structs.replace(campaign, max_bid=micros),)
    )
    again = parse_catalog(documents.parse_yaml(dump_catalog(catalog)))
    assert again.campaigns[0].max_bid == micros


def test_what_is_encoded_decodes_equal() -> None:
    catalog = msgspec.structs.replace(example(), version=7)
    assert decode_catalog(encode_catalog(catalog)) == catalog


def test_equal_rules_are_held_once() -> None:
    (campaign,) = parse_catalog(raw()).campaigns

    def wanting(number: int, **rules: Match) -> Campaign:
        return msgspec.structs.replace(campaign, id=f"c{number}", targeting=Targeting(**rules))  # type: ignore[arg-type]

    both = Match(include=("a.example", "b.example"))
    catalog = msgspec.structs.replace(
        parse_catalog(raw()),
        campaigns=(wanting(1, domain=both), wanting(2, domain=both), wanting(3, domain=Match(exclude=("a.example",)))),
    )
    again = decode_catalog(encode_catalog(catalog))
    assert again == catalog
    first, second, third = (c.targeting.domain for c in again.campaigns)
    assert first is second
    assert first.include[0] is third.exclude[0]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"campaign-express-catalogue/2\n\x80", encode_catalog(parse_catalog(raw()))[:-1]], ids=str
)
def test_what_does_not_decode(data: bytes) -> None:
    with pytest.raises(CatalogError, match="the encoded form"):
        decode_catalog(data)
