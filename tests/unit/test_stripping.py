"""A logged request holds nothing that could tell a person: every field of a request is filled in and looked for."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from campaign_express.bidding.stripping import coarse_agent, stripped
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.request import BidRequest, Deal, Imp

# Texts that are kept, by their place in a request; what is added here could be read in archives for years.
KEPT = {
    *("site.id", "site.name", "site.domain", "site.cat", "site.sectioncat", "site.pagecat", "site.keywords"),
    *("site.kwarray", "site.page"),
    *("app.id", "app.name", "app.bundle", "app.domain", "app.cat", "app.sectioncat", "app.pagecat", "app.keywords"),
    "app.kwarray",
    *("dooh.id", "dooh.name", "dooh.domain", "dooh.venuetype", "dooh.keywords", "dooh.kwarray"),
    *(
        f"{place}.{part}"
        for place in ("site", "app", "dooh")
        for part in (
            *("publisher.id", "publisher.name", "publisher.domain", "publisher.cat"),
            *("content.genre", "content.cat", "content.keywords", "content.kwarray", "content.language"),
        )
    ),
    *("device.geo.country", "device.geo.region", "device.geo.metro"),
    *("device.ua", "device.sua.browsers.brand", "device.sua.browsers.version", "device.sua.platform.brand"),
    *("device.sua.platform.version", "device.sua.architecture", "device.make", "device.os", "device.osv"),
    *("device.language", "device.langb", "device.carrier", "device.mccmnc"),
    *("user.geo.country", "user.geo.region", "user.geo.metro"),
    *(f"source.{at}schain.{part}" for at in ("", "ext.") for part in ("ver", "nodes.asi", "nodes.sid")),
    *("wseat", "bseat", "cur", "wlang", "bcat", "badv", "bapp"),
}
IMP = ("imp.",)  # of what is sold everything is kept, but for the native request, which is written anew


def filled(kind: Any, path: str, marks: dict[str, str]) -> Any:
    """A value of a type with every field given; every text is a mark of its own."""
    origin = get_origin(kind)
    if origin is Annotated:
        return filled(get_args(kind)[0], path, marks)
    if origin in (Union, types.UnionType):
        some = [one for one in get_args(kind) if one is not type(None)]
        return filled(str if str in some else some[0], path, marks)
    if origin is tuple:
        return (filled(get_args(kind)[0], path, marks),)
    if kind is str:
        marks[path] = f"mark{len(marks)}end"
        return marks[path]
    if kind in (int, float, bool):
        return kind(1)
    hints = get_type_hints(kind, include_extras=True)
    at = f"{path}." if path else ""
    return kind(**{name: filled(hint, at + name, marks) for name, hint in hints.items()})


def everything() -> tuple[BidRequest, dict[str, str]]:
    marks: dict[str, str] = {}
    return filled(BidRequest, "", marks), marks


@pytest.mark.parametrize("contextual", [False, True])
def test_no_text_survives_but_those_that_are_listed(contextual: bool) -> None:
    request, marks = everything()
    assert request.user is not None
    assert len(marks) > 100
    body = msgspec.json.encode(stripped(request, "own", contextual)).decode()
    survived = {path for path, mark in marks.items() if mark in body and not path.startswith(IMP)}
    assert survived == {path for path in KEPT if not (contextual and path.startswith("user."))}
    assert marks["imp.native.request"] not in body
    assert '"id":"own"' in body
    assert msgspec.json.decode(body, type=BidRequest).id == "own"


IDS = {
    "user": {
        "id": "USER-ID-1",
        "buyeruid": "BUYER-ID-1",
        "yob": 1971,
        "gender": "F",
        "keywords": "secret-taste",
        "consent": "CONSENT-STRING-1",
        "eids": [{"source": "s.example", "uids": [{"id": "EID-1"}]}],
        "ext": {"eids": [{"source": "s.example", "uids": [{"id": "EID-2"}]}], "consent": "CONSENT-STRING-2"},
        "data": [{"id": "DATA-1", "segment": [{"id": "SEGMENT-1", "value": "VALUE-1"}]}],
        "geo": {"city": "Smallville", "zip": "ZIP-1", "lat": 48.137154, "lon": 11.576124, "country": "DEU"},
    },
    "device": {
        "ifa": "IFA-1",
        "didsha1": "DIDSHA1-1",
        "dpidmd5": "DPIDMD5-1",
        "macsha1": "MAC-1",
        "ip": "203.0.113.77",
        "ipv6": "2001:db8:1:2:3:4:5:6",
        "model": "MODEL-1",
        "ua": "App/3.14.15 (iPhone; 8F1C2B7A-4E55-4E9C-A7B3-9D2E1F0A6C44) Build/12.345.6789",
        "geo": {"city": "Smallville", "lat": 48.137154, "lon": 11.576124, "zip": "ZIP-2"},
    },
    "source": {"tid": "TRANSACTION-1", "pchain": "PCHAIN-1"},
    "site": {
        "page": "https://news.example/users/jane-doe?email=jane@mail.example#x",
        "ref": "https://search.example/?q=embarrassing",
        "content": {"id": "CONTENT-1", "title": "TITLE-1"},
    },
    "regs": {"gpp": "GPP-STRING-1", "ext": {"gpp": "GPP-STRING-2"}},
}
SECRETS = (
    *("USER-ID", "BUYER-ID", "EID-", "IFA-", "DIDSHA1", "DPIDMD5", "MAC-", "1971", "secret-taste", "CONSENT", "GPP-"),
    *("DATA-", "SEGMENT", "VALUE", "Smallville", "ZIP-", "48.13", "11.57", "113.77", ":2:3", "MODEL", "8F1C2B7A"),
    *("345", "6789", "14.15", "TRANSACTION", "PCHAIN", "jane", "search.example", "embarrassing", "CONTENT", "TITLE"),
    "AUCTION",
)


@pytest.mark.parametrize("contextual", [False, True])
def test_no_id_of_a_person_survives(contextual: bool) -> None:
    native = {"request": '{"ver":"1.2","ext":{"id":"NATIVE-1"},"assets":[{"id":1,"title":{"len":25}}]}'}
    body = {"id": "AUCTION-1", "imp": [{"id": "1", "native": native}], **IDS}
    kept = msgspec.json.encode(stripped(decode_request(msgspec.json.encode(body)), "own", contextual)).decode()
    assert [one for one in (*SECRETS, "NATIVE-1") if one in kept] == []
    again = decode_request(kept.encode())
    assert again.device is not None
    assert again.device.geo is not None
    assert (again.device.ip, again.device.ipv6, again.device.geo.lat) == ("203.0.113.0", "2001:db8:1::", 48.1)
    assert (again.user is None) == contextual
    assert again.site is not None
    assert again.site.page == "news.example"
    assert again.imp[0].native is not None
    assert again.imp[0].native.request == '{"ver":"1.2","assets":[{"id":1,"title":{"len":25}}]}'


def test_what_is_sold_is_kept_as_it_is() -> None:
    request, _ = everything()
    (kept,) = stripped(request, "own", True).imp
    for name in Imp.__struct_fields__:
        if name != "native":
            assert getattr(kept, name) == getattr(request.imp[0], name)
    assert isinstance(kept.pmp.deals[0], Deal)  # type: ignore[union-attr, index]


def test_what_was_not_given_is_not_written() -> None:
    request = decode_request(b'{"id":"a","imp":[{"id":"1","banner":{"w":1,"h":1}}],"user":{"id":"u"}}')
    assert msgspec.json.encode(stripped(request, "k", False)) == (
        b'{"id":"k","imp":[{"id":"1","banner":{"w":1,"h":1}}],"user":{}}'
    )


@pytest.mark.parametrize(
    ("agent", "kept"),
    [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0_0 like Mac OS X) AppleWebKit/605.0.0 Version/17.0 Safari/604.0",
        ),
        ("Chrome/124.0.6367.82 Mobile", "Chrome/124.0.0.0 Mobile"),
        ("x" * 300, "x" * 256),
    ],
)
def test_an_agent_keeps_what_tells_its_kind(agent: str, kept: str) -> None:
    assert coarse_agent(agent) == kept
