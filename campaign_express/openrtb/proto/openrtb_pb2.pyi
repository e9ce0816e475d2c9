from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BidRequest(_message.Message):
    __slots__ = ("id", "imp", "site", "app", "dooh", "device", "user", "test", "at", "tmax", "wseat", "bseat", "cur", "wlang", "bcat", "cattax", "badv", "bapp", "source", "regs")
    class Source(_message.Message):
        __slots__ = ("fd", "tid", "pchain", "schain", "ext")
        class Ext(_message.Message):
            __slots__ = ("schain",)
            SCHAIN_FIELD_NUMBER: _ClassVar[int]
            schain: BidRequest.SupplyChain
            def __init__(self, schain: _Optional[_Union[BidRequest.SupplyChain, _Mapping]] = ...) -> None: ...
        FD_FIELD_NUMBER: _ClassVar[int]
        TID_FIELD_NUMBER: _ClassVar[int]
        PCHAIN_FIELD_NUMBER: _ClassVar[int]
        SCHAIN_FIELD_NUMBER: _ClassVar[int]
        EXT_FIELD_NUMBER: _ClassVar[int]
        fd: int
        tid: str
        pchain: str
        schain: BidRequest.SupplyChain
        ext: BidRequest.Source.Ext
        def __init__(self, fd: _Optional[int] = ..., tid: _Optional[str] = ..., pchain: _Optional[str] = ..., schain: _Optional[_Union[BidRequest.SupplyChain, _Mapping]] = ..., ext: _Optional[_Union[BidRequest.Source.Ext, _Mapping]] = ...) -> None: ...
    class SupplyChain(_message.Message):
        __slots__ = ("complete", "nodes", "ver")
        COMPLETE_FIELD_NUMBER: _ClassVar[int]
        NODES_FIELD_NUMBER: _ClassVar[int]
        VER_FIELD_NUMBER: _ClassVar[int]
        complete: int
        nodes: _containers.RepeatedCompositeFieldContainer[BidRequest.SupplyChainNode]
        ver: str
        def __init__(self, complete: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[BidRequest.SupplyChainNode, _Mapping]]] = ..., ver: _Optional[str] = ...) -> None: ...
    class SupplyChainNode(_message.Message):
        __slots__ = ("asi", "sid", "hp")
        ASI_FIELD_NUMBER: _ClassVar[int]
        SID_FIELD_NUMBER: _ClassVar[int]
        HP_FIELD_NUMBER: _ClassVar[int]
        asi: str
        sid: str
        hp: int
        def __init__(self, asi: _Optional[str] = ..., sid: _Optional[str] = ..., hp: _Optional[int] = ...) -> None: ...
    class Imp(_message.Message):
        __slots__ = ("id", "banner", "video", "audio", "native", "pmp", "instl", "tagid", "bidfloor", "bidfloorcur", "secure", "exp", "rwdd", "qty")
        ID_FIELD_NUMBER: _ClassVar[int]
        BANNER_FIELD_NUMBER: _ClassVar[int]
        VIDEO_FIELD_NUMBER: _ClassVar[int]
        AUDIO_FIELD_NUMBER: _ClassVar[int]
        NATIVE_FIELD_NUMBER: _ClassVar[int]
        PMP_FIELD_NUMBER: _ClassVar[int]
        INSTL_FIELD_NUMBER: _ClassVar[int]
        TAGID_FIELD_NUMBER: _ClassVar[int]
        BIDFLOOR_FIELD_NUMBER: _ClassVar[int]
        BIDFLOORCUR_FIELD_NUMBER: _ClassVar[int]
        SECURE_FIELD_NUMBER: _ClassVar[int]
        EXP_FIELD_NUMBER: _ClassVar[int]
        RWDD_FIELD_NUMBER: _ClassVar[int]
        QTY_FIELD_NUMBER: _ClassVar[int]
        id: str
        banner: BidRequest.Banner
        video: BidRequest.Video
        audio: BidRequest.Audio
        native: BidRequest.Native
        pmp: BidRequest.Pmp
        instl: int
        tagid: str
        bidfloor: float
        bidfloorcur: str
        secure: int
        exp: int
        rwdd: int
        qty: BidRequest.Qty
        def __init__(self, id: _Optional[str] = ..., banner: _Optional[_Union[BidRequest.Banner, _Mapping]] = ..., video: _Optional[_Union[BidRequest.Video, _Mapping]] = ..., audio: _Optional[_Union[BidRequest.Audio, _Mapping]] = ..., native: _Optional[_Union[BidRequest.Native, _Mapping]] = ..., pmp: _Optional[_Union[BidRequest.Pmp, _Mapping]] = ..., instl: _Optional[int] = ..., tagid: _Optional[str] = ..., bidfloor: _Optional[float] = ..., bidfloorcur: _Optional[str] = ..., secure: _Optional[int] = ..., exp: _Optional[int] = ..., rwdd: _Optional[int] = ..., qty: _Optional[_Union[BidRequest.Qty, _Mapping]] = ...) -> None: ...
    class Banner(_message.Message):
        __slots__ = ("format", "w", "h", "btype", "battr", "pos", "mimes", "topframe", "expdir", "api")
        FORMAT_FIELD_NUMBER: _ClassVar[int]
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        BTYPE_FIELD_NUMBER: _ClassVar[int]
        BATTR_FIELD_NUMBER: _ClassVar[int]
        POS_FIELD_NUMBER: _ClassVar[int]
        MIMES_FIELD_NUMBER: _ClassVar[int]
        TOPFRAME_FIELD_NUMBER: _ClassVar[int]
        EXPDIR_FIELD_NUMBER: _ClassVar[int]
        API_FIELD_NUMBER: _ClassVar[int]
        format: _containers.RepeatedCompositeFieldContainer[BidRequest.Format]
        w: int
        h: int
        btype: _containers.RepeatedScalarFieldContainer[int]
        battr: _containers.RepeatedScalarFieldContainer[int]
        pos: int
        mimes: _containers.RepeatedScalarFieldContainer[str]
        topframe: int
        expdir: _containers.RepeatedScalarFieldContainer[int]
        api: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, format: _Optional[_Iterable[_Union[BidRequest.Format, _Mapping]]] = ..., w: _Optional[int] = ..., h: _Optional[int] = ..., btype: _Optional[_Iterable[int]] = ..., battr: _Optional[_Iterable[int]] = ..., pos: _Optional[int] = ..., mimes: _Optional[_Iterable[str]] = ..., topframe: _Optional[int] = ..., expdir: _Optional[_Iterable[int]] = ..., api: _Optional[_Iterable[int]] = ...) -> None: ...
    class Format(_message.Message):
        __slots__ = ("w", "h", "wratio", "hratio", "wmin")
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        WRATIO_FIELD_NUMBER: _ClassVar[int]
        HRATIO_FIELD_NUMBER: _ClassVar[int]
        WMIN_FIELD_NUMBER: _ClassVar[int]
        w: int
        h: int
        wratio: int
        hratio: int
        wmin: int
        def __init__(self, w: _Optional[int] = ..., h: _Optional[int] = ..., wratio: _Optional[int] = ..., hratio: _Optional[int] = ..., wmin: _Optional[int] = ...) -> None: ...
    class Video(_message.Message):
        __slots__ = ("mimes", "minduration", "maxduration", "startdelay", "maxseq", "poddur", "protocols", "protocol", "w", "h", "podid", "podseq", "rqddurs", "placement", "plcmt", "linearity", "skip", "skipmin", "skipafter", "sequence", "slotinpod", "mincpmpersec", "battr", "minbitrate", "maxbitrate", "boxingallowed", "playbackmethod", "delivery", "pos", "api")
        MIMES_FIELD_NUMBER: _ClassVar[int]
        MINDURATION_FIELD_NUMBER: _ClassVar[int]
        MAXDURATION_FIELD_NUMBER: _ClassVar[int]
        STARTDELAY_FIELD_NUMBER: _ClassVar[int]
        MAXSEQ_FIELD_NUMBER: _ClassVar[int]
        PODDUR_FIELD_NUMBER: _ClassVar[int]
        PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        PODID_FIELD_NUMBER: _ClassVar[int]
        PODSEQ_FIELD_NUMBER: _ClassVar[int]
        RQDDURS_FIELD_NUMBER: _ClassVar[int]
        PLACEMENT_FIELD_NUMBER: _ClassVar[int]
        PLCMT_FIELD_NUMBER: _ClassVar[int]
        LINEARITY_FIELD_NUMBER: _ClassVar[int]
        SKIP_FIELD_NUMBER: _ClassVar[int]
        SKIPMIN_FIELD_NUMBER: _ClassVar[int]
        SKIPAFTER_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        SLOTINPOD_FIELD_NUMBER: _ClassVar[int]
        MINCPMPERSEC_FIELD_NUMBER: _ClassVar[int]
        BATTR_FIELD_NUMBER: _ClassVar[int]
        MINBITRATE_FIELD_NUMBER: _ClassVar[int]
        MAXBITRATE_FIELD_NUMBER: _ClassVar[int]
        BOXINGALLOWED_FIELD_NUMBER: _ClassVar[int]
        PLAYBACKMETHOD_FIELD_NUMBER: _ClassVar[int]
        DELIVERY_FIELD_NUMBER: _ClassVar[int]
        POS_FIELD_NUMBER: _ClassVar[int]
        API_FIELD_NUMBER: _ClassVar[int]
        mimes: _containers.RepeatedScalarFieldContainer[str]
        minduration: int
        maxduration: int
        startdelay: int
        maxseq: int
        poddur: int
        protocols: _containers.RepeatedScalarFieldContainer[int]
        protocol: int
        w: int
        h: int
        podid: str
        podseq: int
        rqddurs: _containers.RepeatedScalarFieldContainer[int]
        placement: int
        plcmt: int
        linearity: int
        skip: int
        skipmin: int
        skipafter: int
        sequence: int
        slotinpod: int
        mincpmpersec: float
        battr: _containers.RepeatedScalarFieldContainer[int]
        minbitrate: int
        maxbitrate: int
        boxingallowed: int
        playbackmethod: _containers.RepeatedScalarFieldContainer[int]
        delivery: _containers.RepeatedScalarFieldContainer[int]
        pos: int
        api: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, mimes: _Optional[_Iterable[str]] = ..., minduration: _Optional[int] = ..., maxduration: _Optional[int] = ..., startdelay: _Optional[int] = ..., maxseq: _Optional[int] = ..., poddur: _Optional[int] = ..., protocols: _Optional[_Iterable[int]] = ..., protocol: _Optional[int] = ..., w: _Optional[int] = ..., h: _Optional[int] = ..., podid: _Optional[str] = ..., podseq: _Optional[int] = ..., rqddurs: _Optional[_Iterable[int]] = ..., placement: _Optional[int] = ..., plcmt: _Optional[int] = ..., linearity: _Optional[int] = ..., skip: _Optional[int] = ..., skipmin: _Optional[int] = ..., skipafter: _Optional[int] = ..., sequence: _Optional[int] = ..., slotinpod: _Optional[int] = ..., mincpmpersec: _Optional[float] = ..., battr: _Optional[_Iterable[int]] = ..., minbitrate: _Optional[int] = ..., maxbitrate: _Optional[int] = ..., boxingallowed: _Optional[int] = ..., playbackmethod: _Optional[_Iterable[int]] = ..., delivery: _Optional[_Iterable[int]] = ..., pos: _Optional[int] = ..., api: _Optional[_Iterable[int]] = ...) -> None: ...
    class Audio(_message.Message):
        __slots__ = ("mimes", "minduration", "maxduration", "poddur", "protocols", "startdelay", "rqddurs", "podid", "podseq", "sequence", "slotinpod", "mincpmpersec", "battr", "minbitrate", "maxbitrate", "delivery", "api", "feed", "stitched", "maxseq")
        MIMES_FIELD_NUMBER: _ClassVar[int]
        MINDURATION_FIELD_NUMBER: _ClassVar[int]
        MAXDURATION_FIELD_NUMBER: _ClassVar[int]
        PODDUR_FIELD_NUMBER: _ClassVar[int]
        PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
        STARTDELAY_FIELD_NUMBER: _ClassVar[int]
        RQDDURS_FIELD_NUMBER: _ClassVar[int]
        PODID_FIELD_NUMBER: _ClassVar[int]
        PODSEQ_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        SLOTINPOD_FIELD_NUMBER: _ClassVar[int]
        MINCPMPERSEC_FIELD_NUMBER: _ClassVar[int]
        BATTR_FIELD_NUMBER: _ClassVar[int]
        MINBITRATE_FIELD_NUMBER: _ClassVar[int]
        MAXBITRATE_FIELD_NUMBER: _ClassVar[int]
        DELIVERY_FIELD_NUMBER: _ClassVar[int]
        API_FIELD_NUMBER: _ClassVar[int]
        FEED_FIELD_NUMBER: _ClassVar[int]
        STITCHED_FIELD_NUMBER: _ClassVar[int]
        MAXSEQ_FIELD_NUMBER: _ClassVar[int]
        mimes: _containers.RepeatedScalarFieldContainer[str]
        minduration: int
        maxduration: int
        poddur: int
        protocols: _containers.RepeatedScalarFieldContainer[int]
        startdelay: int
        rqddurs: _containers.RepeatedScalarFieldContainer[int]
        podid: str
        podseq: int
        sequence: int
        slotinpod: int
        mincpmpersec: float
        battr: _containers.RepeatedScalarFieldContainer[int]
        minbitrate: int
        maxbitrate: int
        delivery: _containers.RepeatedScalarFieldContainer[int]
        api: _containers.RepeatedScalarFieldContainer[int]
        feed: int
        stitched: int
        maxseq: int
        def __init__(self, mimes: _Optional[_Iterable[str]] = ..., minduration: _Optional[int] = ..., maxduration: _Optional[int] = ..., poddur: _Optional[int] = ..., protocols: _Optional[_Iterable[int]] = ..., startdelay: _Optional[int] = ..., rqddurs: _Optional[_Iterable[int]] = ..., podid: _Optional[str] = ..., podseq: _Optional[int] = ..., sequence: _Optional[int] = ..., slotinpod: _Optional[int] = ..., mincpmpersec: _Optional[float] = ..., battr: _Optional[_Iterable[int]] = ..., minbitrate: _Optional[int] = ..., maxbitrate: _Optional[int] = ..., delivery: _Optional[_Iterable[int]] = ..., api: _Optional[_Iterable[int]] = ..., feed: _Optional[int] = ..., stitched: _Optional[int] = ..., maxseq: _Optional[int] = ...) -> None: ...
    class Native(_message.Message):
        __slots__ = ("request", "request_native", "ver", "api", "battr")
        REQUEST_FIELD_NUMBER: _ClassVar[int]
        REQUEST_NATIVE_FIELD_NUMBER: _ClassVar[int]
        VER_FIELD_NUMBER: _ClassVar[int]
        API_FIELD_NUMBER: _ClassVar[int]
        BATTR_FIELD_NUMBER: _ClassVar[int]
        request: str
        request_native: NativeRequest
        ver: str
        api: _containers.RepeatedScalarFieldContainer[int]
        battr: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, request: _Optional[str] = ..., request_native: _Optional[_Union[NativeRequest, _Mapping]] = ..., ver: _Optional[str] = ..., api: _Optional[_Iterable[int]] = ..., battr: _Optional[_Iterable[int]] = ...) -> None: ...
    class Pmp(_message.Message):
        __slots__ = ("private_auction", "deals")
        PRIVATE_AUCTION_FIELD_NUMBER: _ClassVar[int]
        DEALS_FIELD_NUMBER: _ClassVar[int]
        private_auction: int
        deals: _containers.RepeatedCompositeFieldContainer[BidRequest.Deal]
        def __init__(self, private_auction: _Optional[int] = ..., deals: _Optional[_Iterable[_Union[BidRequest.Deal, _Mapping]]] = ...) -> None: ...
    class Deal(_message.Message):
        __slots__ = ("id", "bidfloor", "bidfloorcur", "at", "wseat", "wadomain")
        ID_FIELD_NUMBER: _ClassVar[int]
        BIDFLOOR_FIELD_NUMBER: _ClassVar[int]
        BIDFLOORCUR_FIELD_NUMBER: _ClassVar[int]
        AT_FIELD_NUMBER: _ClassVar[int]
        WSEAT_FIELD_NUMBER: _ClassVar[int]
        WADOMAIN_FIELD_NUMBER: _ClassVar[int]
        id: str
        bidfloor: float
        bidfloorcur: str
        at: int
        wseat: _containers.RepeatedScalarFieldContainer[str]
        wadomain: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, id: _Optional[str] = ..., bidfloor: _Optional[float] = ..., bidfloorcur: _Optional[str] = ..., at: _Optional[int] = ..., wseat: _Optional[_Iterable[str]] = ..., wadomain: _Optional[_Iterable[str]] = ...) -> None: ...
    class Qty(_message.Message):
        __slots__ = ("multiplier",)
        MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
        multiplier: float
        def __init__(self, multiplier: _Optional[float] = ...) -> None: ...
    class Publisher(_message.Message):
        __slots__ = ("id", "name", "cat", "domain", "cattax")
        ID_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        CAT_FIELD_NUMBER: _ClassVar[int]
        DOMAIN_FIELD_NUMBER: _ClassVar[int]
        CATTAX_FIELD_NUMBER: _ClassVar[int]
        id: str
        name: str
        cat: _containers.RepeatedScalarFieldContainer[str]
        domain: str
        cattax: int
        def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., cat: _Optional[_Iterable[str]] = ..., domain: _Optional[str] = ..., cattax: _Optional[int] = ...) -> None: ...
    class Content(_message.Message):
        __slots__ = ("id", "title", "series", "genre", "cat", "cattax", "keywords", "kwarray", "language", "livestream")
        ID_FIELD_NUMBER: _ClassVar[int]
        TITLE_FIELD_NUMBER: _ClassVar[int]
        SERIES_FIELD_NUMBER: _ClassVar[int]
        GENRE_FIELD_NUMBER: _ClassVar[int]
        CAT_FIELD_NUMBER: _ClassVar[int]
        CATTAX_FIELD_NUMBER: _ClassVar[int]
        KEYWORDS_FIELD_NUMBER: _ClassVar[int]
        KWARRAY_FIELD_NUMBER: _ClassVar[int]
        LANGUAGE_FIELD_NUMBER: _ClassVar[int]
        LIVESTREAM_FIELD_NUMBER: _ClassVar[int]
        id: str
        title: str
        series: str
        genre: str
        cat: _containers.RepeatedScalarFieldContainer[str]
        cattax: int
        keywords: str
        kwarray: _containers.RepeatedScalarFieldContainer[str]
        language: str
        livestream: int
        def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., series: _Optional[str] = ..., genre: _Optional[str] = ..., cat: _Optional[_Iterable[str]] = ..., cattax: _Optional[int] = ..., keywords: _Optional[str] = ..., kwarray: _Optional[_Iterable[str]] = ..., language: _Optional[str] = ..., livestream: _Optional[int] = ...) -> None: ...
    class Site(_message.Message):
        __slots__ = ("id", "name", "domain", "cat", "sectioncat", "pagecat", "cattax", "page", "ref", "publisher", "content", "keywords", "kwarray", "mobile")
        ID_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        DOMAIN_FIELD_NUMBER: _ClassVar[int]
        CAT_FIELD_NUMBER: _ClassVar[int]
        SECTIONCAT_FIELD_NUMBER: _ClassVar[int]
        PAGECAT_FIELD_NUMBER: _ClassVar[int]
        CATTAX_FIELD_NUMBER: _ClassVar[int]
        PAGE_FIELD_NUMBER: _ClassVar[int]
        REF_FIELD_NUMBER: _ClassVar[int]
        PUBLISHER_FIELD_NUMBER: _ClassVar[int]
        CONTENT_FIELD_NUMBER: _ClassVar[int]
        KEYWORDS_FIELD_NUMBER: _ClassVar[int]
        KWARRAY_FIELD_NUMBER: _ClassVar[int]
        MOBILE_FIELD_NUMBER: _ClassVar[int]
        id: str
        name: str
        domain: str
        cat: _containers.RepeatedScalarFieldContainer[str]
        sectioncat: _containers.RepeatedScalarFieldContainer[str]
        pagecat: _containers.RepeatedScalarFieldContainer[str]
        cattax: int
        page: str
        ref: str
        publisher: BidRequest.Publisher
        content: BidRequest.Content
        keywords: str
        kwarray: _containers.RepeatedScalarFieldContainer[str]
        mobile: int
        def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., domain: _Optional[str] = ..., cat: _Optional[_Iterable[str]] = ..., sectioncat: _Optional[_Iterable[str]] = ..., pagecat: _Optional[_Iterable[str]] = ..., cattax: _Optional[int] = ..., page: _Optional[str] = ..., ref: _Optional[str] = ..., publisher: _Optional[_Union[BidRequest.Publisher, _Mapping]] = ..., content: _Optional[_Union[BidRequest.Content, _Mapping]] = ..., keywords: _Optional[str] = ..., kwarray: _Optional[_Iterable[str]] = ..., mobile: _Optional[int] = ...) -> None: ...
    class App(_message.Message):
        __slots__ = ("id", "name", "bundle", "domain", "storeurl", "cat", "sectioncat", "pagecat", "cattax", "publisher", "content", "keywords", "kwarray")
        ID_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        BUNDLE_FIELD_NUMBER: _ClassVar[int]
        DOMAIN_FIELD_NUMBER: _ClassVar[int]
        STOREURL_FIELD_NUMBER: _ClassVar[int]
        CAT_FIELD_NUMBER: _ClassVar[int]
        SECTIONCAT_FIELD_NUMBER: _ClassVar[int]
        PAGECAT_FIELD_NUMBER: _ClassVar[int]
        CATTAX_FIELD_NUMBER: _ClassVar[int]
        PUBLISHER_FIELD_NUMBER: _ClassVar[int]
        CONTENT_FIELD_NUMBER: _ClassVar[int]
        KEYWORDS_FIELD_NUMBER: _ClassVar[int]
        KWARRAY_FIELD_NUMBER: _ClassVar[int]
        id: str
        name: str
        bundle: str
        domain: str
        storeurl: str
        cat: _containers.RepeatedScalarFieldContainer[str]
        sectioncat: _containers.RepeatedScalarFieldContainer[str]
        pagecat: _containers.RepeatedScalarFieldContainer[str]
        cattax: int
        publisher: BidRequest.Publisher
        content: BidRequest.Content
        keywords: str
        kwarray: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., bundle: _Optional[str] = ..., domain: _Optional[str] = ..., storeurl: _Optional[str] = ..., cat: _Optional[_Iterable[str]] = ..., sectioncat: _Optional[_Iterable[str]] = ..., pagecat: _Optional[_Iterable[str]] = ..., cattax: _Optional[int] = ..., publisher: _Optional[_Union[BidRequest.Publisher, _Mapping]] = ..., content: _Optional[_Union[BidRequest.Content, _Mapping]] = ..., keywords: _Optional[str] = ..., kwarray: _Optional[_Iterable[str]] = ...) -> None: ...
    class Dooh(_message.Message):
        __slots__ = ("id", "name", "domain", "venuetype", "publisher", "content", "keywords", "kwarray")
        ID_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        DOMAIN_FIELD_NUMBER: _ClassVar[int]
        VENUETYPE_FIELD_NUMBER: _ClassVar[int]
        PUBLISHER_FIELD_NUMBER: _ClassVar[int]
        CONTENT_FIELD_NUMBER: _ClassVar[int]
        KEYWORDS_FIELD_NUMBER: _ClassVar[int]
        KWARRAY_FIELD_NUMBER: _ClassVar[int]
        id: str
        name: str
        domain: str
        venuetype: _containers.RepeatedScalarFieldContainer[str]
        publisher: BidRequest.Publisher
        content: BidRequest.Content
        keywords: str
        kwarray: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., domain: _Optional[str] = ..., venuetype: _Optional[_Iterable[str]] = ..., publisher: _Optional[_Union[BidRequest.Publisher, _Mapping]] = ..., content: _Optional[_Union[BidRequest.Content, _Mapping]] = ..., keywords: _Optional[str] = ..., kwarray: _Optional[_Iterable[str]] = ...) -> None: ...
    class Geo(_message.Message):
        __slots__ = ("lat", "lon", "type", "country", "region", "metro", "city", "zip", "utcoffset")
        LAT_FIELD_NUMBER: _ClassVar[int]
        LON_FIELD_NUMBER: _ClassVar[int]
        TYPE_FIELD_NUMBER: _ClassVar[int]
        COUNTRY_FIELD_NUMBER: _ClassVar[int]
        REGION_FIELD_NUMBER: _ClassVar[int]
        METRO_FIELD_NUMBER: _ClassVar[int]
        CITY_FIELD_NUMBER: _ClassVar[int]
        ZIP_FIELD_NUMBER: _ClassVar[int]
        UTCOFFSET_FIELD_NUMBER: _ClassVar[int]
        lat: float
        lon: float
        type: int
        country: str
        region: str
        metro: str
        city: str
        zip: str
        utcoffset: int
        def __init__(self, lat: _Optional[float] = ..., lon: _Optional[float] = ..., type: _Optional[int] = ..., country: _Optional[str] = ..., region: _Optional[str] = ..., metro: _Optional[str] = ..., city: _Optional[str] = ..., zip: _Optional[str] = ..., utcoffset: _Optional[int] = ...) -> None: ...
    class BrandVersion(_message.Message):
        __slots__ = ("brand", "version")
        BRAND_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        brand: str
        version: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, brand: _Optional[str] = ..., version: _Optional[_Iterable[str]] = ...) -> None: ...
    class UserAgent(_message.Message):
        __slots__ = ("browsers", "platform", "mobile", "architecture", "model")
        BROWSERS_FIELD_NUMBER: _ClassVar[int]
        PLATFORM_FIELD_NUMBER: _ClassVar[int]
        MOBILE_FIELD_NUMBER: _ClassVar[int]
        ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
        MODEL_FIELD_NUMBER: _ClassVar[int]
        browsers: _containers.RepeatedCompositeFieldContainer[BidRequest.BrandVersion]
        platform: BidRequest.BrandVersion
        mobile: int
        architecture: str
        model: str
        def __init__(self, browsers: _Optional[_Iterable[_Union[BidRequest.BrandVersion, _Mapping]]] = ..., platform: _Optional[_Union[BidRequest.BrandVersion, _Mapping]] = ..., mobile: _Optional[int] = ..., architecture: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...
    class Device(_message.Message):
        __slots__ = ("geo", "dnt", "lmt", "ua", "sua", "ip", "ipv6", "devicetype", "make", "model", "os", "osv", "w", "h", "language", "langb", "carrier", "mccmnc", "connectiontype", "ifa", "ext")
        class Ext(_message.Message):
            __slots__ = ("gpc",)
            GPC_FIELD_NUMBER: _ClassVar[int]
            gpc: str
            def __init__(self, gpc: _Optional[str] = ...) -> None: ...
        GEO_FIELD_NUMBER: _ClassVar[int]
        DNT_FIELD_NUMBER: _ClassVar[int]
        LMT_FIELD_NUMBER: _ClassVar[int]
        UA_FIELD_NUMBER: _ClassVar[int]
        SUA_FIELD_NUMBER: _ClassVar[int]
        IP_FIELD_NUMBER: _ClassVar[int]
        IPV6_FIELD_NUMBER: _ClassVar[int]
        DEVICETYPE_FIELD_NUMBER: _ClassVar[int]
        MAKE_FIELD_NUMBER: _ClassVar[int]
        MODEL_FIELD_NUMBER: _ClassVar[int]
        OS_FIELD_NUMBER: _ClassVar[int]
        OSV_FIELD_NUMBER: _ClassVar[int]
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        LANGUAGE_FIELD_NUMBER: _ClassVar[int]
        LANGB_FIELD_NUMBER: _ClassVar[int]
        CARRIER_FIELD_NUMBER: _ClassVar[int]
        MCCMNC_FIELD_NUMBER: _ClassVar[int]
        CONNECTIONTYPE_FIELD_NUMBER: _ClassVar[int]
        IFA_FIELD_NUMBER: _ClassVar[int]
        EXT_FIELD_NUMBER: _ClassVar[int]
        geo: BidRequest.Geo
        dnt: int
        lmt: int
        ua: str
        sua: BidRequest.UserAgent
        ip: str
        ipv6: str
        devicetype: int
        make: str
        model: str
        os: str
        osv: str
        w: int
        h: int
        language: str
        langb: str
        carrier: str
        mccmnc: str
        connectiontype: int
        ifa: str
        ext: BidRequest.Device.Ext
        def __init__(self, geo: _Optional[_Union[BidRequest.Geo, _Mapping]] = ..., dnt: _Optional[int] = ..., lmt: _Optional[int] = ..., ua: _Optional[str] = ..., sua: _Optional[_Union[BidRequest.UserAgent, _Mapping]] = ..., ip: _Optional[str] = ..., ipv6: _Optional[str] = ..., devicetype: _Optional[int] = ..., make: _Optional[str] = ..., model: _Optional[str] = ..., os: _Optional[str] = ..., osv: _Optional[str] = ..., w: _Optional[int] = ..., h: _Optional[int] = ..., language: _Optional[str] = ..., langb: _Optional[str] = ..., carrier: _Optional[str] = ..., mccmnc: _Optional[str] = ..., connectiontype: _Optional[int] = ..., ifa: _Optional[str] = ..., ext: _Optional[_Union[BidRequest.Device.Ext, _Mapping]] = ...) -> None: ...
    class Uid(_message.Message):
        __slots__ = ("id", "atype")
        ID_FIELD_NUMBER: _ClassVar[int]
        ATYPE_FIELD_NUMBER: _ClassVar[int]
        id: str
        atype: int
        def __init__(self, id: _Optional[str] = ..., atype: _Optional[int] = ...) -> None: ...
    class Eid(_message.Message):
        __slots__ = ("source", "uids")
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        UIDS_FIELD_NUMBER: _ClassVar[int]
        source: str
        uids: _containers.RepeatedCompositeFieldContainer[BidRequest.Uid]
        def __init__(self, source: _Optional[str] = ..., uids: _Optional[_Iterable[_Union[BidRequest.Uid, _Mapping]]] = ...) -> None: ...
    class Segment(_message.Message):
        __slots__ = ("id", "value")
        ID_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        id: str
        value: str
        def __init__(self, id: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class Data(_message.Message):
        __slots__ = ("id", "name", "segment")
        ID_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        SEGMENT_FIELD_NUMBER: _ClassVar[int]
        id: str
        name: str
        segment: _containers.RepeatedCompositeFieldContainer[BidRequest.Segment]
        def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., segment: _Optional[_Iterable[_Union[BidRequest.Segment, _Mapping]]] = ...) -> None: ...
    class User(_message.Message):
        __slots__ = ("id", "buyeruid", "yob", "gender", "keywords", "kwarray", "geo", "data", "consent", "eids", "ext")
        class Ext(_message.Message):
            __slots__ = ("consent", "eids")
            CONSENT_FIELD_NUMBER: _ClassVar[int]
            EIDS_FIELD_NUMBER: _ClassVar[int]
            consent: str
            eids: _containers.RepeatedCompositeFieldContainer[BidRequest.Eid]
            def __init__(self, consent: _Optional[str] = ..., eids: _Optional[_Iterable[_Union[BidRequest.Eid, _Mapping]]] = ...) -> None: ...
        ID_FIELD_NUMBER: _ClassVar[int]
        BUYERUID_FIELD_NUMBER: _ClassVar[int]
        YOB_FIELD_NUMBER: _ClassVar[int]
        GENDER_FIELD_NUMBER: _ClassVar[int]
        KEYWORDS_FIELD_NUMBER: _ClassVar[int]
        KWARRAY_FIELD_NUMBER: _ClassVar[int]
        GEO_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        CONSENT_FIELD_NUMBER: _ClassVar[int]
        EIDS_FIELD_NUMBER: _ClassVar[int]
        EXT_FIELD_NUMBER: _ClassVar[int]
        id: str
        buyeruid: str
        yob: int
        gender: str
        keywords: str
        kwarray: _containers.RepeatedScalarFieldContainer[str]
        geo: BidRequest.Geo
        data: _containers.RepeatedCompositeFieldContainer[BidRequest.Data]
        consent: str
        eids: _containers.RepeatedCompositeFieldContainer[BidRequest.Eid]
        ext: BidRequest.User.Ext
        def __init__(self, id: _Optional[str] = ..., buyeruid: _Optional[str] = ..., yob: _Optional[int] = ..., gender: _Optional[str] = ..., keywords: _Optional[str] = ..., kwarray: _Optional[_Iterable[str]] = ..., geo: _Optional[_Union[BidRequest.Geo, _Mapping]] = ..., data: _Optional[_Iterable[_Union[BidRequest.Data, _Mapping]]] = ..., consent: _Optional[str] = ..., eids: _Optional[_Iterable[_Union[BidRequest.Eid, _Mapping]]] = ..., ext: _Optional[_Union[BidRequest.User.Ext, _Mapping]] = ...) -> None: ...
    class Regs(_message.Message):
        __slots__ = ("coppa", "gdpr", "us_privacy", "gpp", "gpp_sid", "ext")
        class Ext(_message.Message):
            __slots__ = ("gdpr", "us_privacy", "gpc", "dsa", "gpp", "gpp_sid")
            GDPR_FIELD_NUMBER: _ClassVar[int]
            US_PRIVACY_FIELD_NUMBER: _ClassVar[int]
            GPC_FIELD_NUMBER: _ClassVar[int]
            DSA_FIELD_NUMBER: _ClassVar[int]
            GPP_FIELD_NUMBER: _ClassVar[int]
            GPP_SID_FIELD_NUMBER: _ClassVar[int]
            gdpr: int
            us_privacy: str
            gpc: str
            dsa: BidRequest.Dsa
            gpp: str
            gpp_sid: _containers.RepeatedScalarFieldContainer[int]
            def __init__(self, gdpr: _Optional[int] = ..., us_privacy: _Optional[str] = ..., gpc: _Optional[str] = ..., dsa: _Optional[_Union[BidRequest.Dsa, _Mapping]] = ..., gpp: _Optional[str] = ..., gpp_sid: _Optional[_Iterable[int]] = ...) -> None: ...
        COPPA_FIELD_NUMBER: _ClassVar[int]
        GDPR_FIELD_NUMBER: _ClassVar[int]
        US_PRIVACY_FIELD_NUMBER: _ClassVar[int]
        GPP_FIELD_NUMBER: _ClassVar[int]
        GPP_SID_FIELD_NUMBER: _ClassVar[int]
        EXT_FIELD_NUMBER: _ClassVar[int]
        coppa: int
        gdpr: int
        us_privacy: str
        gpp: str
        gpp_sid: _containers.RepeatedScalarFieldContainer[int]
        ext: BidRequest.Regs.Ext
        def __init__(self, coppa: _Optional[int] = ..., gdpr: _Optional[int] = ..., us_privacy: _Optional[str] = ..., gpp: _Optional[str] = ..., gpp_sid: _Optional[_Iterable[int]] = ..., ext: _Optional[_Union[BidRequest.Regs.Ext, _Mapping]] = ...) -> None: ...
    class Dsa(_message.Message):
        __slots__ = ("dsarequired", "pubrender", "datatopub", "transparency")
        DSAREQUIRED_FIELD_NUMBER: _ClassVar[int]
        PUBRENDER_FIELD_NUMBER: _ClassVar[int]
        DATATOPUB_FIELD_NUMBER: _ClassVar[int]
        TRANSPARENCY_FIELD_NUMBER: _ClassVar[int]
        dsarequired: int
        pubrender: int
        datatopub: int
        transparency: _containers.RepeatedCompositeFieldContainer[Transparency]
        def __init__(self, dsarequired: _Optional[int] = ..., pubrender: _Optional[int] = ..., datatopub: _Optional[int] = ..., transparency: _Optional[_Iterable[_Union[Transparency, _Mapping]]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    IMP_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    DOOH_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TMAX_FIELD_NUMBER: _ClassVar[int]
    WSEAT_FIELD_NUMBER: _ClassVar[int]
    BSEAT_FIELD_NUMBER: _ClassVar[int]
    CUR_FIELD_NUMBER: _ClassVar[int]
    WLANG_FIELD_NUMBER: _ClassVar[int]
    BCAT_FIELD_NUMBER: _ClassVar[int]
    CATTAX_FIELD_NUMBER: _ClassVar[int]
    BADV_FIELD_NUMBER: _ClassVar[int]
    BAPP_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    imp: _containers.RepeatedCompositeFieldContainer[BidRequest.Imp]
    site: BidRequest.Site
    app: BidRequest.App
    dooh: BidRequest.Dooh
    device: BidRequest.Device
    user: BidRequest.User
    test: int
    at: int
    tmax: int
    wseat: _containers.RepeatedScalarFieldContainer[str]
    bseat: _containers.RepeatedScalarFieldContainer[str]
    cur: _containers.RepeatedScalarFieldContainer[str]
    wlang: _containers.RepeatedScalarFieldContainer[str]
    bcat: _containers.RepeatedScalarFieldContainer[str]
    cattax: int
    badv: _containers.RepeatedScalarFieldContainer[str]
    bapp: _containers.RepeatedScalarFieldContainer[str]
    source: BidRequest.Source
    regs: BidRequest.Regs
    def __init__(self, id: _Optional[str] = ..., imp: _Optional[_Iterable[_Union[BidRequest.Imp, _Mapping]]] = ..., site: _Optional[_Union[BidRequest.Site, _Mapping]] = ..., app: _Optional[_Union[BidRequest.App, _Mapping]] = ..., dooh: _Optional[_Union[BidRequest.Dooh, _Mapping]] = ..., device: _Optional[_Union[BidRequest.Device, _Mapping]] = ..., user: _Optional[_Union[BidRequest.User, _Mapping]] = ..., test: _Optional[int] = ..., at: _Optional[int] = ..., tmax: _Optional[int] = ..., wseat: _Optional[_Iterable[str]] = ..., bseat: _Optional[_Iterable[str]] = ..., cur: _Optional[_Iterable[str]] = ..., wlang: _Optional[_Iterable[str]] = ..., bcat: _Optional[_Iterable[str]] = ..., cattax: _Optional[int] = ..., badv: _Optional[_Iterable[str]] = ..., bapp: _Optional[_Iterable[str]] = ..., source: _Optional[_Union[BidRequest.Source, _Mapping]] = ..., regs: _Optional[_Union[BidRequest.Regs, _Mapping]] = ...) -> None: ...

class Transparency(_message.Message):
    __slots__ = ("domain", "dsaparams")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    DSAPARAMS_FIELD_NUMBER: _ClassVar[int]
    domain: str
    dsaparams: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, domain: _Optional[str] = ..., dsaparams: _Optional[_Iterable[int]] = ...) -> None: ...

class BidResponse(_message.Message):
    __slots__ = ("id", "seatbid", "bidid", "cur", "nbr")
    class SeatBid(_message.Message):
        __slots__ = ("bid", "seat", "group")
        BID_FIELD_NUMBER: _ClassVar[int]
        SEAT_FIELD_NUMBER: _ClassVar[int]
        GROUP_FIELD_NUMBER: _ClassVar[int]
        bid: _containers.RepeatedCompositeFieldContainer[BidResponse.Bid]
        seat: str
        group: int
        def __init__(self, bid: _Optional[_Iterable[_Union[BidResponse.Bid, _Mapping]]] = ..., seat: _Optional[str] = ..., group: _Optional[int] = ...) -> None: ...
    class Bid(_message.Message):
        __slots__ = ("id", "impid", "price", "adid", "nurl", "burl", "lurl", "adm", "adomain", "bundle", "cid", "crid", "cat", "cattax", "attr", "apis", "protocol", "language", "dealid", "w", "h", "exp", "dur", "mtype", "ext")
        class Ext(_message.Message):
            __slots__ = ("dsa",)
            DSA_FIELD_NUMBER: _ClassVar[int]
            dsa: BidResponse.Dsa
            def __init__(self, dsa: _Optional[_Union[BidResponse.Dsa, _Mapping]] = ...) -> None: ...
        ID_FIELD_NUMBER: _ClassVar[int]
        IMPID_FIELD_NUMBER: _ClassVar[int]
        PRICE_FIELD_NUMBER: _ClassVar[int]
        ADID_FIELD_NUMBER: _ClassVar[int]
        NURL_FIELD_NUMBER: _ClassVar[int]
        BURL_FIELD_NUMBER: _ClassVar[int]
        LURL_FIELD_NUMBER: _ClassVar[int]
        ADM_FIELD_NUMBER: _ClassVar[int]
        ADOMAIN_FIELD_NUMBER: _ClassVar[int]
        BUNDLE_FIELD_NUMBER: _ClassVar[int]
        CID_FIELD_NUMBER: _ClassVar[int]
        CRID_FIELD_NUMBER: _ClassVar[int]
        CAT_FIELD_NUMBER: _ClassVar[int]
        CATTAX_FIELD_NUMBER: _ClassVar[int]
        ATTR_FIELD_NUMBER: _ClassVar[int]
        APIS_FIELD_NUMBER: _ClassVar[int]
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        LANGUAGE_FIELD_NUMBER: _ClassVar[int]
        DEALID_FIELD_NUMBER: _ClassVar[int]
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        EXP_FIELD_NUMBER: _ClassVar[int]
        DUR_FIELD_NUMBER: _ClassVar[int]
        MTYPE_FIELD_NUMBER: _ClassVar[int]
        EXT_FIELD_NUMBER: _ClassVar[int]
        id: str
        impid: str
        price: float
        adid: str
        nurl: str
        burl: str
        lurl: str
        adm: str
        adomain: _containers.RepeatedScalarFieldContainer[str]
        bundle: str
        cid: str
        crid: str
        cat: _containers.RepeatedScalarFieldContainer[str]
        cattax: int
        attr: _containers.RepeatedScalarFieldContainer[int]
        apis: _containers.RepeatedScalarFieldContainer[int]
        protocol: int
        language: str
        dealid: str
        w: int
        h: int
        exp: int
        dur: int
        mtype: int
        ext: BidResponse.Bid.Ext
        def __init__(self, id: _Optional[str] = ..., impid: _Optional[str] = ..., price: _Optional[float] = ..., adid: _Optional[str] = ..., nurl: _Optional[str] = ..., burl: _Optional[str] = ..., lurl: _Optional[str] = ..., adm: _Optional[str] = ..., adomain: _Optional[_Iterable[str]] = ..., bundle: _Optional[str] = ..., cid: _Optional[str] = ..., crid: _Optional[str] = ..., cat: _Optional[_Iterable[str]] = ..., cattax: _Optional[int] = ..., attr: _Optional[_Iterable[int]] = ..., apis: _Optional[_Iterable[int]] = ..., protocol: _Optional[int] = ..., language: _Optional[str] = ..., dealid: _Optional[str] = ..., w: _Optional[int] = ..., h: _Optional[int] = ..., exp: _Optional[int] = ..., dur: _Optional[int] = ..., mtype: _Optional[int] = ..., ext: _Optional[_Union[BidResponse.Bid.Ext, _Mapping]] = ...) -> None: ...
    class Dsa(_message.Message):
        __slots__ = ("behalf", "paid", "transparency", "adrender")
        BEHALF_FIELD_NUMBER: _ClassVar[int]
        PAID_FIELD_NUMBER: _ClassVar[int]
        TRANSPARENCY_FIELD_NUMBER: _ClassVar[int]
        ADRENDER_FIELD_NUMBER: _ClassVar[int]
        behalf: str
        paid: str
        transparency: _containers.RepeatedCompositeFieldContainer[Transparency]
        adrender: int
        def __init__(self, behalf: _Optional[str] = ..., paid: _Optional[str] = ..., transparency: _Optional[_Iterable[_Union[Transparency, _Mapping]]] = ..., adrender: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SEATBID_FIELD_NUMBER: _ClassVar[int]
    BIDID_FIELD_NUMBER: _ClassVar[int]
    CUR_FIELD_NUMBER: _ClassVar[int]
    NBR_FIELD_NUMBER: _ClassVar[int]
    id: str
    seatbid: _containers.RepeatedCompositeFieldContainer[BidResponse.SeatBid]
    bidid: str
    cur: str
    nbr: int
    def __init__(self, id: _Optional[str] = ..., seatbid: _Optional[_Iterable[_Union[BidResponse.SeatBid, _Mapping]]] = ..., bidid: _Optional[str] = ..., cur: _Optional[str] = ..., nbr: _Optional[int] = ...) -> None: ...

class NativeRequest(_message.Message):
    __slots__ = ("ver", "context", "plcmttype", "plcmtcnt", "assets", "eventtrackers", "privacy")
    class Asset(_message.Message):
        __slots__ = ("id", "required", "title", "img", "video", "data")
        ID_FIELD_NUMBER: _ClassVar[int]
        REQUIRED_FIELD_NUMBER: _ClassVar[int]
        TITLE_FIELD_NUMBER: _ClassVar[int]
        IMG_FIELD_NUMBER: _ClassVar[int]
        VIDEO_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        id: int
        required: int
        title: NativeRequest.Title
        img: NativeRequest.Image
        video: BidRequest.Video
        data: NativeRequest.Data
        def __init__(self, id: _Optional[int] = ..., required: _Optional[int] = ..., title: _Optional[_Union[NativeRequest.Title, _Mapping]] = ..., img: _Optional[_Union[NativeRequest.Image, _Mapping]] = ..., video: _Optional[_Union[BidRequest.Video, _Mapping]] = ..., data: _Optional[_Union[NativeRequest.Data, _Mapping]] = ...) -> None: ...
    class Title(_message.Message):
        __slots__ = ("len",)
        LEN_FIELD_NUMBER: _ClassVar[int]
        len: int
        def __init__(self, len: _Optional[int] = ...) -> None: ...
    class Image(_message.Message):
        __slots__ = ("type", "w", "h", "wmin", "hmin", "mimes")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        W_FIELD_NUMBER: _ClassVar[int]
        H_FIELD_NUMBER: _ClassVar[int]
        WMIN_FIELD_NUMBER: _ClassVar[int]
        HMIN_FIELD_NUMBER: _ClassVar[int]
        MIMES_FIELD_NUMBER: _ClassVar[int]
        type: int
        w: int
        h: int
        wmin: int
        hmin: int
        mimes: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, type: _Optional[int] = ..., w: _Optional[int] = ..., h: _Optional[int] = ..., wmin: _Optional[int] = ..., hmin: _Optional[int] = ..., mimes: _Optional[_Iterable[str]] = ...) -> None: ...
    class Data(_message.Message):
        __slots__ = ("type", "len")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        LEN_FIELD_NUMBER: _ClassVar[int]
        type: int
        len: int
        def __init__(self, type: _Optional[int] = ..., len: _Optional[int] = ...) -> None: ...
    class EventTracker(_message.Message):
        __slots__ = ("event", "methods")
        EVENT_FIELD_NUMBER: _ClassVar[int]
        METHODS_FIELD_NUMBER: _ClassVar[int]
        event: int
        methods: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, event: _Optional[int] = ..., methods: _Optional[_Iterable[int]] = ...) -> None: ...
    VER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PLCMTTYPE_FIELD_NUMBER: _ClassVar[int]
    PLCMTCNT_FIELD_NUMBER: _ClassVar[int]
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    EVENTTRACKERS_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    ver: str
    context: int
    plcmttype: int
    plcmtcnt: int
    assets: _containers.RepeatedCompositeFieldContainer[NativeRequest.Asset]
    eventtrackers: _containers.RepeatedCompositeFieldContainer[NativeRequest.EventTracker]
    privacy: int
    def __init__(self, ver: _Optional[str] = ..., context: _Optional[int] = ..., plcmttype: _Optional[int] = ..., plcmtcnt: _Optional[int] = ..., assets: _Optional[_Iterable[_Union[NativeRequest.Asset, _Mapping]]] = ..., eventtrackers: _Optional[_Iterable[_Union[NativeRequest.EventTracker, _Mapping]]] = ..., privacy: _Optional[int] = ...) -> None: ...
