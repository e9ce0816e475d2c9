"""What is refused in a bid request (see `rules`): a body that cannot be read, an answer that could not refer to it, two
things said about what is for sale.
"""

from __future__ import annotations

import gzip

from campaign_express.openrtb.rule_examples import (
    BANNER,
    EXAMPLE_LIMIT,
    VIDEO,
    Encoding,
    Example,
    Rule,
    Verdict,
    refused,
    request,
    request_with_imp,
    request_with_text,
)

REFUSED: tuple[Rule, ...] = (
    # The body.
    Rule(
        "body-size",
        "A body larger than the limit (256 KB, configurable) as received",
        Verdict.TOO_LARGE,
        "real requests are a few KB; reading on would let one sender take everybody's memory",
        refused("$", b" " * (EXAMPLE_LIMIT + 1)),
    ),
    Rule(
        "decompressed-size",
        "A gzip body that decompresses to more than the limit",
        Verdict.TOO_LARGE,
        "a small body may unpack to gigabytes; decompression stops at the limit",
        refused("$", gzip.compress(b" " * (EXAMPLE_LIMIT + 1))),
        encoding=Encoding.GZIP,
    ),
    Rule(
        "gzip",
        "A gzip body that is broken, cut short, of several members, or followed by other data",
        Verdict.REFUSED,
        "what was sent cannot be known; several members are never sent by HTTP clients and cheap to abuse",
        refused("$", b"", b"no gzip", gzip.compress(request())[:-9], gzip.compress(request()) * 2),
        encoding=Encoding.GZIP,
    ),
    Rule(
        "json",
        "A body that is not one JSON document: empty, cut short, trailing data, byte order mark, NaN, lone surrogates",
        Verdict.REFUSED,
        "it cannot be read (RFC 8259), and a guess would bid on something else than was offered",
        refused(
            "$",
            b"",
            request()[:-1],
            request() + b"x",
            b"\xef\xbb\xbf" + request(),
            request_with_text('"tmax":NaN'),
            request_with_text(r'"x":"\ud800"'),
        ),
    ),
    Rule(
        "encoding",
        "A string that is not UTF-8, in a field that is read",
        Verdict.REFUSED,
        "it could be neither matched nor sent back",
        refused("$", request(id="?").replace(b"?", b"\xff")),
    ),
    Rule(
        "depth",
        "Objects or lists nested deeper than the decoder follows (nearly 1,000 levels; more on newer Pythons)",
        Verdict.REFUSED,
        "no OpenRTB object nests deeper than ten; an attacker's would exhaust the stack",
        refused("$", request_with_text('"ext":' + "[" * 100_000 + "]" * 100_000), b'{"a":' * 50_000),
    ),
    Rule(
        "protobuf",
        "A gRPC body that is not a BidRequest message, or holds a string that is not UTF-8",
        Verdict.REFUSED,
        "it cannot be read",
        refused("$", b"\xff\xff\xff", b"\x0a\x02\xff\xff"),
        encoding=Encoding.PROTOBUF,
    ),
    # A field.
    Rule(
        "type",
        "A field that is read has the wrong JSON type; also 300.0 or true for an integer, and an `ext` that we read",
        Verdict.REFUSED,
        "a sender that mixes types may mean anything by them; floors and sizes must not be guessed",
        (
            *refused("$", b"null", b"[]", b'"x"'),
            Example(request(id=1), "$.id"),
            Example(request(imp={}), "$.imp"),
            Example(request_with_text('"tmax":300.0'), "$.tmax"),
            Example(request_with_imp(banner=BANNER, instl=True), "$.imp[0].instl"),
            Example(request_with_imp(banner=BANNER, bidfloor="0.5"), "$.imp[0].bidfloor"),
            Example(request(bcat="IAB25"), "$.bcat"),
            Example(request(regs={"ext": "gdpr"}), "$.regs.ext"),
            Example(request(user={"ext": 1}), "$.user.ext"),
            Example(request(source={"ext": ""}), "$.source.ext"),
        ),
    ),
    Rule(
        "required",
        "No `id`, `imp`, `imp[].id` or `deals[].id`",
        Verdict.REFUSED,
        "a bid refers to these ids; without them there is nothing to answer",
        (
            Example(b'{"imp":[{"id":"1","banner":{}}]}', "$.id"),
            Example(b'{"id":"r1"}', "$.imp"),
            Example(request(imp=[{"banner": BANNER}]), "$.imp[0].id"),
            Example(request_with_imp(banner=BANNER, pmp={"deals": [{"bidfloor": 1}]}), "$.imp[0].pmp.deals[0].id"),
        ),
    ),
    Rule(
        "empty",
        'An id that is "", or an `imp` list without members',
        Verdict.REFUSED,
        "as good as missing",
        (
            Example(request(id=""), "$.id"),
            Example(request(imp=[]), "$.imp"),
            Example(request(imp=[{"id": "", "banner": BANNER}]), "$.imp[0].id"),
            Example(request_with_imp(banner=BANNER, pmp={"deals": [{"id": ""}]}), "$.imp[0].pmp.deals[0].id"),
            Example(request_with_imp(video={**VIDEO, "podid": ""}), "$.imp[0].video.podid"),
        ),
    ),
    Rule(
        "range",
        "A number outside its range: a negative size, duration or floor, over 32 bits, latitude 91, a floor over 10⁹",
        Verdict.REFUSED,
        "it cannot be meant, and would reach arithmetic on money and places",
        (
            Example(request_with_imp(banner={"format": [{"w": -300, "h": 250}]}), "$.imp[0].banner.format[0].w"),
            Example(request_with_imp(video={**VIDEO, "h": -1}), "$.imp[0].video.h"),
            Example(request_with_imp(audio={"minduration": -5}), "$.imp[0].audio.minduration"),
            Example(request_with_imp(banner=BANNER, bidfloor=-0.01), "$.imp[0].bidfloor"),
            Example(request_with_imp(banner=BANNER, bidfloor=1e10), "$.imp[0].bidfloor"),
            Example(request_with_text('"tmax":99999999999'), "$.tmax"),
            Example(request_with_text('"at":' + "9" * 400), "$.at"),
            Example(request(device={"w": -1}), "$.device.w"),
            Example(request(device={"geo": {"lat": 91}}), "$.device.geo.lat"),
        ),
    ),
    # Across fields.
    Rule(
        "imp-without-media",
        "An impression with none of banner, video, audio, native (null counts as none)",
        Verdict.REFUSED,
        "section 3.2.4 asks for one; nothing could be shown, so the sender should hear of its fault",
        (
            Example(request_with_imp(), "$.imp[0]"),
            Example(request_with_imp(banner=None), "$.imp[0]"),
            Example(request(imp=[{"id": "1", "banner": BANNER}, {"id": "2", "secure": 1}]), "$.imp[1]"),
        ),
    ),
    Rule(
        "duplicate-imp-id",
        "Two impressions with one id",
        Verdict.REFUSED,
        "a bid names its impression by id; the exchange could place it in either",
        (Example(request(imp=[{"id": "1", "banner": BANNER}] * 2), "$.imp[1].id"),),
    ),
    Rule(
        "one-inventory",
        "More than one of site, app, dooh",
        Verdict.REFUSED,
        "section 3.2.1 forbids it: targeting, block lists and ads.txt would be checked against one place and the ad "
        "shown in the other, which is how one domain is sold as another",
        (
            Example(request(site={"domain": "a.example"}, app={"bundle": "b"}), "$.app"),
            Example(request(site={}, dooh={}), "$.dooh"),
            Example(request(app={}, dooh={}), "$.dooh"),
        ),
    ),
)
