"""Native markup answers what was asked, within its limits, or does not fit (tests/support/native.py checks it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.markup import compile_markup, native_fits
from campaign_express.bidding.markup_native import LAYOUTS, NativeMarkup
from campaign_express.bidding.model import Advertiser, Creative, Exchange, Media, NativeContent
from campaign_express.errors import CatalogError, InvalidRequest
from campaign_express.openrtb.native import NativeRequest, parse_native_request
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls
from tests.support.native import check_native, impression_of

SIGNER = NoticeSigner([("k", bytes(32))], "https://bid.example")
LANDING = "https://acme.example/?a=b"
CONTENT = NativeContent(
    title='Shoes "for" <all>\\',
    description="Light as a feather",
    sponsored="Acme",
    call_to_action="Buy now",
    image="https://cdn.example/main.jpg",
    image_w=1200,
    image_h=627,
    icon="https://cdn.example/icon.PNG?v=1",
    icon_w=80,
    icon_h=80,
    rating="4.5",
    price="$49",
    display_url="acme.example",
)
CREATIVE = Creative(id="cr", media=Media.NATIVE, landing=LANDING, native=CONTENT)
MARKUP = compile_markup(CREATIVE, Advertiser(id="acme", name="Acme", domain="acme.example"), SIGNER)
EXCHANGE = Exchange(name="default", price_notice="impression", price_macro='${P}"\\')
URLS: NoticeUrls = SIGNER.urls(EXCHANGE, "acme", "c", "cr", 'r"\\', "1", "b", 1, 2, "", False)
TITLE = {"id": 1, "required": 1, "title": {"len": 25}}


def parse(*assets: dict[str, Any], **more: Any) -> tuple[NativeRequest, str]:
    text = json.dumps({"ver": "1.2", "assets": list(assets), **more})
    return parse_native_request(text), text


def answer(*assets: dict[str, Any], **more: Any) -> dict[str, Any]:
    request, text = parse(*assets, **more)
    assert native_fits(CREATIVE, request)
    return check_native(MARKUP.render(URLS, 0, 0, request), text)


def fits(asset: dict[str, Any], required: int = 1, content: NativeContent = CONTENT) -> bool:
    request, _ = parse({"id": 7, "required": required, **asset})
    creative = Creative(id="cr", media=Media.NATIVE, landing=LANDING, native=content)
    return native_fits(creative, request)


def test_every_asset_is_answered_under_its_id() -> None:
    data = {1: "Acme", 2: "Light as a feather", 3: "4.5", 6: "$49", 11: "acme.example", 12: "Buy now"}
    found = answer(
        TITLE,
        {"id": 20, "required": 1, "img": {"type": 3, "wmin": 600, "hmin": 300}},
        {"id": 21, "required": 1, "img": {"type": 1, "w": 80, "h": 80}},
        *[{"id": 100 + kind, "required": 1, "data": {"type": kind}} for kind in data],
    )
    assets = {asset.pop("id"): asset for asset in found["assets"]}
    assert assets == {
        1: {"title": {"text": CONTENT.title}},
        20: {"img": {"url": CONTENT.image, "w": 1200, "h": 627}},
        21: {"img": {"url": CONTENT.icon, "w": 80, "h": 80}},
        **{100 + kind: {"data": {"value": value}} for kind, value in data.items()},
    }
    assert found["ver"] == "1.2"
    assert found["link"] == {"url": URLS.click + SIGNER.sign_landing(LANDING, "acme", "cr")}


def test_the_impression_tracker_is_of_the_kind_that_the_seller_fires() -> None:
    event = answer(TITLE, eventtrackers=[{"event": 1, "methods": [2, 1]}, {"event": 2, "methods": [1]}])
    assert event["eventtrackers"] == [{"event": 1, "method": 1, "url": URLS.impression}]
    assert "imptrackers" not in event
    for trackers in (None, [], [{"event": 1, "methods": [2]}], [{"event": 2, "methods": [1]}]):
        older = answer(TITLE, eventtrackers=trackers)
        assert older["imptrackers"] == [URLS.impression]
        assert "eventtrackers" not in older


def test_the_root_is_that_of_the_request() -> None:
    text = json.dumps({"native": {"ver": "1.0", "assets": [TITLE]}})
    adm = MARKUP.render(URLS, 0, 0, parse_native_request(text))
    assert json.loads(adm)["native"]["ver"] == "1.0"
    assert impression_of(check_native(adm, text)) == URLS.impression


def test_assets_without_ids_are_answered_by_position() -> None:
    found = answer({"data": {"type": 500}}, {"title": {"len": 90}, "required": 1})
    assert [asset["id"] for asset in found["assets"]] == [1]


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ({"title": {"len": 18}}, True),
        ({"title": {"len": 17}}, False),
        ({"data": {"type": 2, "len": 18}}, True),
        ({"data": {"type": 2, "len": 17}}, False),
        ({"data": {"type": 2, "len": 0}}, False),
        ({"data": {"type": 2, "len": None}}, True),
        ({"data": {"type": 4}}, False),
        ({"data": {"type": 500}}, False),
        ({"img": {"type": 3}}, True),
        ({"img": {}}, True),
        ({"img": {"type": 3, "w": 1200, "h": 627}}, True),
        ({"img": {"type": 3, "w": 1200, "h": 628}}, False),
        ({"img": {"type": 3, "w": 600, "h": 300}}, False),
        ({"img": {"type": 3, "w": 1600, "wmin": 1200, "h": 900, "hmin": 600}}, True),
        ({"img": {"type": 3, "wmin": 1201}}, False),
        ({"img": {"type": 3, "hmin": 628}}, False),
        ({"img": {"type": 1, "w": 80, "h": 80}}, True),
        ({"img": {"type": 2, "wmin": 50, "hmin": 50}}, True),
        ({"img": {"type": 1, "w": 100, "h": 100}}, False),
        ({"img": {"type": 501}}, False),
        ({"img": {"type": 3, "mimes": ["image/png", "image/jpg"]}}, True),
        ({"img": {"type": 1, "mimes": ["image/png"]}}, True),
        ({"img": {"type": 3, "mimes": ["image/png"]}}, False),
        ({"video": {"mimes": ["video/mp4"], "minduration": 1, "maxduration": 30, "protocols": [2]}}, False),
    ],
)
def test_what_fits(asset: dict[str, Any], expected: bool) -> None:
    assert fits(asset) is expected
    assert fits(asset, required=0) is expected, "an ad with no asset at all is none"
    request, text = parse({"id": 7, **asset}, TITLE)
    found = check_native(MARKUP.render(URLS, 0, 0, request), text)
    assert [a["id"] for a in found["assets"]] == ([7, 1] if expected else [1])


def test_what_a_creative_lacks_does_not_fit() -> None:
    bare = NativeContent(title="x")
    for asset in ({"img": {"type": 3}}, {"img": {"type": 1}}, {"data": {"type": 1}}, {"data": {"type": 2}}):
        assert not fits(asset, content=bare)
    assert not fits(
        {"img": {"type": 3, "mimes": ["image/png"]}}, content=NativeContent(title="x", image="https://c.example/i")
    )
    banner = Creative(id="b", media=Media.BANNER, landing=LANDING, image="https://c.example/a.png")
    assert not native_fits(banner, parse(TITLE)[0])
    with pytest.raises(CatalogError):
        NativeMarkup(banner, "")


def test_layouts_are_kept_by_object_and_in_bounds() -> None:
    markup = compile_markup(CREATIVE, Advertiser(id="acme", name="Acme", domain="acme.example"), SIGNER)
    assert isinstance(markup, NativeMarkup)
    for number in range(LAYOUTS * 3):
        request, _ = parse({**TITLE, "id": number})
        for _ in range(2):
            assert json.loads(markup.render(URLS, 0, 0, request))["assets"][0]["id"] == number
    assert len(markup._layouts) <= LAYOUTS
    # Requests that die at once must not lend their identity to the next one.
    for number in range(200):
        text = json.dumps({"assets": [{**TITLE, "id": number}], "pad": "x" * 9000})
        assert json.loads(markup.render(URLS, 0, 0, parse_native_request(text)))["assets"][0]["id"] == number


kinds = st.one_of(
    st.builds(lambda n: {"title": {"len": n}}, st.integers(0, 40)),
    st.builds(lambda t, n: {"data": {"type": t, "len": n}}, st.integers(0, 14), st.integers(0, 30)),
    st.builds(
        lambda t, sizes: {"img": {"type": t, **sizes}},
        st.sampled_from([1, 2, 3, 500]),
        st.dictionaries(st.sampled_from(["w", "h", "wmin", "hmin"]), st.sampled_from([0, 50, 80, 627, 1200, 1500])),
    ),
    st.just({"video": {"mimes": ["video/mp4"], "minduration": 1, "maxduration": 9, "protocols": [2]}}),
)


@given(st.lists(st.tuples(kinds, st.integers(0, 1)), min_size=1, max_size=6), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_fits_is_rendered_within_every_limit(assets: list[Any], wrapped: bool, tracked: bool) -> None:
    body: dict[str, Any] = {"assets": [{"id": i, "required": r, **kind} for i, (kind, r) in enumerate(assets)]}
    if tracked:
        body["eventtrackers"] = [{"event": 1, "methods": [1]}]
    text = json.dumps({"native": body} if wrapped else body)
    request = parse_native_request(text)
    adm = MARKUP.render(URLS, 0, 0, request)
    if native_fits(CREATIVE, request):
        check_native(adm, text)
    else:
        with pytest.raises(AssertionError, match=r"required asset|no asset at all"):
            check_native(adm, text)


def test_the_native_requests_of_the_shared_data(shared: Path) -> None:
    checked = 0
    for line in (shared / "openrtb" / "requests.jsonl").read_text().splitlines():
        for imp in json.loads(line)["imp"]:
            text = (imp.get("native") or {}).get("request")
            try:
                request = parse_native_request(text)
            except InvalidRequest:
                continue
            if native_fits(CREATIVE, request):
                check_native(MARKUP.render(URLS, 0, 0, request), text)
                checked += 1
    assert checked >= 10
