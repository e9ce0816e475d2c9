"""What is shown when a bid wins (`adm`), by media kind. Compiled once a creative, filled in once a bid.

Everything but the bid's own URLs is known when a catalogue is compiled, so escaping, parsing and looking for
placeholders are done then, and `render` joins strings. Every kind carries the impression tracker and sends clicks
through our redirect to the creative's landing, whose signature is part of the compiled constant.

    banner  HTML                          markup_banner.py
    video   VAST 4.0 to 4.2               markup_vast.py
    audio   VAST, adType="audio"          markup_vast.py
    native  Native 1.0 to 1.2 JSON        markup_native.py
"""

from __future__ import annotations

from typing import Protocol

from campaign_express.bidding.markup_banner import BannerMarkup
from campaign_express.bidding.markup_native import NativeMarkup, native_fits
from campaign_express.bidding.markup_vast import VastMarkup
from campaign_express.bidding.model import Advertiser, Creative, Media
from campaign_express.openrtb.native import NativeRequest
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls

__all__ = ["Markup", "compile_markup", "native_fits"]


class Markup(Protocol):
    def render(self, urls: NoticeUrls, w: int, h: int, native: NativeRequest | None) -> str:
        """The `adm` of one bid. `w` and `h` are the slot's size, used where the creative has none of its own; `native`
        is what a native slot asks for (one that `native_fits`), None for the others.
        """
        ...


def compile_markup(creative: Creative, advertiser: Advertiser, signer: NoticeSigner) -> Markup:
    """Markup for a creative that `creative_rules` has taken. Raises CatalogError for a native one without content."""
    landing = signer.sign_landing(creative.landing, advertiser.id, creative.id)
    match creative.media:
        case Media.BANNER:
            return BannerMarkup(creative, advertiser, landing)
        case Media.NATIVE:
            return NativeMarkup(creative, landing)
        case Media.VIDEO | Media.AUDIO:
            return VastMarkup(creative, advertiser, landing)
