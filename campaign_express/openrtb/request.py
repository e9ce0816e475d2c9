"""OpenRTB 2.6 bid request: every field that the decision or the response uses, and some whose type alone is checked.

The latter describe media, places and devices further (`wlang`, `btype`, bit rates, pods, `yob`): whoever gets their
types wrong may mean anything by them. Of these, `wlang`, `btype` and bit rates restrict what may be answered, and are
not obeyed yet.

Field names are those of the specification (section 3.2), so they are not documented again here. Unknown fields are
skipped while decoding. Constraints that one field alone can break (wrong type, negative size, empty id) are part of the
types, so the decoder checks them at C speed and names the path; rules across fields are in `openrtb.validation`.
Structs carry no reference cycles, hence `gc=False`. What is not given is left out when one is written again (the event
log does, see `bidding/stripping.py`). Media objects are frozen, so that what fits them can be remembered
by their content.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Id = Annotated[str, Meta(min_length=1)]
# 32-bit, as in the protobuf form of the specification; also keeps absurd numbers out of numpy.
UInt = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Int = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Money = Annotated[float, Meta(ge=0, le=1e9)]
# Exchanges send `null` for an empty list or a default as often as they leave it out: both mean "not given".
Strs = tuple[str, ...] | None
Ints = tuple[Int, ...] | None


class Format(Struct, frozen=True, gc=False, omit_defaults=True):
    w: UInt | None = None
    h: UInt | None = None
    wratio: UInt | None = None
    hratio: UInt | None = None
    wmin: UInt | None = None


class Banner(Struct, frozen=True, gc=False, omit_defaults=True):
    format: tuple[Format, ...] | None = ()
    w: Int | None = None  # -1 is seen in the wild; it fits no creative
    h: Int | None = None
    btype: Ints = ()
    battr: Ints = ()
    pos: Int | None = None
    mimes: Strs = ()
    topframe: Int | None = None
    expdir: Ints = ()
    api: Ints = ()


class Video(Struct, frozen=True, gc=False, omit_defaults=True):
    mimes: Strs = ()
    minduration: UInt | None = None
    maxduration: UInt | None = None
    startdelay: Int | None = None
    maxseq: UInt | None = None
    poddur: UInt | None = None
    protocols: Ints = ()
    protocol: Int | None = None
    w: UInt | None = None
    h: UInt | None = None
    podid: Id | Int | None = None
    podseq: Int | None = None
    rqddurs: tuple[UInt, ...] | None = ()
    placement: Int | None = None
    plcmt: Int | None = None
    linearity: Int | None = None
    skip: Int | None = None
    skipmin: UInt | None = None
    skipafter: UInt | None = None
    sequence: UInt | None = None
    slotinpod: Int | None = None
    mincpmpersec: Money | None = None
    battr: Ints = ()
    minbitrate: UInt | None = None
    maxbitrate: UInt | None = None
    boxingallowed: Int | None = None
    playbackmethod: Ints = ()
    delivery: Ints = ()
    pos: Int | None = None
    api: Ints = ()


class Audio(Struct, frozen=True, gc=False, omit_defaults=True):
    mimes: Strs = ()
    minduration: UInt | None = None
    maxduration: UInt | None = None
    poddur: UInt | None = None
    protocols: Ints = ()
    startdelay: Int | None = None
    rqddurs: tuple[UInt, ...] | None = ()
    podid: Id | Int | None = None
    podseq: Int | None = None
    sequence: UInt | None = None
    slotinpod: Int | None = None
    mincpmpersec: Money | None = None
    battr: Ints = ()
    minbitrate: UInt | None = None
    maxbitrate: UInt | None = None
    delivery: Ints = ()
    api: Ints = ()
    feed: Int | None = None
    stitched: Int | None = None
    maxseq: UInt | None = None


class Native(Struct, frozen=True, gc=False, omit_defaults=True):
    request: str | None = None
    ver: str | None = None
    api: Ints = ()
    battr: Ints = ()


class Deal(Struct, gc=False, omit_defaults=True):
    id: Id
    bidfloor: Money | None = 0.0
    bidfloorcur: str | None = "USD"
    at: Int | None = None
    wseat: Strs = ()
    wadomain: Strs = ()


class Pmp(Struct, gc=False, omit_defaults=True):
    private_auction: Int | None = 0
    deals: tuple[Deal, ...] | None = ()


class Qty(Struct, gc=False, omit_defaults=True):
    multiplier: Money | None = None


class Imp(Struct, gc=False, omit_defaults=True):
    id: Id
    banner: Banner | None = None
    video: Video | None = None
    audio: Audio | None = None
    native: Native | None = None
    pmp: Pmp | None = None
    instl: Int | None = 0
    tagid: str | None = None
    bidfloor: Money | None = 0.0
    bidfloorcur: str | None = "USD"
    secure: Int | None = None
    exp: UInt | None = None
    rwdd: Int | None = 0
    qty: Qty | None = None


class Publisher(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    name: str | None = None
    domain: str | None = None
    cat: Strs = ()
    cattax: Int | None = None


class Content(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    title: str | None = None
    series: str | None = None
    genre: str | None = None
    cat: Strs = ()
    cattax: Int | None = None
    keywords: str | None = None
    kwarray: Strs = ()
    language: str | None = None
    livestream: Int | None = None


class Site(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    name: str | None = None
    domain: str | None = None
    cat: Strs = ()
    sectioncat: Strs = ()
    pagecat: Strs = ()
    cattax: Int | None = None
    page: str | None = None
    ref: str | None = None
    publisher: Publisher | None = None
    content: Content | None = None
    keywords: str | None = None
    kwarray: Strs = ()
    mobile: Int | None = None


class App(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    name: str | None = None
    bundle: str | None = None
    domain: str | None = None
    storeurl: str | None = None
    cat: Strs = ()
    sectioncat: Strs = ()
    pagecat: Strs = ()
    cattax: Int | None = None
    publisher: Publisher | None = None
    content: Content | None = None
    keywords: str | None = None
    kwarray: Strs = ()


class Dooh(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    name: str | None = None
    domain: str | None = None
    venuetype: Strs = ()
    publisher: Publisher | None = None
    content: Content | None = None
    keywords: str | None = None
    kwarray: Strs = ()


class Geo(Struct, gc=False, omit_defaults=True):
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    type: Int | None = None
    country: str | None = None
    region: str | None = None
    metro: str | None = None
    city: str | None = None
    zip: str | None = None
    utcoffset: Int | None = None


class BrandVersion(Struct, gc=False, omit_defaults=True):
    brand: str | None = None
    version: Strs = ()


class UserAgent(Struct, gc=False, omit_defaults=True):
    browsers: tuple[BrandVersion, ...] | None = ()
    platform: BrandVersion | None = None
    mobile: Int | None = None
    architecture: str | None = None
    model: str | None = None


class DeviceExt(Struct, gc=False, omit_defaults=True):
    gpc: Int | str | bool | None = None


class Device(Struct, gc=False, omit_defaults=True):
    geo: Geo | None = None
    dnt: Int | None = None
    lmt: Int | None = None
    ua: str | None = None
    sua: UserAgent | None = None
    ip: str | None = None
    ipv6: str | None = None
    devicetype: Int | None = None
    make: str | None = None
    model: str | None = None
    os: str | None = None
    osv: str | None = None
    w: UInt | None = None
    h: UInt | None = None
    language: str | None = None
    langb: str | None = None
    carrier: str | None = None
    mccmnc: str | None = None
    connectiontype: Int | None = None
    ifa: str | None = None
    ext: DeviceExt | None = None


class Uid(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    atype: Int | None = None


class Eid(Struct, gc=False, omit_defaults=True):
    source: str | None = None
    uids: tuple[Uid, ...] | None = ()


class Segment(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    value: str | None = None


class Data(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    name: str | None = None
    segment: tuple[Segment, ...] | None = ()


class UserExt(Struct, gc=False, omit_defaults=True):
    consent: str | None = None
    eids: tuple[Eid, ...] | None = None


class User(Struct, gc=False, omit_defaults=True):
    id: str | None = None
    buyeruid: str | None = None
    yob: Int | None = None
    gender: str | None = None
    keywords: str | None = None
    kwarray: Strs = ()
    geo: Geo | None = None
    data: tuple[Data, ...] | None = ()
    consent: str | None = None
    eids: tuple[Eid, ...] | None = None
    ext: UserExt | None = None


class DsaTransparency(Struct, gc=False, omit_defaults=True):
    domain: str | None = None
    dsaparams: Ints = ()


class Dsa(Struct, gc=False, omit_defaults=True):
    """regs.ext.dsa, IAB Tech Lab "DSA Transparency" extension."""

    dsarequired: Int | None = 0
    pubrender: Int | None = 0
    datatopub: Int | None = 0
    transparency: tuple[DsaTransparency, ...] | None = ()


class RegsExt(Struct, gc=False, omit_defaults=True):
    gdpr: Int | None = None
    us_privacy: str | None = None
    gpp: str | None = None
    gpp_sid: Ints | None = None
    gpc: Int | str | bool | None = None
    dsa: Dsa | None = None


class Regs(Struct, gc=False, omit_defaults=True):
    coppa: Int | None = None
    gdpr: Int | None = None
    us_privacy: str | None = None
    gpp: str | None = None
    gpp_sid: Ints | None = None
    ext: RegsExt | None = None


class SupplyChainNode(Struct, gc=False, omit_defaults=True):
    asi: str | None = None
    sid: str | None = None
    hp: Int | None = None


class SupplyChain(Struct, gc=False, omit_defaults=True):
    complete: Int | None = 0
    nodes: tuple[SupplyChainNode, ...] | None = ()
    ver: str | None = None


class SourceExt(Struct, gc=False, omit_defaults=True):
    schain: SupplyChain | None = None


class Source(Struct, gc=False, omit_defaults=True):
    fd: Int | None = None
    tid: str | None = None
    pchain: str | None = None
    schain: SupplyChain | None = None
    ext: SourceExt | None = None


class BidRequest(Struct, gc=False, omit_defaults=True):
    id: Id
    imp: Annotated[tuple[Imp, ...], Meta(min_length=1)]
    site: Site | None = None
    app: App | None = None
    dooh: Dooh | None = None
    device: Device | None = None
    user: User | None = None
    test: Int | None = 0
    at: Int | None = 2
    tmax: UInt | None = None
    wseat: Strs = ()
    bseat: Strs = ()
    cur: Strs = ()
    wlang: Strs = ()
    bcat: Strs = ()
    cattax: Int | None = None
    badv: Strs = ()
    bapp: Strs = ()
    source: Source | None = None
    regs: Regs | None = None
