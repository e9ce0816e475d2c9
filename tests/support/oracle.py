"""Who may bid on what, worked out the slow and obvious way: loops over campaigns and creatives, one `if` a rule.

Written from the specification (OpenRTB 2.6, AdCOM 1.0, Native 1.2) and docs/catalogue.md, docs/privacy.md and
docs/validation.md, not from the indexes of `campaign_express.bidding`, of which it shares no code but the catalogue's
types, exchange rates and the rounding of floors. `oracle_facts.py` holds what is known of a request,
`oracle_creatives.py` which creatives fit an impression. Speed is no aim: a reader should see at a glance that it is
right.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from campaign_express.bidding.model import Advertiser, Campaign, GoalType, Status
from campaign_express.bidding.money import floor_to_micros
from campaign_express.openrtb.request import BidRequest, Deal, Imp
from tests.support.oracle_compare import (
    category_covers,
    domain_passes,
    folded,
    id_passes,
    int_passes,
    is_near,
    is_within,
    normal_cities,
    normal_countries,
    normal_regions,
    passes,
    within_versions,
)
from tests.support.oracle_creatives import may_show
from tests.support.oracle_facts import (
    World,
    addresses,
    country_of,
    device_type,
    domain_of,
    has_agent,
    has_complete_chain,
    inventory_of,
    known_network,
    lies_in,
    location,
    may_use_person,
    operating_system,
    utc_offset,
)

# (impression's index, deal's index or None for the open auction)
Place = tuple[int, int | None]
# (campaign id, creative id)
Pair = tuple[str, str]


def eligible(world: World, request: BidRequest) -> dict[Place, set[Pair]]:
    """Every creative of every campaign that may bid, by impression and deal. Places where none may are left out."""
    found: dict[Place, set[Pair]] = {}
    if currency(world, request) is None:
        return found
    for imp_index, imp in enumerate(request.imp):
        if not sold_to_us(world, imp):
            continue
        for campaign in world.catalog.campaigns:
            advertiser = next(a for a in world.catalog.advertisers if a.id == campaign.advertiser)
            if not may_buy(world, request, campaign, advertiser):
                continue
            for creative in campaign.creatives:
                if not may_show(world, imp, campaign, creative):
                    continue
                for place in places(world, imp, imp_index, campaign, advertiser):
                    found.setdefault(place, set()).add((campaign.id, creative.id))
    return found


def currency(world: World, request: BidRequest) -> str | None:
    """Section 3.2.1, `cur`: USD if allowed, else the first that we have a rate for."""
    allowed = request.cur or (world.exchange.currency,)
    if "USD" in allowed:
        return "USD"
    return next((c for c in allowed if world.rates.usd_per(c) is not None), None)


def floor_micros(world: World, floor: float | None, code: str | None) -> int | None:
    """CPM micros of USD; None: a floor in a currency without a rate, so nothing can be shown to reach it."""
    if not floor:
        return 0
    rate = world.rates.usd_per(code or "USD")
    return None if rate is None else floor_to_micros(floor, rate)


def price_micros(campaign: Campaign, pctr: float, pcvr: float) -> int:
    """What a bid of this campaign says: its expected value times its margin, at most its maximum, in whole micros."""
    bid = Fraction(campaign.goal.bid)
    if campaign.goal.type is GoalType.CPC:
        bid = bid * 1000 * Fraction(pctr)
    elif campaign.goal.type is GoalType.CPA:
        bid = bid * 1000 * Fraction(pctr) * Fraction(pcvr)
    return math.floor(min(bid * Fraction(campaign.margin), Fraction(campaign.max_bid)))


# ------------------------------------------------------------------ the impression


def sold_to_us(world: World, imp: Imp) -> bool:
    """Impressions that we buy at all."""
    if floor_micros(world, imp.bidfloor, imp.bidfloorcur) is None:
        return False
    if imp.qty is not None and imp.qty.multiplier not in (None, 1):
        return False  # one bid would pay for many people at a screen
    for stream in (imp.video, imp.audio):
        if stream is not None and (stream.poddur or (stream.maxseq or 0) > 1):
            return False  # as many ads as fit: ad pods of flexible length
    return True


def places(world: World, imp: Imp, imp_index: int, campaign: Campaign, advertiser: Advertiser) -> list[Place]:
    """In which auctions of the impression the campaign takes part."""
    wanted, unwanted = campaign.targeting.deal.include, campaign.targeting.deal.exclude
    private = imp.pmp is not None and imp.pmp.private_auction == 1
    found: list[Place] = []
    if not wanted and not private:
        found.append((imp_index, None))
    for deal_index, deal in enumerate((imp.pmp.deals or ()) if imp.pmp is not None else ()):
        if deal.id not in wanted or deal.id in unwanted:
            continue
        if deal_admits(world, deal, advertiser):
            found.append((imp_index, deal_index))
    return found


def deal_admits(world: World, deal: Deal, advertiser: Advertiser) -> bool:
    """Section 3.2.12."""
    if floor_micros(world, deal.bidfloor, deal.bidfloorcur) is None:
        return False
    if deal.wseat and seat_of(world, advertiser) not in deal.wseat:
        return False
    return not deal.wadomain or any(is_within(advertiser.domain, d) for d in deal.wadomain)


# ------------------------------------------------------------------ the campaign


def may_buy(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    """Campaign and advertiser against the request."""
    now = datetime.fromtimestamp(world.wall_ms / 1000, UTC)
    if campaign.status is not Status.ACTIVE:
        return False
    if now < campaign.flight.start or (campaign.flight.end is not None and now >= campaign.flight.end):
        return False
    if campaign.exchanges and world.exchange.name not in campaign.exchanges:
        return False
    return not is_blocked(world, request, campaign, advertiser) and is_targeted(world, request, campaign)


def seat_of(world: World, advertiser: Advertiser) -> str:
    return world.exchange.seats.get(advertiser.id) or advertiser.seat or advertiser.id


def is_blocked(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    seat = seat_of(world, advertiser)
    if request.wseat and seat not in request.wseat:
        return True
    if request.bseat and seat in request.bseat:
        return True
    if any(is_within(advertiser.domain, domain) for domain in request.badv or ()):
        return True
    if advertiser.bundle and advertiser.bundle.lower() in folded(request.bapp):
        return True
    return is_category_blocked(world, request, campaign, advertiser) or not discloses(request, advertiser)


def is_category_blocked(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    """Section 3.2.1, `bcat`: a first-tier id blocks its second tier.

    Where we state no category, or none in the list's taxonomy, nothing shows that it is not blocked.
    """
    if not request.bcat:
        return False
    own = campaign if campaign.categories else advertiser
    if not own.categories or (request.cattax or world.exchange.cattax) != own.cattax:
        return True
    return any(category_covers(blocked, category) for blocked in request.bcat for category in own.categories)


def discloses(request: BidRequest, advertiser: Advertiser) -> bool:
    """DSA extension: where disclosure is required, there must be something to disclose and a publisher who shows it."""
    dsa = request.regs.ext.dsa if request.regs is not None and request.regs.ext is not None else None
    if dsa is None or dsa.dsarequired not in (2, 3):
        return True
    return advertiser.dsa is not None and dsa.pubrender in (1, 2)


def is_targeted(world: World, request: BidRequest, campaign: Campaign) -> bool:
    """Every rule of the campaign that is about the whole request."""
    rules = campaign.targeting
    person = may_use_person(world, request)
    device = request.device
    geo = location(world, request)
    country = country_of(geo)
    region = (geo.region or "").rpartition("-")[2]
    place = request.app or request.site or request.dooh
    content = place.content if place is not None else None

    if rules.schain == "complete" and not has_complete_chain(request):
        return False
    if rules.inventory and inventory_of(request) not in rules.inventory:
        return False
    if not domain_passes(rules.domain, domain_of(request)):
        return False
    if not passes(rules.bundle, [request.app.bundle] if request.app is not None else []):
        return False
    publisher = place.publisher if place is not None else None
    if not id_passes(rules.publisher, [publisher.id] if publisher is not None else []):
        return False
    if not passes(normal_countries(rules.country), [country]):
        return False
    if not passes(normal_regions(rules.region), [f"{country}-{region}"] if country and region else []):
        return False
    city = geo.city if person else ""  # without the person's data the place is known no finer than by region and metro
    if not passes(normal_cities(rules.city), [city, f"{country}/{city}"] if city else []):
        return False
    if not passes(rules.metro, [geo.metro]):
        return False
    if not int_passes(rules.device_type, device_type(world, request)):
        return False
    os, version = operating_system(world, request)
    if not passes(rules.os, [os]):
        return False
    for bound in rules.os_version:
        if bound.os.lower() == os and not within_versions(version, bound.min, bound.max):
            return False
    make = (device.make if device is not None else None) or (world.device.make if has_agent(request) else "")
    if not passes(rules.make, [make]):
        return False
    if not int_passes(rules.connection, device.connectiontype if device is not None else None):
        return False
    if not passes(rules.carrier, [device.carrier] if device is not None else []):
        return False
    language = (device.language or device.langb or "") if device is not None else ""
    if not passes(rules.language, [language.split("-")[0]]):
        return False
    if not hour_passes(world, request, campaign):
        return False
    if not category_passes(world, request, campaign):
        return False
    words: list[str | None] = []
    for part in (place, content, request.user if person else None):
        if part is not None:
            words += [word.strip() for word in (part.keywords or "").split(",")]
            words += [word.strip() for word in part.kwarray or ()]
    if not passes(rules.keyword, words):
        return False
    return person_passes(world, request, campaign, person) and place_on_earth_passes(world, request, campaign, person)


def person_passes(world: World, request: BidRequest, campaign: Campaign, person: bool) -> bool:
    """Rules about the person: where their data may not be used, nothing is known of them."""
    segments: list[str | None] = []
    sources: list[str | None] = []
    user = request.user
    if person and user is not None:
        segments = [segment.id for data in user.data or () for segment in data.segment or ()]
        eids = user.eids or (user.ext.eids if user.ext is not None else None) or ()
        sources = [eid.source for eid in eids]
    return id_passes(campaign.targeting.segment, segments) and passes(campaign.targeting.eid_source, sources)


def place_on_earth_passes(world: World, request: BidRequest, campaign: Campaign, person: bool) -> bool:
    """Address and coordinates, which are cut where the person's data may not be used."""
    rules = campaign.targeting
    networks = [network for address in addresses(request) for network in known_network(address, person)]
    included = [ip_network(text) for text in rules.ip.include]
    excluded = [ip_network(text) for text in rules.ip.exclude]
    if included and not any(lies_in(known, wanted) for known in networks for wanted in included):
        return False
    if any(lies_in(known, unwanted) for known in networks for unwanted in excluded):
        return False
    geo = location(world, request)
    point = (geo.lat, geo.lon) if geo.lat is not None and geo.lon is not None else None
    if rules.radius.include and (
        not person or point is None or not any(is_near(point, circle) for circle in rules.radius.include)
    ):
        return False
    return point is None or not any(is_near(point, circle) for circle in rules.radius.exclude)


