"""Lines: one creative of one campaign each, in the order of their bits.

Order: highest max bid first, then campaign id, then creative id. So the lines of a campaign are neighbours, a cut to
the first N keeps the highest bids, and equal prices have one winner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import msgspec
import numpy as np

from campaign_express.bidding.bitmaps import Rules, Sparse, V, mask_of, mask_of_flags
from campaign_express.bidding.features import creative_features
from campaign_express.bidding.markup import Markup, compile_markup
from campaign_express.bidding.model import Advertiser, Campaign, Catalog, Creative, GoalType, Media
from campaign_express.openrtb.notices import NoticeSigner
from campaign_express.openrtb.response import Bid

SKIPPABLE = 16  # AdCOM creative attribute "Skippable"
# AdCOM "Creative Subtypes - Audio/Video": VAST 4.0, 4.1 and 4.2 (in-line) by our name of the version, newest first.
VAST_PROTOCOLS = {"4.2": 13, "4.1": 11, "4.0": 7}


# What each setting of `Creative.vast` can be served as, by protocol.
_PROTOCOLS: dict[str, dict[int, str]] = {
    "": {protocol: version for version, protocol in VAST_PROTOCOLS.items()},
    **{version: {protocol: version} for version, protocol in VAST_PROTOCOLS.items()},
}
_NO_PROTOCOLS: dict[int, str] = {}


class Line:
    """What is needed to answer with this creative.

    What only a winner needs is made when it first wins: most lines of a large catalogue never win in one agent.
    """

    __slots__ = (
        "_bid",
        "_markups",
        "_names",
        "advertiser",
        "attr",
        "bit",
        "campaign",
        "cat",
        "cattax",
        "creative",
        "protocols",
    )

    def __init__(self, bit: int, campaign: Campaign, creative: Creative, advertiser: Advertiser) -> None:
        self.bit = bit
        self.campaign = campaign
        self.creative = creative
        self.advertiser = advertiser
        skips = creative.skippable and SKIPPABLE not in creative.attr
        self.attr = (*creative.attr, SKIPPABLE) if skips else creative.attr
        self.cat = campaign.categories or advertiser.categories
        self.cattax = campaign.cattax if campaign.categories else advertiser.cattax
        timed = creative.media in (Media.VIDEO, Media.AUDIO)
        self.protocols = _PROTOCOLS[creative.vast] if timed else _NO_PROTOCOLS
        self._markups: dict[str, Markup] | None = None
        self._bid: Bid | None = None
        self._names: tuple[str, str, str, str, str] | None = None

    def markup(self, vast: str, signer: NoticeSigner) -> Markup:
        """Compiled markup in the VAST version `vast`, "" for what is not VAST."""
        if self._markups is None:
            self._markups = {}
        found = self._markups.get(vast)
        if found is None:
            creative = msgspec.structs.replace(self.creative, vast=vast) if vast else self.creative
            found = self._markups[vast] = compile_markup(creative, self.advertiser, signer)
        return found

    @property
    def names(self) -> tuple[str, str, str, str, str]:
        """What every event of this line's bids says: advertiser, campaign, creative, media, size ("" without one)."""
        if self._names is None:
            creative = self.creative
            size = f"{creative.w}x{creative.h}" if creative.w and creative.h else ""
            self._names = (self.advertiser.id, self.campaign.id, creative.id, creative.media.value, size)
        return self._names

    @property
    def bid(self) -> Bid:
        """What every bid with this line says; to be copied and completed."""
        if self._bid is None:
            creative, advertiser, media = self.creative, self.advertiser, self.creative.media
            sized = media in (Media.BANNER, Media.VIDEO)
            self._bid = Bid(
                id="",
                impid="",
                price=0.0,
                adid=creative.id,
                adomain=(advertiser.domain,),
                bundle=advertiser.bundle or None,
                cid=self.campaign.id,
                crid=creative.id,
                cat=self.cat,
                cattax=self.cattax if self.cat else None,
                attr=self.attr,
                apis=creative.api,
                language=creative.language or None,
                w=creative.w if sized else None,
                h=creative.h if sized else None,
                dur=creative.duration or None,
                mtype=media.mtype,
            )
        return self._bid


