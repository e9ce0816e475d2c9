"""Which lines may bid: the filters in the order in which they run, cheap and broad first, each with its reason.

`Matcher` runs them over bitmaps. Facts that recur from request to request (an exchange at this hour, a page, a place, a
device) are one look-up: filters in a *group* depend only on the attributes that the group names, so their combined
mask is remembered by those. When nothing is left the group's filters run one by one to find the reason, as they do
for explanations.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from campaign_express.bidding import restrictions, slots, targeting
from campaign_express.bidding.bitmaps import Memo
from campaign_express.bidding.context import AUDIO, BANNER, NATIVE, VIDEO, Context, Slot
from campaign_express.bidding.lines import Lines
from campaign_express.bidding.slots import AllowSlot
from campaign_express.bidding.targeting import Allow
from campaign_express.openrtb.nobid import NoBidReason as R


class RequestFilter(NamedTuple):
    reason: R
    build: Callable[[Lines], Allow | None]


class SlotFilter(NamedTuple):
    reason: R
    build: Callable[[Lines], AllowSlot | None]
    kinds: int  # runs only when one of these is offered


class Group(NamedTuple):
    """Filters that run together.

    `by`: the attributes of the context that they read, () when a mask is not worth keeping.
    """

    by: tuple[str, ...]
    filters: tuple[RequestFilter, ...]


ANY = BANNER | VIDEO | AUDIO | NATIVE

REQUEST_FILTERS: tuple[Group, ...] = (
    Group((), (RequestFilter(R.FLIGHT, restrictions.flight),)),
    Group(
        (
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
    ),
    Group(
        ("inventory", "domain", "bundle", "publisher"),
        (
            RequestFilter(R.INVENTORY, targeting.inventory),
            RequestFilter(R.SITE, targeting.domain),
            RequestFilter(R.APP, targeting.bundle),
            RequestFilter(R.PUBLISHER, targeting.publisher),
        ),
    ),
    Group(
        ("country", "region", "city", "metro"),
        (
            RequestFilter(R.COUNTRY, targeting.country),
            RequestFilter(R.REGION, targeting.region),
            RequestFilter(R.CITY, targeting.city),
            RequestFilter(R.METRO, targeting.metro),
        ),
    ),
    Group(
        ("device_type", "os", "os_version", "make", "connection", "carrier", "language"),
        (
            RequestFilter(R.DEVICE_TYPE, targeting.device_type),
            RequestFilter(R.OS, targeting.os),
            RequestFilter(R.OS_VERSION, targeting.os_version),
            RequestFilter(R.MAKE, targeting.make),
            RequestFilter(R.CONNECTION, targeting.connection),
            RequestFilter(R.CARRIER, targeting.carrier),
            RequestFilter(R.LANGUAGE, targeting.language),
        ),
    ),
    Group((), (RequestFilter(R.HOUR, targeting.hour),)),
    Group(("category_groups",), (RequestFilter(R.CATEGORY, targeting.category),)),
    Group((), (RequestFilter(R.KEYWORD, targeting.keyword),)),
    Group((), (RequestFilter(R.SEGMENT, targeting.segment),)),
    Group((), (RequestFilter(R.EID_SOURCE, targeting.eid_source),)),
    Group((), (RequestFilter(R.IP_RANGE, targeting.ip_range),)),
    Group((), (RequestFilter(R.RADIUS, targeting.radius),)),
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


class Matcher:
    """The filters compiled for one catalogue."""

    def __init__(self, lines: Lines) -> None:
        self.everything = lines.everything
        self._groups: list[tuple[Callable[[Context], Any] | None, Memo, tuple[tuple[R, Allow], ...]]] = []
        for group in REQUEST_FILTERS:
            built = tuple((f.reason, allow) for f in group.filters if (allow := f.build(lines)) is not None)
            if built:
                self._groups.append((attrgetter(*group.by) if group.by else None, Memo(lines.count), built))
        slot_filters = [(f.reason, f.build(lines), f.kinds) for f in SLOT_FILTERS]
        # One list for each combination of offered kinds, so that a banner never meets the rules of video.
        self._slot_filters: list[tuple[tuple[R, AllowSlot], ...]] = [
            tuple((reason, allow) for reason, allow, of in slot_filters if allow is not None and of & kinds)
            for kinds in range(16)
        ]
        self._native_asset = next((allow for reason, allow, _ in slot_filters if reason is R.NATIVE_ASSET), None)
        self._shapes = Memo(lines.count)

    def request(self, c: Context) -> int:
        """Mask of the lines that the request as a whole admits."""
        mask = self.everything
        for by, memo, filters in self._groups:
            if by is None:
                mask &= filters[0][1](c)
            else:
                key = by(c)
                found = memo.get(key)
                if found is None:
                    found = self.everything
                    for _, allow in filters:
                        found &= allow(c)
                    memo.put(key, found)
                mask &= found
            if not mask:
                return 0
        return mask

    def slot(self, c: Context, s: Slot, mask: int) -> int:
        """Those of `mask` that the impression admits. Its shape recurs, so what fits the shape is remembered."""
        imp = s.imp
        native = imp.native
        key = (
            imp.banner,
            imp.video,
            imp.audio,
            native and (native.battr, native.api),
            s.interstitial,
            s.rewarded,
            s.secure,
        )
        found = self._shapes.get(key)
        if found is None:
            found = self.everything
            for reason, allow in self._slot_filters[s.kinds]:
                if reason is not R.NATIVE_ASSET:
                    found &= allow(c, s, found)
            self._shapes.put(key, found)
        mask &= found
        if native is not None and mask and self._native_asset is not None:
            mask &= self._native_asset(c, s, mask)
        return mask

    def why_not_request(self, c: Context, watch: Watch | None = None) -> R:
        """The filter that leaves no line, filter by filter; NO_CAMPAIGN when there was none to begin with."""
        mask = self.everything
        reason = R.NO_CAMPAIGN
        for _, _, filters in self._groups:
            for name, allow in filters:
                after = mask & allow(c)
                if watch is not None:
                    watch(name, mask, after)
                if mask and not after:
                    reason = name
                mask = after
        return reason

    def why_not_slot(self, c: Context, s: Slot, mask: int, watch: Watch | None = None) -> R:
        reason = R.NO_CAMPAIGN
        for name, allow in self._slot_filters[s.kinds]:
            after = mask & allow(c, s, mask)
            if watch is not None:
                watch(name, mask, after)
            if mask and not after:
                reason = name
            mask = after
        return reason