def hour_passes(world: World, request: BidRequest, campaign: Campaign) -> bool:
    rule = campaign.targeting.hours
    if rule is None:
        return True
    now = datetime.fromtimestamp(world.wall_ms / 1000, UTC)
    if rule.clock == "campaign":
        local = now.astimezone(ZoneInfo(campaign.time_zone))
    else:
        offset = utc_offset(world, request)
        if offset is None:
            return False
        local = now + timedelta(minutes=offset)
    return local.weekday() * 24 + local.hour in rule.hours


def category_passes(world: World, request: BidRequest, campaign: Campaign) -> bool:
    """Categories of page or app, sections and content, those that are in the rule's taxonomy."""
    rule = campaign.targeting.category
    categories: list[str] = []
    place = request.app or request.site
    if place is not None and (place.cattax or world.exchange.cattax) == rule.cattax:
        categories += [*(place.cat or ()), *(place.sectioncat or ()), *(place.pagecat or ())]
    holder = place or request.dooh
    content = holder.content if holder is not None else None
    if content is not None and (content.cattax or world.exchange.cattax) == rule.cattax:
        categories += content.cat or ()
    if rule.include and not any(category_covers(wanted, c) for wanted in rule.include for c in categories):
        return False
    return not any(category_covers(unwanted, c) for unwanted in rule.exclude for c in categories)


__all__ = ["Pair", "Place", "World", "currency", "eligible", "floor_micros", "price_micros", "seat_of"]
