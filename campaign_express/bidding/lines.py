"""Lines: one creative of one campaign each, in the order of their bits.

Order: highest max bid first, then campaign id, then creative id. So the lines of a campaign are neighbours, a cut to
the first N keeps the highest bids, and equal prices have one winner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np

from campaign_express.bidding.bitmaps import Rules, V
from campaign_express.bidding.features import creative_features
from campaign_express.bidding.markup import Markup, compile_markup
from campaign_express.bidding.model import Advertiser, Campaign, Catalog, Creative, GoalType, Media
from campaign_express.openrtb.notices import NoticeSigner
from campaign_express.openrtb.response import Bid

SKIPPABLE = 16  # AdCOM creative attribute "Skippable"
# AdCOM "Creative Subtypes - Audio/Video": VAST 4.0, 4.1 and 4.2 (in-line) by our name of the version, newest first.
VAST_PROTOCOLS = {"4.2": 13, "4.1": 11, "4.0": 7}


class Line:
    """What is needed to answer with this creative, worked out once."""

    __slots__ = (
        "_markups",
        "advertiser",
        "attr",
        "bid",
        "bit",
        "campaign",
        "cat",
        "cattax",
        "creative",
        "protocols",
        "signer",
    )

    def __init__(
        self, bit: int, campaign: Campaign, creative: Creative, advertiser: Advertiser, signer: NoticeSigner
    ) -> None:
        self.bit = bit
        self.campaign = campaign
        self.creative = creative
        self.advertiser = advertiser
        self.signer = signer
        self.attr = (
            (*creative.attr, SKIPPABLE) if creative.skippable and SKIPPABLE not in creative.attr else creative.attr
        )
        self.cat = campaign.categories or advertiser.categories
        self.cattax = campaign.cattax if campaign.categories else advertiser.cattax
        versions = (creative.vast,) if creative.vast else tuple(VAST_PROTOCOLS)
        self.protocols = (
            {VAST_PROTOCOLS[v]: v for v in versions} if creative.media in (Media.VIDEO, Media.AUDIO) else {}
        )
        self._markups: dict[str, Markup] = {}
        media = creative.media
        # What every bid with this line says; copied and completed once a bid.
        self.bid = Bid(
            id="",
            impid="",
            price=0.0,
            adid=creative.id,
            adomain=(advertiser.domain,),
            bundle=advertiser.bundle or None,
            cid=campaign.id,
            crid=creative.id,
            cat=self.cat,
            cattax=self.cattax if self.cat else None,
            attr=self.attr,
            apis=creative.api,
            language=creative.language or None,
            w=creative.w if media in (Media.BANNER, Media.VIDEO) else None,
            h=creative.h if media in (Media.BANNER, Media.VIDEO) else None,
            dur=creative.duration or None,
            mtype=media.mtype,
        )

    def markup(self, vast: str) -> Markup:
        """Compiled when first needed: most lines of a large catalogue never win in one agent."""
        found = self._markups.get(vast)
        if found is None:
            creative = msgspec.structs.replace(self.creative, vast=vast) if vast else self.creative
            found = self._markups[vast] = compile_markup(creative, self.advertiser, self.signer)
        return found


class Lines:
    """All lines of a catalogue, and their numbers as columns for the batch arithmetic of pricing."""

    def __init__(self, catalog: Catalog, signer: NoticeSigner) -> None:
        advertisers = {a.id: a for a in catalog.advertisers}
        campaigns = sorted(catalog.campaigns, key=lambda c: (-c.max_bid, c.id))
        self.lines: list[Line] = []
        self.campaigns: list[tuple[Campaign, Advertiser, int]] = []  # with the mask of its lines
        for campaign in campaigns:
            advertiser = advertisers[campaign.advertiser]
            first = len(self.lines)
            for creative in sorted(campaign.creatives, key=lambda c: c.id):
                self.lines.append(Line(len(self.lines), campaign, creative, advertiser, signer))
            self.campaigns.append((campaign, advertiser, ((1 << (len(self.lines) - first)) - 1) << first))
        self.count = len(self.lines)
        self.everything = (1 << self.count) - 1

        def column(value: Callable[[Campaign], float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            return np.array([value(line.campaign) for line in self.lines], dtype=np.float64)

        margin_bid = column(lambda c: c.goal.bid * c.margin)
        goal = [line.campaign.goal.type for line in self.lines]
        # Expected value of a thousand impressions = per_mille + pctr * (per_click + pcvr * per_action), each in micros.
        self.per_mille = margin_bid * np.array([g is GoalType.CPM for g in goal])
        self.per_click = margin_bid * np.array([1000.0 * (g is GoalType.CPC) for g in goal])
        self.per_action = margin_bid * np.array([1000.0 * (g is GoalType.CPA) for g in goal])
        self.max_bid = column(lambda c: c.max_bid)
        self.creative_cat = np.array(
            [creative_features(line.creative, line.campaign, line.advertiser) for line in self.lines], dtype=np.int64
        )

    def rules(self, of: Callable[[Campaign], tuple[Iterable[V], Iterable[V]]]) -> Rules[V]:
        """Rules of every campaign for an index: its lines, what it includes, what it excludes."""
        return ((mask, *of(campaign)) for campaign, _, mask in self.campaigns)

    def where(self, holds: Callable[[Line], bool]) -> int:
        """Mask of the lines for which `holds`."""
        flags = np.fromiter((holds(line) for line in self.lines), dtype=bool, count=self.count)
        return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")

    def by(self, values: Callable[[Line], Iterable[V]]) -> dict[V, int]:
        """Masks of the lines that have each value."""
        found: dict[V, list[int]] = {}
        for line in self.lines:
            for value in values(line):
                found.setdefault(value, []).append(line.bit)
        return {value: mask_of(bits) for value, bits in found.items()}

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)


def mask_of(bits: Iterable[int]) -> int:
    positions = np.fromiter(bits, dtype=np.int64)
    if not positions.size:
        return 0
    flags = np.zeros(int(positions.max()) + 1, dtype=bool)
    flags[positions] = True
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")
