"""A request as it may be kept: for backtests, without what could tell a person. docs/privacy.md, "Logged requests".

Every field that is kept is named here; one that is new in `openrtb.request` is left out until somebody has thought
about it (a test fills all of them and compares). What is left out: ids of persons and devices, what identifies one
transaction everywhere (`tid`), consent strings (nearly as telling as an id), addresses and coordinates beyond those of
a contextual request, cities, what is known or guessed of the person, URLs but for their host, device models and
screens, details of the user agent, and titles of what is watched.
"""

from __future__ import annotations

import re
from typing import TypeVar

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

_Signal = TypeVar("_Signal", str | None, int | str | bool | None)

_minor = re.compile(r"(?<=[0-9])[._][0-9][0-9._]*")  # of a version, what follows its first number
_number = re.compile(r"[0-9]+")
_telling = re.compile(r"(?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{16,}")  # ids that some apps put there


def stripped(request: BidRequest, own_id: str, contextual: bool, at_home: bool = False) -> BidRequest:
    """`request` as it may be kept, with `own_id` for its id. Of a contextual one no `user` is left.

    `at_home`: it was decided by the country of `user.geo`, since nothing else named one. Then that of a contextual one
    stands in `device.geo`, with region and metro: what is decided by it once more is decided as it was.
    """
    user = None if contextual or request.user is None else User(geo=_geo(request.user.geo))
    device = None if request.device is None else _device(request.device)
    if contextual and at_home and request.user is not None and request.user.geo is not None:
        device = _placed(device, request.user.geo)
    return BidRequest(
        id=own_id,
        imp=tuple([_imp(imp) for imp in request.imp]),
        site=None if request.site is None else _site(request.site),
        app=None if request.app is None else _app(request.app),
        dooh=None if request.dooh is None else _dooh(request.dooh),
        device=device,
        user=user,
        test=request.test,
        at=request.at,
        tmax=request.tmax,
        wseat=request.wseat,
        bseat=request.bseat,
        cur=request.cur,
        wlang=request.wlang,
        bcat=request.bcat,
        cattax=request.cattax,
        badv=request.badv,
        bapp=request.bapp,
        source=None if request.source is None else _source(request.source),
        regs=None if request.regs is None else _regs(request.regs),
    )


def _imp(imp: Imp) -> Imp:
    native = imp.native
    if native is None or not native.request:
        return imp
    kept = Native(plain_native_request(native.request), native.ver, native.api, native.battr)
    return msgspec.structs.replace(imp, native=kept)


def _site(site: Site) -> Site:
    return Site(
        id=site.id,
        name=site.name,
        domain=site.domain,
        cat=site.cat,
        sectioncat=site.sectioncat,
        pagecat=site.pagecat,
        cattax=site.cattax,
        page=host_of(site.page) if site.page else None,
        publisher=_publisher(site.publisher),
        content=_content(site.content),
        keywords=site.keywords,
        kwarray=site.kwarray,
        mobile=site.mobile,
    )


def _app(app: App) -> App:
    return App(
        id=app.id,
        name=app.name,
        bundle=app.bundle,
        domain=app.domain,
        cat=app.cat,
        sectioncat=app.sectioncat,
        pagecat=app.pagecat,
        cattax=app.cattax,
        publisher=_publisher(app.publisher),
        content=_content(app.content),
        keywords=app.keywords,
        kwarray=app.kwarray,
    )


def _dooh(dooh: Dooh) -> Dooh:
    return Dooh(
        id=dooh.id,
        name=dooh.name,
        domain=dooh.domain,
        venuetype=dooh.venuetype,
        publisher=_publisher(dooh.publisher),
        content=_content(dooh.content),
        keywords=dooh.keywords,
        kwarray=dooh.kwarray,
    )


def _publisher(publisher: Publisher | None) -> Publisher | None:
    if publisher is None:
        return None
    return Publisher(publisher.id, publisher.name, publisher.domain, publisher.cat, publisher.cattax)


def _content(content: Content | None) -> Content | None:
    if content is None:
        return None
    return Content(
        genre=content.genre,
        cat=content.cat,
        cattax=content.cattax,
        keywords=content.keywords,
        kwarray=content.kwarray,
        language=content.language,
        livestream=content.livestream,
    )


def _device(device: Device) -> Device:
    sua = device.sua
    return Device(
        geo=_geo(device.geo),
        dnt=device.dnt,
        lmt=device.lmt,
        ua=coarse_agent(device.ua) if device.ua else None,
        sua=None if sua is None else _structured_agent(sua),
        ip=truncate_ip(device.ip) if device.ip else None,
        ipv6=truncate_ip(device.ipv6) if device.ipv6 else None,
        devicetype=device.devicetype,
        make=device.make,
        os=device.os,
        osv=device.osv,
        language=device.language,
        langb=device.langb,
        carrier=device.carrier,
        mccmnc=device.mccmnc,
        connectiontype=device.connectiontype,
        ext=None if device.ext is None else DeviceExt(_signal(device.ext.gpc)),
    )


def _placed(device: Device | None, home: Geo) -> Device:
    there = None if device is None else device.geo
    offset = home.utcoffset if there is None else there.utcoffset
    geo = Geo(country=home.country, region=home.region, metro=home.metro, utcoffset=offset)
    return Device(geo=geo) if device is None else msgspec.structs.replace(device, geo=geo)


def _geo(geo: Geo | None) -> Geo | None:
    if geo is None:
        return None
    return Geo(
        lat=None if geo.lat is None else truncate_coordinate(geo.lat),
        lon=None if geo.lon is None else truncate_coordinate(geo.lon),
        type=geo.type,
        country=geo.country,
        region=geo.region,
        metro=geo.metro,
        utcoffset=geo.utcoffset,
    )


def coarse_agent(agent: str) -> str:
    """A user agent with all numbers of its versions but the first made 0, and without long ids.

    As many numbers as there were: by them parsers tell a browser on a phone from one on a desktop. Browsers that reduce
    their user agents do the same.
    """
    return _telling.sub("", _minor.sub(lambda version: _number.sub("0", version[0]), agent[:MAX_AGENT]))


def _structured_agent(sua: UserAgent) -> UserAgent:
    browsers = tuple([_first_number(one) for one in sua.browsers or ()])
    platform = None if sua.platform is None else BrandVersion(sua.platform.brand, sua.platform.version)
    return UserAgent(browsers, platform, sua.mobile, sua.architecture)


def _first_number(one: BrandVersion) -> BrandVersion:
    return BrandVersion(one.brand, (one.version or ())[:1])


def _source(source: Source) -> Source:
    return Source(
        fd=source.fd, schain=source.schain, ext=None if source.ext is None else SourceExt(schain=source.ext.schain)
    )


def _regs(regs: Regs) -> Regs:
    ext = regs.ext
    return Regs(
        coppa=regs.coppa,
        gdpr=regs.gdpr,
        us_privacy=_signal(regs.us_privacy),
        gpp_sid=regs.gpp_sid,
        ext=None
        if ext is None
        else RegsExt(
            gdpr=ext.gdpr,
            us_privacy=_signal(ext.us_privacy),
            gpp_sid=ext.gpp_sid,
            gpc=_signal(ext.gpc),
            dsa=_dsa(ext.dsa),
        ),
    )


def _signal(value: _Signal) -> _Signal:
    return None if isinstance(value, str) and len(value) > MAX_SIGNAL else value


def _dsa(dsa: Dsa | None) -> Dsa | None:
    return None if dsa is None else Dsa(dsa.dsarequired, dsa.pubrender, dsa.datatopub)
