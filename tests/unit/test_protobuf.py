"""Protobuf carries the same request as JSON, meets the same rules, and has the field numbers of the public schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from msgspec import inspect
from openrtb_strategies import requests

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import decode_request, encode_response
from campaign_express.openrtb.native import parse_native_request
from campaign_express.openrtb.proto import openrtb_pb2 as pb
from campaign_express.openrtb.protobuf import decode_request_pb, encode_request_pb, encode_response_pb
from campaign_express.openrtb.request import BidRequest
from campaign_express.openrtb.response import Bid, BidResponse, SeatBid

IMP = pb.BidRequest.Imp(id="1", banner=pb.BidRequest.Banner(w=300, h=250))


REQUEST = inspect.type_info(BidRequest)


def plain(request: BidRequest) -> Any:
    """A request as dicts without what protobuf cannot say: null and [] are "not given", podid and gpc are text."""
    return _plain(msgspec.to_builtins(request), REQUEST)


def _plain(value: Any, info: Any, name: str = "") -> Any:
    if isinstance(info, inspect.UnionType):
        info = next((t for t in info.types if not isinstance(t, inspect.NoneType)), None)
    if isinstance(info, inspect.StructType):
        out = {}
        for field in info.fields:
            item = value.get(field.encode_name, None if field.required else field.default)
            if item is None:
                item = None if field.default is inspect.NODEFAULT or field.default == () else field.default
            if item not in (None, [], ()):
                out[field.encode_name] = _plain(item, field.type, field.encode_name)
        return out
    if isinstance(info, inspect.VarTupleType):
        return [_plain(item, info.item_type) for item in value]
    return str(int(value)) if name in ("podid", "gpc") and not isinstance(value, str) else value


def assert_same(request: BidRequest) -> None:
    again = decode_request_pb(encode_request_pb(request))
    assert plain(again) == plain(request)


def test_real_requests_are_the_same_in_both_encodings(shared: Path) -> None:
    for line in (shared / "openrtb" / "requests.jsonl").read_bytes().splitlines():
        assert_same(decode_request(line))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(requests)
def test_any_request_is_the_same_in_both_encodings(request: BidRequest) -> None:
    assert_same(request)


def refusal(message: Message) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_request_pb(message.SerializeToString())
    return caught.value


@pytest.mark.parametrize(
    ("message", "rule", "path"),
    [
        (pb.BidRequest(imp=[IMP]), "required", "$.id"),
        (pb.BidRequest(id="", imp=[IMP]), "empty", "$.id"),
        (pb.BidRequest(id="r1"), "required", "$.imp"),
        (pb.BidRequest(id="r1", imp=[pb.BidRequest.Imp(id="1")]), "imp-without-media", "$.imp[0]"),
        (pb.BidRequest(id="r1", imp=[IMP, IMP]), "duplicate-imp-id", "$.imp[1].id"),
        (pb.BidRequest(id="r1", imp=[IMP], site={}, dooh={}), "one-inventory", "$.dooh"),
        (pb.BidRequest(id="r1", imp=[IMP], device={"w": -1}), "range", "$.device.w"),
        (pb.BidRequest(id="r1", imp=[IMP], device={"geo": {"lat": float("nan")}}), "range", "$.device.geo.lat"),
        (
            pb.BidRequest(id="r1", imp=[{"id": "1", "banner": {}, "bidfloor": float("inf")}]),
            "range",
            "$.imp[0].bidfloor",
        ),
        (
            pb.BidRequest(id="r1", imp=[{"id": "1", "banner": {}, "bidfloor": float("nan")}]),
            "range",
            "$.imp[0].bidfloor",
        ),
    ],
)
def test_same_rules_and_paths_as_json(message: Message, rule: str, path: str) -> None:
    error = refusal(message)
    assert (error.rule, error.path, error.http_status) == (rule, path, 400)


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05abc", b"\x0a\x01\xff", b"\x12" * 1000, b"\x1b" * 100_000])
def test_broken_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request_pb(body)
    assert caught.value.rule == "protobuf"


def test_zero_is_not_absent() -> None:
    request = decode_request_pb(pb.BidRequest(id="r1", imp=[IMP], regs={"gdpr": 0}).SerializeToString())
    assert request.regs is not None
    assert request.regs.gdpr == 0
    assert request.regs.coppa is None


def test_native_request_may_be_a_message() -> None:
    native = {"request_native": {"assets": [{"id": 1, "required": 1, "title": {"len": 90}}]}}
    request = decode_request_pb(pb.BidRequest(id="r1", imp=[{"id": "1", "native": native}]).SerializeToString())
    assert request.imp[0].native is not None
    [asset] = parse_native_request(request.imp[0].native.request).assets
    assert asset.title is not None
    assert (asset.id, asset.required, asset.title.len) == (1, True, 90)


def test_response_carries_every_field_that_json_does() -> None:
    values: dict[str, Any] = {"str": "x", "int": 3, "float": 1.25, "tuple": ("a", "b")}
    bid: dict[str, Any] = {}
    for field in inspect.type_info(Bid).fields:  # type: ignore[attr-defined]
        kind = field.type.types[0] if isinstance(field.type, inspect.UnionType) else field.type
        match kind:
            case inspect.StrType():
                bid[field.name] = values["str"]
            case inspect.IntType():
                bid[field.name] = values["int"]
            case inspect.FloatType():
                bid[field.name] = values["float"]
            case inspect.VarTupleType():
                bid[field.name] = (1, 2) if isinstance(kind.item_type, inspect.IntType) else values["tuple"]
            case inspect.DictType():
                bid[field.name] = {
                    "dsa": {"behalf": "a", "paid": "b", "adrender": 0, "transparency": [{"domain": "d"}]}
                }
    response = BidResponse("r1", [SeatBid([Bid(**bid)], seat="s", group=1)], bidid="b", cur="EUR", nbr=2)
    message = pb.BidResponse.FromString(encode_response_pb(response))
    assert _fields(message) == msgspec.json.decode(encode_response(response))


def _fields(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            found[field.name] = list(value) if field.is_repeated else value
        else:
            found[field.name] = [_fields(item) for item in value] if field.is_repeated else _fields(value)
    return found


def test_message_has_the_structs_fields_and_no_other() -> None:
    def check(descriptor: Any, info: Any, path: str) -> None:
        if isinstance(info, inspect.UnionType):
            info = next(t for t in info.types if not isinstance(t, inspect.NoneType))
        if isinstance(info, inspect.VarTupleType | inspect.ListType):
            info = info.item_type
        if not isinstance(info, inspect.StructType):
            return
        sent = {field.name: field for field in descriptor.fields if field.name != "request_native"}
        read = {field.name: field for field in info.fields}
        assert set(sent) == set(read), path
        for name, field in sent.items():
            check(field.message_type, read[name].type, f"{path}.{name}")

    check(pb.BidRequest.DESCRIPTOR, inspect.type_info(BidRequest), "request")
    check(pb.BidResponse.DESCRIPTOR, inspect.type_info(BidResponse), "response")


# Numbers looked up in IAB Tech Lab's openrtb.proto (see openrtb.proto), one or more of each message.
PUBLIC_NUMBERS = {
    "BidRequest": {
        "id": 1,
        "imp": 2,
        "site": 3,
        "app": 4,
        "device": 5,
        "user": 6,
        "regs": 14,
        "dooh": 22,
        "cattax": 21,
    },
    "BidRequest.Imp": {"banner": 2, "video": 3, "audio": 15, "native": 13, "pmp": 11, "bidfloor": 8, "qty": 20},
    "BidRequest.Banner": {"w": 1, "h": 2, "format": 15, "battr": 6},
    "BidRequest.Video": {"mimes": 1, "protocols": 21, "plcmt": 35, "rqddurs": 32, "podid": 30},
    "BidRequest.Audio": {"mimes": 1, "rqddurs": 26, "podid": 27, "mincpmpersec": 30},
    "BidRequest.Native": {"request": 1, "request_native": 50},
    "BidRequest.Deal": {"id": 1, "bidfloor": 2, "at": 6, "wadomain": 5},
    "BidRequest.Site": {"domain": 3, "publisher": 11, "kwarray": 18, "cattax": 16},
    "BidRequest.App": {"bundle": 8, "storeurl": 16, "kwarray": 19, "cattax": 17},
    "BidRequest.Device": {"ua": 2, "ip": 3, "geo": 4, "ifa": 20, "lmt": 23, "sua": 31, "ext": 99},
    "BidRequest.User": {"buyeruid": 2, "data": 8, "consent": 10, "eids": 11, "ext": 99},
    "BidRequest.Regs": {"coppa": 1, "gpp": 2, "gpp_sid": 3, "gdpr": 4, "us_privacy": 5, "ext": 99},
    "BidRequest.SupplyChain": {"complete": 1, "nodes": 2, "ver": 3},
    "BidResponse": {"id": 1, "seatbid": 2, "bidid": 3, "cur": 4, "nbr": 6},
    "BidResponse.Bid": {"price": 3, "adm": 6, "nurl": 5, "burl": 22, "cattax": 30, "apis": 31, "dur": 32, "mtype": 33},
}


@pytest.mark.parametrize("name", PUBLIC_NUMBERS)
def test_field_numbers_are_the_public_ones(name: str) -> None:
    descriptor = pb.DESCRIPTOR.pool.FindMessageTypeByName(f"campaign_express.openrtb.v2.{name}")
    assert {n: descriptor.fields_by_name[n].number for n in PUBLIC_NUMBERS[name]} == PUBLIC_NUMBERS[name]


def test_generated_modules_are_those_of_the_schema(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    root = Path(__file__).resolve().parents[2]
    schema = "campaign_express/openrtb/proto/openrtb.proto"
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", f"-I{root}", *out, str(root / schema)]) == 0
    for made in (tmp_path / schema).parent.iterdir():
        assert made.read_text() == (root / schema).parent.joinpath(made.name).read_text(), (
            f"{made.name}: run make proto"
        )
