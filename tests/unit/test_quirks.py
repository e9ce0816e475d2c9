"""Exchanges' habits, one test each, and that an exchange without any pays nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from campaign_express.errors import ConfigError
from campaign_express.openrtb.quirks import NAMES, Hooks, hooks
from campaign_express.openrtb.request import App, Banner, BidRequest, Device, Format, Imp, Video
from campaign_express.openrtb.response import Bid, BidResponse, SeatBid


def respond(*names: str, **bid: object) -> Bid:
    run = hooks(names).on_response
    assert run is not None
    before = BidResponse(id="r", seatbid=[SeatBid(bid=[Bid(id="b", impid="1", price=1.0, **bid)])])  # type: ignore[arg-type]
    return run(before).seatbid[0].bid[0]


def request(name: str, given: BidRequest) -> BidRequest:
    run = hooks([name]).on_request
    assert run is not None
    return run(given)


def test_no_quirk_no_hook() -> None:
    assert hooks([]) == Hooks(None, None)
    assert hooks(["crtype"]).on_request is None
    assert hooks(["numeric-ios-bundle"]).on_response is None


def test_an_unknown_quirk_is_named_beside_the_known() -> None:
    with pytest.raises(ConfigError, match="'crtypo'") as caught:
        hooks(["crtype", "crtypo"])
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize(
    ("sent", "meant"), [("id284882215", "284882215"), ("284882215", "284882215"), ("id.co.app", "id.co.app")]
)
def test_numeric_ios_bundle(sent: str, meant: str) -> None:
    given = BidRequest(id="r", imp=(Imp(id="1"),), app=App(bundle=sent))
    changed = request("numeric-ios-bundle", given)
    assert changed.app is not None
    assert changed.app.bundle == meant
    assert given.app is not None
    assert given.app.bundle == sent
    site = BidRequest(id="r", imp=(Imp(id="1"),))
    assert request("numeric-ios-bundle", site) is site


def test_interstitial_device_size() -> None:
    imps = (
        Imp(id="full", instl=1, banner=Banner()),
        Imp(id="sized", instl=1, banner=Banner(w=320, h=480)),
        Imp(id="formats", instl=1, banner=Banner(format=(Format(w=300, h=250),))),
        Imp(id="small", banner=Banner()),
        Imp(id="video", instl=1, video=Video()),
    )
    changed = request("interstitial-device-size", BidRequest(id="r", imp=imps, device=Device(w=390, h=844)))
    assert changed.imp[0].banner is not None
    assert changed.imp[0].banner.format == (Format(w=390, h=844),)
    assert changed.imp[1:] == imps[1:]
    unknown = BidRequest(id="r", imp=imps, device=Device(w=390))
    assert request("interstitial-device-size", unknown) is unknown


def test_crtype() -> None:
    assert respond("crtype", mtype=1, adm="<a>").ext == {"crtype": "HTML"}
    assert respond("crtype", mtype=1, adm="<a>", apis=(7, 5)).ext == {"crtype": "MRAID 2.0"}
    assert respond("crtype", mtype=2, adm='<?xml version="1.0"?><VAST version="4.1" x="y">').ext == {
        "crtype": "VAST 4.1"
    }
    assert respond("crtype", mtype=4, adm="{}", ext={"dsa": {}}).ext == {"dsa": {}, "crtype": "native"}


def test_native_wrapped() -> None:
    adm = respond("native-wrapped", mtype=4, adm='{"assets":[]}').adm
    assert json.loads(adm or "") == {"native": {"assets": []}}
    assert respond("native-wrapped", mtype=4, adm=adm).adm == adm
    assert respond("native-wrapped", mtype=1, adm="<a>").adm == "<a>"


def test_openrtb_2_5_runs_after_what_reads_the_younger_fields() -> None:
    bid = respond("crtype", "openrtb-2.5", mtype=4, adm="{}", apis=(5,), cattax=1, dur=3)
    assert (bid.mtype, bid.apis, bid.cattax, bid.dur) == (None, (), None, None)
    assert bid.ext == {"crtype": "native"}


def test_the_docs_name_every_quirk() -> None:
    section = (Path(__file__).parents[2] / "docs" / "notices.md").read_text().split("## Quirks")[1]
    assert set(re.findall(r"^\| `([a-z0-9.-]+)` \|", section, re.MULTILINE)) == NAMES
