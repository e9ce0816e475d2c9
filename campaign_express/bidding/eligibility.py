"""Which lines may bid: the filters in the order in which they are told apart, cheap and broad first, each with its
reason.

`Matcher` runs them over bitmaps. Filters that read the same few facts are one step: sites, places, devices and what an
exchange asks of everyone recur from request to request, so the combined mask of such filters is remembered by those
facts. A step runs for all requests of a batch before the next one does: the code and tables of a step are then in the
processor's caches. When nothing is left the filters run one by one to find the reason, as they do for explanations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from campaign_express.bidding import restrictions, slots, targeting, targeting_places
from campaign_express.bidding.bitmaps import Memo
from campaign_express.bidding.context import Context
from campaign_express.bidding.currency import Rates
from campaign_express.bidding.features import Part, shape_part
from campaign_express.bidding.impression import AUDIO, BANNER, NATIVE, VIDEO, Slot, build_slot, shape_of
from campaign_express.bidding.lines import Lines
from campaign_express.bidding.slots import AllowSlot
from campaign_express.bidding.targeting import Allow
from campaign_express.openrtb.nobid import NoBidReason as R
from campaign_express.openrtb.request import Imp


class RequestFilter(NamedTuple):
    reason: R
    build: Callable[[Lines], Allow | None]
    # Attributes of the context, those that the filter reads among them: one mask is remembered by their values for all
    # filters that name the same ones. () where remembering costs more than asking.
    facts: tuple[str, ...] = ()


class SlotFilter(NamedTuple):
    reason: R
    build: Callable[[Lines], AllowSlot | None]
    kinds: int  # runs only when one of these is offered


ASKED = (
    "exchange_name",
    "request.wseat",
    "request.bseat",
    "request.bcat",
    "request.cattax",
    "request.bapp",
    "dsa",
    "consent.contextual",
    "complete_chain",
)
SITE = ("inventory", "domain", "bundle", "publisher")
PLACE = ("country", "region", "city", "metro", "language")  # few languages are spoken in one place
DEVICE = ("device_type", "os", "os_version", "make", "connection", "carrier")
ANY = BANNER | VIDEO | AUDIO | NATIVE

REQUEST_FILTERS: tuple[RequestFilter, ...] = (
    RequestFilter(R.FLIGHT, restrictions.flight),
    RequestFilter(R.PAUSED, restrictions.paused, ASKED),
    RequestFilter(R.EXCHANGE, restrictions.exchange, ASKED),
    RequestFilter(R.APPROVAL, restrictions.approval, ASKED),
    RequestFilter(R.WANTED_SEAT, restrictions.seat, ASKED),
    RequestFilter(R.BLOCKED_CATEGORY, restrictions.blocked_category, ASKED),
    RequestFilter(R.BLOCKED_ADVERTISER, restrictions.blocked_advertiser),
    RequestFilter(R.BLOCKED_APP, restrictions.blocked_app, ASKED),
    RequestFilter(R.DSA, restrictions.dsa, ASKED),
    RequestFilter(R.PRIVACY, targeting.privacy, ASKED),
    RequestFilter(R.SUPPLY_CHAIN, targeting.supply_chain, ASKED),
    RequestFilter(R.INVENTORY, targeting.inventory, SITE),
    RequestFilter(R.APP, targeting.bundle, SITE),
    RequestFilter(R.PUBLISHER, targeting.publisher, SITE),
    RequestFilter(R.COUNTRY, targeting.country, PLACE),
    RequestFilter(R.METRO, targeting.metro, PLACE),
    RequestFilter(R.DEVICE_TYPE, targeting.device_type, DEVICE),
    RequestFilter(R.OS, targeting.os, DEVICE),
    RequestFilter(R.MAKE, targeting.make, DEVICE),
    RequestFilter(R.CONNECTION, targeting.connection, DEVICE),
    RequestFilter(R.CARRIER, targeting.carrier, DEVICE),
    RequestFilter(R.LANGUAGE, targeting.language, PLACE),
    RequestFilter(R.SITE, targeting.domain, SITE),
    RequestFilter(R.REGION, targeting_places.region, PLACE),
    RequestFilter(R.CITY, targeting_places.city, PLACE),
    RequestFilter(R.OS_VERSION, targeting.os_version, DEVICE),
    RequestFilter(R.CATEGORY, targeting.category, ("category_groups",)),
    RequestFilter(R.HOUR, targeting.hour),
    RequestFilter(R.KEYWORD, targeting.keyword),
    RequestFilter(R.SEGMENT, targeting.segment),
    RequestFilter(R.EID_SOURCE, targeting.eid_source),
    RequestFilter(R.IP_RANGE, targeting_places.ip_range),
    RequestFilter(R.RADIUS, targeting_places.radius),
)

SLOT_FILTERS: tuple[SlotFilter, ...] = (
    SlotFilter(R.MEDIA, slots.media, ANY),
    SlotFilter(R.SECURE, slots.secure, ANY),
    SlotFilter(R.SIZE, slots.size, ANY),
    SlotFilter(R.INTERSTITIAL, slots.interstitial, ANY),
    SlotFilter(R.REWARDED, slots.rewarded, ANY),
    SlotFilter(R.POSITION, slots.position, ANY),
    SlotFilter(R.BLOCKED_ATTRIBUTE, slots.blocked_attribute, ANY),
    SlotFilter(R.API, slots.api, ANY),
    SlotFilter(R.MIME, slots.mime, BANNER | VIDEO | AUDIO),
    SlotFilter(R.PROTOCOL, slots.protocol, VIDEO | AUDIO),
    SlotFilter(R.DURATION, slots.duration, VIDEO | AUDIO),
    SlotFilter(R.SKIPPABLE, slots.skippable, VIDEO),
    SlotFilter(R.PLACEMENT, slots.placement, VIDEO),
    SlotFilter(R.NATIVE_ASSET, slots.native_asset, NATIVE),  # the only one that looks at the lines left: see `slot`
)

# Sees a mask before and after each filter; for explanations.
Watch = Callable[[R, int, int], None]


# (contexts of a batch, lines left for each) -> lines left for each
Step = Callable[[Sequence[Context], Sequence[int]], list[int]]


def _weight(key: object) -> int:
    """About how many bytes of memory a key takes that was made of a request."""
    return 4 * len(msgspec.msgpack.encode(key))


def _ask(allow: Allow) -> Step:
    return lambda contexts, masks: [mask and mask & allow(c) for c, mask in zip(contexts, masks, strict=True)]


def _remember(facts: tuple[str, ...], filters: Sequence[Allow], lines: Lines) -> Step:
    key_of, everything = attrgetter(*facts), lines.everything
    memo: Memo[int] = Memo(lines.count)
    get = memo.get

    def step(contexts: Sequence[Context], masks: Sequence[int]) -> list[int]:
        left = []
        for c, mask in zip(contexts, masks, strict=True):
            key = key_of(c)
            found = get(key)
            if found is None:
                found = everything
                for allow in filters:
                    found &= allow(c)
                memo.put(key, found, _weight(key))
            left.append(mask & found)
        return left

    return step


class Fit(NamedTuple):
    """What is known of all impressions of one shape."""

    slot: Slot  # one of them, for `place_slot`
    mask: int  # the lines that fit, but for native assets
    part: Part  # its features


class Matcher:
    """The filters compiled for one catalogue."""

    def __init__(self, lines: Lines) -> None:
        self.everything = lines.everything
        built = [(f, allow) for f in REQUEST_FILTERS if (allow := f.build(lines)) is not None]
        self._filters: list[tuple[R, Allow]] = [(f.reason, allow) for f, allow in built]
        together: dict[tuple[str, ...], list[Allow]] = {}
        for f, allow in built:
            if f.facts:
                together.setdefault(f.facts, []).append(allow)
        self._steps = [
            *[_remember(facts, filters, lines) for facts, filters in together.items()],
            *[_ask(allow) for f, allow in built if not f.facts],
        ]
        slot_filters = [(f.reason, f.build(lines), f.kinds) for f in SLOT_FILTERS]
        # One list for each combination of offered kinds, so that a banner never meets the rules of video.
        self._slot_filters: list[tuple[tuple[R, AllowSlot], ...]] = [
            tuple((reason, allow) for reason, allow, of in slot_filters if allow is not None and of & kinds)
            for kinds in range(16)
        ]
        self._native_asset = next((allow for reason, allow, _ in slot_filters if reason is R.NATIVE_ASSET), None)
        self._fits: Memo[Fit] = Memo(lines.count)

    def requests(self, contexts: Sequence[Context]) -> list[int]:
        """For each request the mask of the lines that it admits as a whole."""
        masks = [self.everything] * len(contexts)
        for step in self._steps:
            masks = step(contexts, masks)
        return masks

    def fit(self, imp: Imp, rates: Rates) -> Fit:
        """What fits the shape of `imp`: shapes recur, so it is remembered."""
        shape = shape_of(imp)
        found = self._fits.get(shape)
        if found is None:
            slot = build_slot(imp, 0, rates)
            mask = self.everything
            for reason, allow in self._slot_filters[slot.kinds]:
                if reason is not R.NATIVE_ASSET:
                    mask &= allow(slot, mask)
            found = self._fits.put(shape, Fit(slot, mask, shape_part(slot)), 3 * _weight(shape))
        return found

    def slot(self, s: Slot, fit: Fit, mask: int) -> int:
        """Those of `mask` that the impression admits."""
        mask &= fit.mask
        if mask and self._native_asset is not None and s.imp.native is not None:
            mask &= self._native_asset(s, mask)
        return mask

    def why_not_request(self, c: Context, watch: Watch | None = None) -> R:
        """The filter that leaves no line, filter by filter; NO_CAMPAIGN when there was none to begin with."""
        mask = self.everything
        reason = R.NO_CAMPAIGN
        for name, allow in self._filters:
            after = mask & allow(c)
            if watch is not None:
                watch(name, mask, after)
            if mask and not after:
                reason = name
            mask = after
        return reason

    def why_not_slot(self, s: Slot, mask: int, watch: Watch | None = None) -> R:
        reason = R.NO_CAMPAIGN
        for name, allow in self._slot_filters[s.kinds]:
            after = mask & allow(s, mask)
            if watch is not None:
                watch(name, mask, after)
            if mask and not after:
                reason = name
            mask = after
        return reason
