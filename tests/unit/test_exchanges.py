"""The exchanges file: good or refused with everything that is wrong with it."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bidding.exchanges import load_exchanges, parse_exchanges
from campaign_express.bidding.model import AuctionType
from campaign_express.errors import ConfigError
from campaign_express.openrtb.quirks import NAMES

EXAMPLES = Path(str(files("campaign_express").joinpath("data", "examples")))


def raw(**changes: Any) -> dict[str, Any]:
    return {"default": "generic", "exchanges": [{"name": "generic"} | changes]}


def problems(value: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_exchanges(value)
    return list(caught.value.problems)


def test_what_is_left_out_has_a_default() -> None:
    exchanges = parse_exchanges(raw())
    (exchange,) = exchanges.exchanges
    assert exchanges.default == "generic"
    assert (exchange.currency, exchange.auction, exchange.tmax) == ("USD", AuctionType.FIRST_PRICE, 100)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "a b"}, 'name: "a b": .*'),
        ({"currency": "usd"}, 'currency: "usd": .*'),
        ({"auction": "dutch"}, 'auction: "dutch" is not one of first-price, second-price'),
        ({"tmax": 0}, "tmax: 0: .*"),
        ({"curency": "EUR"}, r'curency: no such key \(did you mean "currency"\?\)'),
        ({"no_bid_status": 202}, "no_bid_status: 202 is neither 204 nor 200"),
        ({"quirks": ["shouts"]}, r'quirks\[0\]: "shouts" is not one of .*openrtb-2.5.*'),
        ({"price_macro": ""}, "price_macro: is empty.*"),
        ({"notices": ["nurl"]}, 'price_notice: "burl" is not among notices, so nothing would ever be paid'),
        ({"notices": ["burl", "burl"]}, "notices: names one twice"),
        ({"notices": ["furl"]}, r'notices\[0\]: "furl": .*'),
        ({"cattax": 10}, "cattax: 10 is not a category taxonomy.*"),
        ({"seats": {"acme": " "}}, "seats.acme: is empty"),
        ({"seats": {"acme": 4}}, "seats: .*"),
        ({"price_encryption": "rot13"}, "price_encryption: .*"),
    ],
    ids=str,
)
def test_what_is_refused(changes: dict[str, Any], expected: str) -> None:
    name = changes.get("name", "generic")
    found = [problem for problem in problems(raw(**changes)) if not problem.startswith("default:")]
    assert len(found) == 1, found
    assert re.fullmatch(f"exchange {name}: {expected}", found[0]), found


def test_everything_wrong_is_reported_at_once() -> None:
    value = {
        "default": "none",
        "exchanges": [{"name": "a", "tmax": "x"}, {"name": "a", "quirks": ["?"]}, {"qps": 1}, 5],
        "other": 1,
    }
    found = problems(value)
    assert [re.sub(': (expected|"\\?").*', "", line) for line in found] == [
        "other: no such key",
        'exchange a: tmax: "x"',
        "exchange a: quirks[0]",
        "exchange a: name: is used twice (exchanges[0] and exchanges[1])",
        "exchanges[2]: name: is missing",
        "exchanges[3]: must be an object with keys, and is 5",
        'default: "none" is not one of the exchanges',
    ]


@pytest.mark.parametrize("value", [None, [], {"exchanges": []}, {"default": "x"}, {"exchanges": [{"name": "x"}]}])
def test_what_is_no_exchanges_file(value: Any) -> None:
    assert problems(value)


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("default: a\ndefault: b\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: line 2, column 1: the key .default. is written twice"):
        load_exchanges(path)


def test_the_example_exchanges_differ() -> None:
    exchanges = load_exchanges(EXAMPLES / "exchanges.yaml").exchanges
    assert 4 <= len(exchanges) <= 8
    assert {exchange.auction for exchange in exchanges} == set(AuctionType)
    assert {exchange.no_bid_status for exchange in exchanges} == {200, 204}
    assert "EUR" in {exchange.currency for exchange in exchanges}
    assert any(exchange.approved_creatives for exchange in exchanges)
    assert any(exchange.qps for exchange in exchanges)
    assert any(exchange.price_encryption != "none" for exchange in exchanges)
    assert {quirk for exchange in exchanges for quirk in exchange.quirks} <= NAMES