class Lines:
    """All lines of a catalogue, and their numbers as columns for the batch arithmetic of pricing."""

    def __init__(self, catalog: Catalog) -> None:
        advertisers = {a.id: a for a in catalog.advertisers}
        self.lines: list[Line] = []
        self.spans: list[tuple[Campaign, Advertiser, int, int]] = []  # each with its first line and their number
        for campaign in sorted(catalog.campaigns, key=lambda c: (-c.max_bid, c.id)):
            advertiser = advertisers[campaign.advertiser]
            first = len(self.lines)
            for creative in sorted(campaign.creatives, key=lambda c: c.id):
                self.lines.append(Line(len(self.lines), campaign, creative, advertiser))
            self.spans.append((campaign, advertiser, first, len(self.lines) - first))
        self.count = len(self.lines)
        # By line, the first line of the next campaign.
        self.campaign_end = [first + count for _, _, first, count in self.spans for _ in range(count)]
        self.everything = (1 << self.count) - 1

        # [lines, 4], in micros: expected value of a thousand impressions = per_mille + pctr * (per_click + pcvr *
        # per_action), and the most a bid may say. One row a line, so that a candidate's numbers are one memory access.
        self.worth = np.array([worth(line.campaign) for line in self.lines], dtype=np.float64).reshape(-1, 4)
        self.creative_cat = np.array(
            [creative_features(line.creative, line.campaign, line.advertiser) for line in self.lines], dtype=np.int64
        )

    @property
    def campaigns(self) -> Iterator[tuple[Campaign, Advertiser, int]]:
        """Every campaign with the mask of its lines, made on the way: one for each would be as large as all indexes."""
        for campaign, advertiser, first, count in self.spans:
            yield campaign, advertiser, ((1 << count) - 1) << first

    def rules(self, of: Callable[[Campaign], tuple[Iterable[V], Iterable[V]]]) -> Rules[V]:
        """Rules of every campaign for an index: its lines, what it includes, what it excludes."""
        return ((mask, *of(campaign)) for campaign, _, mask in self.campaigns)

    def where(self, holds: Callable[[Line], bool]) -> int:
        """Mask of the lines for which `holds`."""
        return mask_of_flags(np.fromiter((holds(line) for line in self.lines), dtype=np.bool_, count=self.count))

    def by(self, values: Callable[[Line], Iterable[V]]) -> dict[V, int]:
        """Masks of the lines that have each value. For few values; see `sparse`."""
        return {value: mask_of(bits) for value, bits in self._bits_by(values).items()}

    def sparse(self, values: Callable[[Line], Iterable[V]]) -> Sparse[V]:
        """The same for values that are about as many as campaigns: domains, categories, ids."""
        return Sparse(self._bits_by(values), self.count)

    def _bits_by(self, values: Callable[[Line], Iterable[V]]) -> dict[V, list[int]]:
        found: dict[V, list[int]] = {}
        for line in self.lines:
            for value in values(line):
                found.setdefault(value, []).append(line.bit)
        return found

    @cached_property
    def domains(self) -> Sparse[str]:
        """Lines by their advertiser's domain and every domain above it."""
        return self.sparse(lambda line: parents(line.advertiser.domain.lower()))

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)


def worth(campaign: Campaign) -> tuple[float, float, float, float]:
    """(per_mille, per_click, per_action, max_bid) of a campaign: its bid after margin, in the place of its goal."""
    bid = campaign.goal.bid * campaign.margin
    match campaign.goal.type:
        case GoalType.CPM:
            return bid, 0.0, 0.0, campaign.max_bid
        case GoalType.CPC:
            return 0.0, 1000.0 * bid, 0.0, campaign.max_bid
        case GoalType.CPA:
            return 0.0, 0.0, 1000.0 * bid, campaign.max_bid


def parents(domain: str) -> list[str]:
    """A domain and the domains above it: a.b.example → a.b.example, b.example, example."""
    found = [domain]
    while (at := domain.find(".") + 1) > 0:
        domain = domain[at:]
        found.append(domain)
    return found
