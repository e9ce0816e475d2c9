"""Conversions: an advertiser's postback becomes an event of the click or view that it is due to. docs/notices.md.

Only who has the advertiser's token may report, and only touches of that advertiser's own campaigns are looked at. The
last touch wins: of the click that the postback names, and of what the store knows of the visitor (by our cookie, where
the postback comes from a page and consent allows), the latest within its window. Windows count from the bid, whose time
is signed: a click URL that is called again later does not begin a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

from campaign_express.errors import InvalidRequest
from campaign_express.events import MoneyEvent, event_id
from campaign_express.ports import IdentityStore, Touch, TouchStore

MAX_ORDER = 128  # characters
MAX_VALUE = 10**15  # micros of USD

_click_id = re.compile(r"[A-Za-z0-9_-]{20}").fullmatch
_amount = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?").fullmatch
is_advertiser = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}").fullmatch


class Windows(Struct, frozen=True):
    """How old a touch may be, in ms of the wall clock."""

    click_ms: int
    view_ms: int

    def of(self, touch: Touch) -> int:
        return self.click_ms if touch.kind == "click" else self.view_ms


class Postback(Struct, frozen=True):
    """What an advertiser says."""

    advertiser: str
    click_id: str
    order: str
    value_micros: int
    test: bool


class Conversions:
    """Postbacks to events. `token_fits(token, advertiser)` is `PostbackTokens.fits`; `usd_per` as in `PriceReader`."""

    def __init__(
        self,
        token_fits: Callable[[str, str], bool],
        touches: TouchStore,
        identities: IdentityStore,
        usd_per: Callable[[str], float | None],
        windows: Windows,
    ) -> None:
        self._token_fits = token_fits
        self._touches = touches
        self._identities = identities
        self._usd_per = usd_per
        self._windows = windows

    def read(self, given: Mapping[str, str], bearer: str = "") -> Postback:
        """The postback in these parameters.

        Raises InvalidRequest: 403 without the advertiser's token, 400 for the rest.
        """
        advertiser = given.get("advertiser", "")
        if not is_advertiser(advertiser) or not self._token_fits(given.get("token", "") or bearer, advertiser):
            raise InvalidRequest("token is not this advertiser's", "$.query.token", "postback-token", 403)
        click, order = given.get("click_id", ""), given.get("order_id", "")
        if click and not _click_id(click):
            raise InvalidRequest("click_id is not one of ours", "$.query.click_id", "postback")
        if len(order) > MAX_ORDER or not order.isprintable():
            raise InvalidRequest(f"order_id is not {MAX_ORDER} printable characters", "$.query.order_id", "postback")
        if not click and not order:
            raise InvalidRequest("neither click_id nor order_id tells it from another", "$.query", "postback")
        return Postback(advertiser, click, order, self._value(given), given.get("test") == "1")

    def _value(self, given: Mapping[str, str]) -> int:
        text = given.get("value", "")
        if not text:
            return 0
        rate = self._usd_per(given.get("currency", "").upper() or "USD")
        if rate is None:
            raise InvalidRequest("currency is not known", "$.query.currency", "postback")
        if not _amount(text):
            raise InvalidRequest("value is not a plain decimal", "$.query.value", "postback")
        micros = int((Decimal(text) * Decimal(rate) * 1_000_000).to_integral_value(ROUND_HALF_UP))
        if micros > MAX_VALUE:
            raise InvalidRequest("value is too large", "$.query.value", "postback")
        return micros

    async def attribute(self, postback: Postback, cookie: str, now_ms: int) -> MoneyEvent:
        """The event, due to the last touch; without campaign and bid where there is none. `cookie`: "" or our own id of
        the visitor, where it may be used. Raises Unavailable."""
        user = ""
        if cookie:
            user = await self._identities.find(f"cookie:{cookie}")
        touch = None
        if postback.click_id or user:
            found = await self._touches.find(postback.advertiser, postback.click_id, user)
            touch = last_touch(found, postback.advertiser, self._windows, now_ms)
        detail = f"order:{postback.order}" if postback.order else f"click:{postback.click_id}"
        said = {"order_id": postback.order} if postback.order else {}
        event = MoneyEvent(
            id=event_id("conversion", postback.advertiser, detail),
            bid_key="",
            kind="conversion",
            exchange="",
            auction="",
            imp="",
            bid="",
            advertiser=postback.advertiser,
            campaign="",
            creative="",
            authorised_micros=0,
            bid_ms=now_ms,
            received_ms=now_ms,
            test=postback.test,
            macros=said,
            value_micros=postback.value_micros,
        )
        return event if touch is None else _due_to(event, touch)


def last_touch(found: list[Touch], advertiser: str, windows: Windows, now_ms: int) -> Touch | None:
    """The latest touch within its window; of a click and a view at the same time the click."""
    recent = [t for t in found if t.advertiser == advertiser and 0 <= now_ms - t.bid_ms <= windows.of(t)]
    return max(recent, key=lambda t: (t.touched_ms, t.kind == "click"), default=None)


def _due_to(event: MoneyEvent, touch: Touch) -> MoneyEvent:
    return MoneyEvent(
        id=event.id,
        bid_key=touch.bid_key,
        kind=event.kind,
        exchange=touch.exchange,
        auction=touch.auction,
        imp=touch.imp,
        bid=touch.bid,
        advertiser=touch.advertiser,
        campaign=touch.campaign,
        creative=touch.creative,
        authorised_micros=touch.authorised_micros,
        lease=touch.lease,
        user=touch.user,
        bid_ms=touch.bid_ms,
        received_ms=event.received_ms,
        test=event.test or touch.test,
        macros={**event.macros, "touch": touch.kind, "touched_ms": str(touch.touched_ms)},
        value_micros=event.value_micros,
    )


def touch_of(event: MoneyEvent, user: str) -> Touch:
    """What a click or impression leaves behind. `user`: the person's token."""
    return Touch(
        kind=event.kind,
        bid_key=event.bid_key,
        exchange=event.exchange,
        auction=event.auction,
        imp=event.imp,
        bid=event.bid,
        advertiser=event.advertiser,
        campaign=event.campaign,
        creative=event.creative,
        authorised_micros=event.authorised_micros,
        lease=event.lease,
        bid_ms=event.bid_ms,
        touched_ms=event.received_ms,
        user=user,
        test=event.test,
    )
