"""Native markup: the assets a slot asked for, under the ids it gave them (OpenRTB Native Ads 1.2, section 5).

`native_fits` and `NativeMarkup` share one answer per asset, so what fits is what is rendered. A text that is too long
or a picture of the wrong size is left out, never cut or scaled: an optional asset is then missing, a required one means
no bid.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from campaign_express.bidding.model import Creative, NativeContent
from campaign_express.errors import CatalogError
from campaign_express.openrtb.native import NativeAsset, NativeImage, NativeRequest
from campaign_express.openrtb.notices import NoticeUrls

ICON, LOGO, MAIN = 1, 2, 3  # Native 1.2 section 7.5; LOGO is deprecated in favour of ICON
IMPRESSION, IMAGE = 1, 1  # sections 7.6 and 7.7: event and method of a tracker
LAYOUTS = 32  # compiled answers kept for one creative

_MIMES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "svg": "image/svg+xml",
}


def native_fits(creative: Creative, request: NativeRequest) -> bool:
    """Whether every required asset of `request` can be filled within its limits, and at least one of all of them: where
    everything is optional, an ad with nothing to show is still none.
    """
    content = creative.native
    if content is None:
        return False
    filled = [(asset.required, _fill(content, asset) is not None) for asset in request.assets]
    return any(done for _, done in filled) and all(done for required, done in filled if required)


class NativeMarkup:
    """See `markup.Markup`. A publisher's few layouts come again and again, as the same object (`parse_native_request`
    keeps them), so the filled assets are kept by the layout's identity.
    """

    __slots__ = ("_click_end", "_content", "_layouts")

    def __init__(self, creative: Creative, landing: str) -> None:
        """`landing` is the signed suffix of the click URL."""
        if creative.native is None:
            raise CatalogError("Creative refused:", [f"{creative.id}: native content is missing"])
        self._content = creative.native
        self._click_end = landing
        # id(request) -> request and the text around the click and impression URLs, which are plain characters in JSON.
        # The request is kept beside its answer, since an id means the same object only while that lives.
        self._layouts: dict[int, tuple[NativeRequest, str, str, str]] = {}

    def render(self, urls: NoticeUrls, w: int, h: int, native: NativeRequest | None) -> str:
        if native is None:
            raise ValueError("native markup wants the slot's native request")
        layout = self._layouts.get(id(native))
        if layout is None:
            layout = self._compile(native)
        _, start, between, end = layout
        return f"{start}{urls.click}{between}{urls.impression}{end}"

    def _compile(self, request: NativeRequest) -> tuple[NativeRequest, str, str, str]:
        if len(self._layouts) >= LAYOUTS:
            self._layouts.clear()
        assets = [
            {"id": asset.id, **filled}
            for asset in request.assets
            if (filled := _fill(self._content, asset)) is not None
        ]
        version = f'"ver":{_json(request.ver)},' if request.ver else ""
        start = f'{{{version}"assets":{_json(assets)},"link":{{"url":"'
        # One of the two, never both: who asks for no event tracker of this kind knows only the older list.
        if any(t.event == IMPRESSION and IMAGE in t.methods for t in request.eventtrackers):
            between, end = f'"}},"eventtrackers":[{{"event":{IMPRESSION},"method":{IMAGE},"url":"', '"}]}'
        else:
            between, end = '"},"imptrackers":["', '"]}'
        if request.wrapped:
            start, end = '{"native":' + start, end + "}"
        layout = self._layouts[id(request)] = (request, start, self._click_end + between, end)
        return layout


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fill(content: NativeContent, asset: NativeAsset) -> dict[str, object] | None:
    """The answer to one asset, without its id; None where the creative has nothing that is allowed there."""
    if asset.title is not None:
        return {"title": {"text": content.title}} if 0 < len(content.title) <= asset.title.len else None
    if asset.img is not None:
        return _image(content, asset.img)
    if asset.data is not None:
        value, most = _data(content, asset.data.type), asset.data.len
        return {"data": {"value": value}} if value and (most is None or len(value) <= most) else None
    return None  # video: a native creative holds none


def _data(content: NativeContent, kind: int) -> str:
    """Native 1.2 section 7.4."""
    match kind:
        case 1:
            return content.sponsored
        case 2:
            return content.description
        case 3:
            return content.rating
        case 6:
            return content.price
        case 11:
            return content.display_url
        case 12:
            return content.call_to_action
        case _:
            return ""


def _image(content: NativeContent, wanted: NativeImage) -> dict[str, object] | None:
    if wanted.type in (ICON, LOGO):
        url, w, h = content.icon, content.icon_w, content.icon_h
    elif wanted.type in (MAIN, None):
        url, w, h = content.image, content.image_w, content.image_h
    else:
        return None
    if not url or not _size_fits(w, wanted.w, wanted.wmin) or not _size_fits(h, wanted.h, wanted.hmin):
        return None
    if wanted.mimes and _mime(url) not in {mime.lower().replace("image/jpg", "image/jpeg") for mime in wanted.mimes}:
        return None
    return {"img": {"url": url, **({"w": w, "h": h} if w and h else {})}}


def _size_fits(size: int, exact: int | None, least: int | None) -> bool:
    """Section 4.4: beside a minimum the exact size is only a wish, alone it is a requirement. 0 is no wish at all."""
    if least:
        return size >= least
    return not exact or size == exact


def _mime(url: str) -> str:
    """By the ending of its path, which is all that a URL tells; "" is on no list."""
    return _MIMES.get(urlsplit(url).path.rpartition(".")[2].lower(), "")
