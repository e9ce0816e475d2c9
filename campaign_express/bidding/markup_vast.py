"""VAST for video and audio: one linear ad in one InLine, versions 4.0 to 4.2, elements in the order of vast_4.2.xsd.

AdServingId and adType came with 4.1, which also moved the id of UniversalAdId from an attribute into the element.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from campaign_express import __version__
from campaign_express.bidding.model import Advertiser, Creative, Media
from campaign_express.openrtb.native import NativeRequest
from campaign_express.openrtb.notices import NoticeUrls

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><VAST version={version} xmlns="http://www.iab.com/VAST">'
    '<Ad id={id}{ad_type}><InLine><AdSystem version="{system}">Campaign Express</AdSystem>'
    '<Impression id="campaign-express"><![CDATA['
)
_BODY = (
    '<AdTitle>{title}</AdTitle><Advertiser>{advertiser}</Advertiser><Creatives><Creative id={id} sequence="1">'
    "{universal}<Linear{skip}><Duration>{duration}</Duration><MediaFiles>"
    '<MediaFile delivery="progressive" type={mime} width="'
)
_LINEAR_END = "{bitrate}{scaling}>{asset}</MediaFile></MediaFiles><VideoClicks><ClickThrough><![CDATA["
_END = "]]></ClickThrough></VideoClicks></Linear></Creative></Creatives></InLine></Ad></VAST>"

_not_xml = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 section 2.2


class VastMarkup:
    """See `markup.Markup`. Our URLs hold no "]", so they stand in CDATA as they are."""

    __slots__ = (
        "_after_click",
        "_after_height",
        "_after_impression",
        "_after_serving",
        "_after_width",
        "_h",
        "_head",
        "_w",
    )

    def __init__(self, creative: Creative, advertiser: Advertiser, landing: str) -> None:
        """`landing` is the signed suffix of the click URL."""
        version = creative.vast or "4.2"
        audio = creative.media is Media.AUDIO
        since_4_1 = version != "4.0"
        ad_id = _attribute(creative.id)
        self._head = _HEAD.format(
            version=_attribute(version),
            id=ad_id,
            ad_type=' adType="audio"' if audio and since_4_1 else "",
            system=__version__,
        )
        body = _BODY.format(
            title=_text(creative.id),
            advertiser=_text(advertiser.name),
            id=ad_id,
            universal=_universal_ad_id(creative.id, since_4_1),
            skip=f' skipoffset="{_clock(creative.skip_after)}"' if creative.skippable else "",
            duration=_clock(creative.duration),
            mime=_attribute(creative.mime),
        )
        self._after_impression = "]]></Impression>" + ("<AdServingId>" if since_4_1 else body)
        self._after_serving = "</AdServingId>" + body if since_4_1 else ""
        # 0 stands for audio (xsd); a video that does not know its size takes the slot's.
        self._w, self._h = ("0", "0") if audio else (str(creative.w or ""), str(creative.h or ""))
        self._after_width = '" height="'
        self._after_height = '"' + _LINEAR_END.format(
            bitrate=f' bitrate="{creative.bitrate}"' if creative.bitrate else "",
            scaling="" if audio else ' scalable="true" maintainAspectRatio="true"',
            asset=_cdata(creative.asset),
        )
        self._after_click = landing + _END

    def render(self, urls: NoticeUrls, w: int, h: int, native: NativeRequest | None) -> str:
        serving_id = urls.serving_id if self._after_serving else ""
        return (
            f"{self._head}{urls.impression}{self._after_impression}{serving_id}{self._after_serving}"
            f"{self._w or w}{self._after_width}{self._h or h}{self._after_height}{urls.click}{self._after_click}"
        )


def _universal_ad_id(creative_id: str, since_4_1: bool) -> str:
    # "unknown" is the registry of an id that no registry gave out (VAST 4.2 section 3.7.1).
    value = "" if since_4_1 else f" idValue={_attribute(creative_id)}"
    return f'<UniversalAdId idRegistry="unknown"{value}>{_text(creative_id)}</UniversalAdId>'


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _text(text: str) -> str:
    return escape(_not_xml.sub("", text))


def _attribute(text: str) -> str:
    return quoteattr(_not_xml.sub("", text))


def _cdata(text: str) -> str:
    return "<![CDATA[" + _not_xml.sub("", text).replace("]]>", "]]]]><![CDATA[>") + "]]>"
