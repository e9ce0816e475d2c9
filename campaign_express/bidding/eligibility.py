"""Which lines may bid: the filters in the order in which they run, cheap and broad first, each with its reason.

`Matcher` runs them over bitmaps, a group of them at a time. What an exchange asks of everyone, a page and a category
recur from request to request, so the combined mask of such a group is remembered by the attributes that its filters
read. Facts with one value are looked up in one loop. When nothing is left the filters run one by one to find the
reason, as they do for explanations.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

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


class SlotFilter(NamedTuple):
    reason: R
    build: Callable[[Lines], AllowSlot | None]
    kinds: int  # runs only when one of these is offered


class Group(NamedTuple):
    """Filters that run together."""

    filters: tuple[RequestFilter, ...]
    # Attributes of the context that the filters read: the mask is remembered by their values. () where that costs more.
    by: tuple[str, ...] = ()


def one(reason: R, build: Callable[[Lines], Allow | None], *by: str) -> Group:
    return Group((RequestFilter(reason, build),), by)


ANY = BANNER | VIDEO | AUDIO | NATIVE

REQUEST_FILTERS: tuple[Group, ...] = (
    one(R.FLIGHT, restrictions.flight),
    Group(
        (
            RequestFilter(R.PAUSED, restrictions.paused),
            RequestFilter(R.EXCHANGE, restrictions.exchange),
            RequestFilter(R.APPROVAL, restrictions.approval),
            RequestFilter(R.WANTED_SEAT, restrictions.seat),
            RequestFilter(R.BLOCKED_CATEGORY, restrictions.blocked_category),
            RequestFilter(R.BLOCKED_ADVERTISER, restrictions.blocked_advertiser),
            RequestFilter(R.BLOCKED_APP, restrictions.blocked_app),
            RequestFilter(R.DSA, restrictions.dsa),
            RequestFilter(R.PRIVACY, targeting.privacy),
            RequestFilter(R.SUPPLY_CHAIN, targeting.supply_chain),
        ),
        by=(
            "exchange_name",
            "request.wseat",
            "request.bseat",
            "request.bcat",
            "request.cattax",
            "request.badv",
            "request.bapp",
            "dsa",
            "consent.contextual",
            "complete_chain",
        ),
    ),
    Group(  # one value each: all `Lookup`s
        (
            RequestFilter(R.INVENTORY, targeting.inventory),
            RequestFilter(R.APP, targeting.bundle),
            RequestFilter(R.PUBLISHER, targeting.publisher),
            RequestFilter(R.COUNTRY, targeting.country),
            RequestFilter(R.METRO, targeting.metro),
            RequestFilter(R.DEVICE_TYPE, targeting.device_type),
            RequestFilter(R.OS, targeting.os),
            RequestFilter(R.MAKE, targeting.make),
            RequestFilter(R.CONNECTION, targeting.connection),
            RequestFilter(R.CARRIER, targeting.carrier),
            RequestFilter(R.LANGUAGE, targeting.language),
        )
    ),
    one(R.SITE, targeting.domain, "domain"),
    one(R.REGION, targeting_places.region),
    one(R.CITY, targeting_places.city),
    one(R.OS_VERSION, targeting.os_version, "os", "os_version"),
    one(R.CATEGORY, targeting.category, "category_groups"),
    one(R.HOUR, targeting.hour),
    one(R.KEYWORD, targeting.keyword),
    one(R.SEGMENT, targeting.segment),
    one(R.EID_SOURCE, targeting.eid_source),
    one(R.IP_RANGE, targeting_places.ip_range),
    one(R.RADIUS, targeting_places.radius),
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


Step = Callable[[Context, int], int]  # (context, lines left) -> lines left


def _weight(key: object) -> int:
    """About how many bytes of memory a key takes that was made of a request."""
    return 4 * len(msgspec.msgpack.encode(key))


def _look_up(lookups: list[targeting.Lookup[Any]]) -> Step:
    if len(lookups) == 1:
        return _call(lookups[0])
    values = attrgetter(*[lookup.attribute for lookup in lookups])
    tables = [(lookup.allow.get, lookup.default) for lookup in lookups]

    def step(c: Context, mask: int) -> int:
        for value, (get, default) in zip(values(c), tables, strict=False):
            mask &= get(value, default)
        return mask

    return step


def _remember(by: tuple[str, ...], filters: list[Allow], lines: Lines) -> Step:
    key_of, everything = attrgetter(*by), lines.everything
    memo: Memo[int] = Memo(lines.count)
    get = memo.get

    def step(c: Context, mask: int) -> int:
        key = key_of(c)
        found = get(key)
        if found is None:
            found = everything
            for allow in filters:
                found &= allow(c)
            memo.put(key, found, _weight(key))
        return mask & found

    return step


def _call(allow: Allow) -> Step:
    return lambda c, mask: mask & allow(c)


class Fit(NamedTuple):
    """What is known of all impressions of one shape."""

    slot: Slot  # one of them, for `place_slot`
    mask: int  # the lines that fit, but for native assets
    part: Part  # its features


class Matcher:
    """The filters compiled for one catalogue."""

    def __init__(self, lines: Lines) -> None:
        self.everything = lines.everything
        self._filters: list[tuple[R, Allow]] = []
        self._steps: list[Step] = []
        for group in REQUEST_FILTERS:
            built = [(f.reason, allow) for f in group.filters if (allow := f.build(lines)) is not None]
            self._filters += built
            functions = [allow for _, allow in built]
            lookups = [allow for allow in functions if isinstance(allow, targeting.Lookup)]
            if not functions:
                continue
            if group.by:
                self._steps.append(_remember(group.by, functions, lines))
            elif len(lookups) == len(functions):
                self._steps.append(_look_up(lookups))
            else:
                self._steps += map(_call, functions)
        slot_filters = [(f.reason, f.build(lines), f.kinds) for f in SLOT_FILTERS]
        # One list for each combination of offered kinds, so that a banner never meets the rules of video.
        self._slot_filters: list[tuple[tuple[R, AllowSlot], ...]] = [
            tuple((reason, allow) for reason, allow, of in slot_filters if allow is not None and of & kinds)
            for kinds in range(16)
        ]
        self._native_asset = next((allow for reason, allow, _ in slot_filters if reason is R.NATIVE_ASSET), None)
        self._fits: Memo[Fit] = Memo(lines.count)

    def request(self, c: Context) -> int:
        """Mask of the lines that the request as a whole admits."""
        mask = self.everything
        for step in self._steps:
            mask = step(c, mask)
            if not mask:
                return 0
        return mask

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
