"""Banner markup: an image in a link, or an advertiser's own HTML with `{CLICK_URL}` in it; either with our pixel."""

from __future__ import annotations

import re
from enum import Enum
from html import escape

from campaign_express.bidding.model import Advertiser, Creative
from campaign_express.openrtb.native import NativeRequest
from campaign_express.openrtb.notices import NoticeUrls

CLICK_URL = "{CLICK_URL}"


class Gap(Enum):
    """What a bid fills in. A character reference means nothing in a script, while in an attribute "&" must be one."""

    CLICK = 0
    SCRIPT_CLICK = 1
    IMPRESSION = 2
    WIDTH = 3
    HEIGHT = 4


# Images that are not displayed are not loaded everywhere, so the pixel is displayed, where nobody sees it.
_PIXEL: list[str | Gap] = [
    '<img src="',
    Gap.IMPRESSION,
    '" width="1" height="1" alt="" style="position:absolute;left:-9999px;border:0">',
]
_script_tag = re.compile(r"<(/?)script\b", re.IGNORECASE)
_body_end = re.compile(r"</body\b", re.IGNORECASE)
# HTML with any of these handles clicks itself, or cannot stand in a link; other HTML without {CLICK_URL} becomes one.
_interactive = re.compile(r"<(a|script|iframe|button|input|form|area|html|body)\b|\bonclick\b", re.IGNORECASE)


class BannerMarkup:
    """See `markup.Markup`. `_pieces` is constant text with empty places; the other attributes say which take what."""

    __slots__ = (
        "_clicks",
        "_height",
        "_impression",
        "_landing",
        "_pieces",
        "_script_clicks",
        "_script_landing",
        "_width",
    )

    def __init__(self, creative: Creative, advertiser: Advertiser, landing: str) -> None:
        """`landing` is the signed suffix of the click URL."""
        pieces = _html(creative) if creative.html else _image(creative, advertiser)

        def places(gap: Gap) -> tuple[int, ...]:
            return tuple(index for index, piece in enumerate(pieces) if piece is gap)

        self._pieces = ["" if isinstance(piece, Gap) else piece for piece in pieces]
        self._impression = places(Gap.IMPRESSION)[0]
        self._clicks = places(Gap.CLICK)
        self._script_clicks = places(Gap.SCRIPT_CLICK)
        self._width = places(Gap.WIDTH)
        self._height = places(Gap.HEIGHT)
        self._landing = escape(landing)
        self._script_landing = landing

    def render(self, urls: NoticeUrls, w: int, h: int, native: NativeRequest | None) -> str:
        pieces = self._pieces.copy()
        pieces[self._impression] = urls.impression.replace("&", "&amp;")
        if self._clicks:
            click = urls.click.replace("&", "&amp;") + self._landing
            for place in self._clicks:
                pieces[place] = click
        for place in self._script_clicks:
            pieces[place] = urls.click + self._script_landing
        for place in self._width:
            pieces[place] = str(w)
        for place in self._height:
            pieces[place] = str(h)
        return "".join(pieces)


def _image(creative: Creative, advertiser: Advertiser) -> list[str | Gap]:
    known = bool(creative.w and creative.h)
    return [
        '<a href="',
        Gap.CLICK,
        f'" target="_blank" rel="noopener"><img src="{escape(creative.image)}" width="',
        str(creative.w) if known else Gap.WIDTH,
        '" height="',
        str(creative.h) if known else Gap.HEIGHT,
        f'" alt="{escape(advertiser.name)}" style="display:block;border:0"></a>',
        *_PIXEL,
    ]


def _html(creative: Creative) -> list[str | Gap]:
    html = creative.html
    if CLICK_URL not in html and not _interactive.search(html):
        html = f'<a href="{CLICK_URL}" target="_blank" rel="noopener">{html}</a>'
    # What stands after the end of a body is put into it by browsers, but not by every sandbox.
    ends = [match.start() for match in _body_end.finditer(html)]
    end = ends[-1] if ends else len(html)
    before, in_script = _split(html[:end], False)
    after, _ = _split(html[end:], in_script)
    return [*before, *_PIXEL, *after]


def _split(html: str, in_script: bool) -> tuple[list[str | Gap], bool]:
    pieces: list[str | Gap] = []
    for text in html.split(CLICK_URL):
        if pieces:
            pieces.append(Gap.SCRIPT_CLICK if in_script else Gap.CLICK)
        pieces.append(text)
        for closing in _script_tag.findall(text):
            in_script = not closing
    return pieces, in_script
