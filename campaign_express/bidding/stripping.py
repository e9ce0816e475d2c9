"""A request as it may be kept: for backtests, without what could tell a person. docs/privacy.md, "Logged requests".

Every field that is kept is named here; one that is new in `openrtb.request` is left out until somebody has thought
about it (a test fills all of them and compares). What is left out: ids of persons and devices, what identifies one
transaction everywhere (`tid`), consent strings (nearly as telling as an id), addresses and coordinates beyond those of
a contextual request, cities, what is known or guessed of the person, URLs but for their host, device models and
screens, details of the user agent, and titles of what is watched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from campaign_express.bidding.context import host_of
from campaign_express.bidding.privacy import truncate_coordinate, truncate_ip
from campaign_express.openrtb.native import plain_native_request
from campaign_express.openrtb.request import (
    App,
    BidRequest,
    BrandVersion,
    Content,
    Device,
    DeviceExt,
    Dooh,
    Dsa,
    Geo,
    Imp,
    Native,
    Publisher,
    Regs,
    RegsExt,
    Site,
    Source,
    SourceExt,
    User,
    UserAgent,
)

MAX_AGENT = 256  # characters
MAX_SIGNAL = 4  # characters of a US privacy string or a flag; a longer one is something else

# What is kept as it is. What is kept changed stands in the functions below.
KEPT: dict[type[msgspec.Struct], tuple[str, ...]] = {
    BidRequest: ("test", "at", "tmax", "wseat", "bseat", "cur", "wlang", "bcat", "cattax", "badv", "bapp"),
    Native: ("ver", "api", "battr"),
    Site: (
        *("id", "name", "domain", "cat", "sectioncat", "pagecat", "cattax", "keywords", "kwarray"),
        "mobile",
    ),
    App: ("id", "name", "bundle", "domain", "cat", "sectioncat", "pagecat", "cattax", "keywords", "kwarray"),
    Dooh: ("id", "name", "domain", "venuetype", "keywords", "kwarray"),
    Publisher: ("id", "name", "domain", "cat", "cattax"),
    Content: ("genre", "cat", "cattax", "keywords", "kwarray", "language", "livestream"),
    Device: (
        *("dnt", "lmt", "devicetype", "make", "os", "osv", "language", "langb", "carrier", "mccmnc"),
        "connectiontype",
    ),
    Geo: ("type", "country", "region", "metro", "utcoffset"),
    UserAgent: ("mobile", "architecture"),
    BrandVersion: ("brand",),
    Source: ("fd", "schain"),
    SourceExt: ("schain",),
    Regs: ("coppa", "gdpr", "gpp_sid"),
    RegsExt: ("gdpr", "gpp_sid"),
    Dsa: ("dsarequired", "pubrender", "datatopub"),
}

_Signal = TypeVar("_Signal", str | None, int | str | bool | None)
_Part = TypeVar("_Part", bound=msgspec.Struct)
_Place = TypeVar("_Place", Site, App, Dooh)

_minor = re.compile(r"(?<=[0-9])[._][0-9][0-9._]*")  # of a version, what follows its first number
_number = re.compile(r"[0-9]+")
_telling = re.compile(r"(?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{16,}")  # ids that some apps put there


def stripped(request: BidRequest, own_id: str, contextual: bool, at_home: bool = False) -> BidRequest:
    """`request` as it may be kept, with `own_id` for its id. Of a contextual one no `user` is left.

    `at_home`: it was decided by the country of `user.geo`, since nothing else named one. Then that of a contextual one
    stands in `device.geo`, with region and metro: what is decided by it once more is decided as it was.
    """
    device = _if(request.device, _device)
    if contextual and at_home and request.user is not None and request.user.geo is not None:
        device = _placed(device, request.user.geo)
    return _kept(
        request,
        id=own_id,
        imp=tuple([_imp(imp) for imp in request.imp]),
        site=_if(request.site, _site),
        app=_if(request.app, _published),
        dooh=_if(request.dooh, _published),
        device=device,
        user=None if contextual or request.user is None else User(geo=_if(request.user.geo, _geo)),
        source=_if(request.source, _source),
        regs=_if(request.regs, _regs),
    )


def _kept(part: _Part, **changed: Any) -> _Part:
    """One with the fields of KEPT as they are, and those that are given; without all others."""
    return type(part)(**{name: getattr(part, name) for name in KEPT[type(part)]}, **changed)


def _if(part: _Part | None, strip: Callable[[_Part], _Part]) -> _Part | None:
    return None if part is None else strip(part)


def _imp(imp: Imp) -> Imp:
    native = imp.native
    if native is None or not native.request:
        return imp
    return msgspec.structs.replace(imp, native=_kept(native, request=plain_native_request(native.request)))


def _site(site: Site) -> Site:
    return _published(site, page=host_of(site.page) if site.page else None)


def _published(place: _Place, **changed: Any) -> _Place:
    """A site, an app, or a screen."""
    return _kept(place, publisher=_if(place.publisher, _kept), content=_if(place.content, _kept), **changed)


def _device(device: Device) -> Device:
    return _kept(
        device,
        geo=_if(device.geo, _geo),
        ua=coarse_agent(device.ua) if device.ua else None,
        sua=_if(device.sua, _structured_agent),
        ip=truncate_ip(device.ip) if device.ip else None,
        ipv6=truncate_ip(device.ipv6) if device.ipv6 else None,
        ext=None if device.ext is None else DeviceExt(_signal(device.ext.gpc)),
    )


def _placed(device: Device | None, home: Geo) -> Device:
    there = None if device is None else device.geo
    offset = home.utcoffset if there is None else there.utcoffset
    geo = Geo(country=home.country, region=home.region, metro=home.metro, utcoffset=offset)
    return Device(geo=geo) if device is None else msgspec.structs.replace(device, geo=geo)


def _geo(geo: Geo) -> Geo:
    return _kept(
        geo,
        lat=None if geo.lat is None else truncate_coordinate(geo.lat),
        lon=None if geo.lon is None else truncate_coordinate(geo.lon),
    )


def coarse_agent(agent: str) -> str:
    """A user agent with all numbers of its versions but the first made 0, and without long ids.

    As many numbers as there were: by them parsers tell a browser on a phone from one on a desktop. Browsers that reduce
    their user agents do the same.
    """
    return _telling.sub("", _minor.sub(lambda version: _number.sub("0", version[0]), agent[:MAX_AGENT]))


def _structured_agent(sua: UserAgent) -> UserAgent:
    platform = sua.platform
    return _kept(
        sua,
        browsers=tuple([_kept(one, version=(one.version or ())[:1]) for one in sua.browsers or ()]),
        platform=None if platform is None else _kept(platform, version=platform.version),
    )


def _source(source: Source) -> Source:
    return _kept(source, ext=_if(source.ext, _kept))


def _regs(regs: Regs) -> Regs:
    return _kept(regs, us_privacy=_signal(regs.us_privacy), ext=_if(regs.ext, _regs_ext))


def _regs_ext(ext: RegsExt) -> RegsExt:
    return _kept(ext, us_privacy=_signal(ext.us_privacy), gpc=_signal(ext.gpc), dsa=_if(ext.dsa, _kept))


def _signal(value: _Signal) -> _Signal:
    return None if isinstance(value, str) and len(value) > MAX_SIGNAL else value
