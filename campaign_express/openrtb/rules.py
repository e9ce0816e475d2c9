"""Rule by rule, what is refused in a bid request and what is tolerated, with the reason and requests that show it.

One table for three uses: it is the section of docs/validation.md between the two marks (`python -m
campaign_express.openrtb.rules` prints it), its ids are the `rule` of every `InvalidRequest`, and the tests send every
example through the codec. The line drawn: a request is refused when it cannot be read, when an answer could not refer
to it, or when it says two things about what is for sale; whatever only makes one creative or one impression unfit is
tolerated, because the rest of the request is still worth bidding on.
"""

from __future__ import annotations

import gzip

from campaign_express.openrtb.nobid import NoBidReason
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
    request_with_native,
    request_with_text,
    tolerated,
)

_TITLE = '{"id":1,"required":1,"title":{"len":90}}'

RULES: tuple[Rule, ...] = (
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
    # Tolerated: the request.
    Rule(
        "unread-field",
        "Fields we do not read, known or not, whatever they hold (`imp.ext` as a string, a negative `device.ppi`)",
        Verdict.TOLERATED,
        "exchanges add fields all the time, and what does not enter the decision cannot spoil it",
        tolerated(
            request(device={"ppi": -1}),
            request_with_imp(banner=BANNER, ext="x"),
            request(x={"y": [1, None]}, site={"ext": 1}),
        ),
    ),
    Rule(
        "null",
        "null for an optional field, list or object",
        Verdict.TOLERATED,
        "exchanges send it as often as they leave the field out, and it means the same",
        tolerated(
            request(cur=None, site=None, device={"geo": None}, at=None),
            request_with_imp(banner={"format": None}, video=None),
        ),
    ),
    Rule(
        "repeated-key",
        "A JSON key twice in one object",
        Verdict.TOLERATED,
        "the last one counts, as in most decoders; looking for it would cost every request",
        tolerated(request_with_text('"id":"r2"')),
    ),
    Rule(
        "no-inventory",
        "None of site, app, dooh",
        Verdict.TOLERATED,
        "common; campaigns that target inventory, domains or categories do not match, others do",
        tolerated(request()),
    ),
    Rule(
        "tmax-zero",
        "`tmax` 0 or absent",
        Verdict.TOLERATED,
        'means "not stated"; the exchange\'s configured default applies',
        tolerated(request(tmax=0)),
    ),
    Rule(
        "at-unknown",
        "An auction type other than 1 and 2",
        Verdict.TOLERATED,
        "exchanges define their own from 500 on; our price is the value to us in every auction type",
        tolerated(request(at=0), request(at=501)),
    ),
    Rule(
        "cur-empty",
        "`cur` absent or without members",
        Verdict.TOLERATED,
        "the exchange's configured currency applies",
        tolerated(request(cur=[])),
    ),
    Rule(
        "cur-unknown",
        "`cur` holds no currency that we have a rate for",
        Verdict.TOLERATED,
        "a valid request that we cannot price",
        tolerated(request(cur=["XXX"])),
        reason=NoBidReason.CURRENCY,
    ),
    Rule(
        "floor-currency-unknown",
        "`bidfloorcur` is not a currency that we have a rate for",
        Verdict.TOLERATED,
        "the floor cannot be compared, so that impression (or deal) gets no bid; others do",
        tolerated(request_with_imp(banner=BANNER, bidfloor=1, bidfloorcur="XXX")),
        reason=NoBidReason.CURRENCY,
    ),
    Rule(
        "wseat-and-bseat",
        "Both `wseat` and `bseat`",
        Verdict.TOLERATED,
        "the specification allows one; obeying both breaks neither",
        tolerated(request(wseat=["a"], bseat=["b"])),
    ),
    Rule(
        "flag-unknown",
        "A flag (`instl`, `secure`, `rwdd`, `test`, `mobile` ...) other than 0 and 1",
        Verdict.TOLERATED,
        "only 1 means yes",
        tolerated(request_with_imp(banner=BANNER, instl=2, secure=-1), request(test=3)),
    ),
    Rule(
        "address-invalid",
        "`device.ip` or `ipv6` is not an address, `country` is not a country",
        Verdict.TOLERATED,
        "exchanges mask these; the value counts as unknown",
        tolerated(request(device={"ip": "ip", "geo": {"country": ""}}), request(device={"ip": "1.2.3.x"})),
    ),
    # Tolerated: an impression.
    Rule(
        "banner-no-size",
        "A banner with neither w and h nor a format list, or with w or h 0 or negative",
        Verdict.TOLERATED,
        "-1 is seen in the wild; no banner fits, other media of the impression may",
        tolerated(
            request_with_imp(banner={}),
            request_with_imp(banner={"w": -1, "h": -1}),
            request_with_imp(banner={"w": 300, "h": 0}),
        ),
        reason=NoBidReason.SIZE,
    ),
    Rule(
        "format-no-size",
        "A member of `format` without w and h, or with 0 for one, or with half a ratio",
        Verdict.TOLERATED,
        "that member is skipped and the others count",
        tolerated(request_with_imp(banner={"format": [{"w": 300, "h": 0}, {"wratio": 16, "hratio": 0}]})),
        reason=NoBidReason.SIZE,
    ),
    Rule(
        "duration-reversed",
        "`minduration` above `maxduration`",
        Verdict.TOLERATED,
        "no creative lasts that long, which is an answer by itself",
        tolerated(request_with_imp(video={**VIDEO, "minduration": 60})),
        reason=NoBidReason.DURATION,
    ),
    Rule(
        "video-unspecified",
        "Video or audio without `mimes`, `protocols` or durations",
        Verdict.TOLERATED,
        "section 3.2.7 asks for mimes only; what is left out is not limited",
        tolerated(request_with_imp(video={}), request_with_imp(audio={"mimes": None})),
    ),
    Rule(
        "private-auction-without-deals",
        "`private_auction` 1 and no deals",
        Verdict.TOLERATED,
        "only deals may bid and there is none",
        tolerated(request_with_imp(banner=BANNER, pmp={"private_auction": 1})),
        reason=NoBidReason.PRIVATE_AUCTION,
    ),
    # Tolerated: native.
    Rule(
        "native-request",
        "`native.request` missing, empty, not JSON, not an object, without assets, with a wrong type or a negative "
        "size, a title without `len`, a required asset of no kind, an asset of two kinds, ids that repeat or are given "
        "to some only",
        Verdict.TOLERATED,
        "the string has its own specification; a bad one spoils its impression, not the others",
        tolerated(
            request_with_imp(native={}),
            request_with_native(""),
            request_with_native("{json}"),
            request_with_native("[]"),
            request_with_native("{}"),
            request_with_native('{"assets":[{"title":{}}]}'),
            request_with_native('{"assets":[{"img":{"h":-30,"w":20}}]}'),
            request_with_native('{"assets":[{"id":1,"required":1}]}'),
            request_with_native('{"assets":[{"title":{"len":140},"img":{"wmin":20,"hmin":30}}]}'),
            request_with_native(f'{{"assets":[{_TITLE},{_TITLE}]}}'),
            request_with_native(f'{{"assets":[{_TITLE},{{"data":{{"type":2}}}}]}}'),
            request_with_native('{"assets":' + "[" * 1900),
        ),
        reason=NoBidReason.NATIVE_REQUEST,
    ),
    Rule(
        "native-wrapped",
        'The native request inside {"native": ...}',
        Verdict.TOLERATED,
        "the form of Native 1.0; the answer takes the same form",
        tolerated(request_with_native(f'{{"native":{{"ver":"1.0","assets":[{_TITLE}]}}}}')),
    ),
    Rule(
        "native-ids-left-out",
        "Native assets without ids",
        Verdict.TOLERATED,
        "required since 1.0, left out by many; if none has one, an asset's id is its place in the list",
        tolerated(request_with_native('{"assets":[{"title":{"len":90}},{"data":{"type":2}}]}')),
    ),
    Rule(
        "native-unread",
        "Unknown or contradictory `context`, `contextsubtype`, `plcmttype`; an event tracker without event or methods, "
        "or of an unknown event; an optional asset of no kind",
        Verdict.TOLERATED,
        "they do not enter the decision; such trackers and assets are skipped",
        tolerated(
            request_with_native(f'{{"context":376,"plcmttype":2,"assets":[{_TITLE}]}}'),
            request_with_native(f'{{"context":1,"contextsubtype":-1,"assets":[{_TITLE}]}}'),
            request_with_native(
                f'{{"assets":[{_TITLE},{{"id":2}}],"eventtrackers":[{{}},{{"event":5,"methods":[2]}}]}}'
            ),
        ),
    ),
    Rule(
        "native-video-unspecified",
        "A native video asset without durations or with no protocols",
        Verdict.TOLERATED,
        "as `video-unspecified`",
        tolerated(
            request_with_native('{"assets":[{"id":1,"video":{"mimes":["video/mp4"],"minduration":30,"protocols":[]}}]}')
        ),
    ),
)

BY_ID: dict[str, Rule] = {rule.id: rule for rule in RULES}


def paths(rule: Rule) -> tuple[str, ...]:
    """Paths at which the rule's examples are refused, with any index, in order."""
    return tuple(dict.fromkeys(e.path.replace("[0]", "[i]").replace("[1]", "[i]") for e in rule.examples if e.path))


def markdown() -> str:
    """The table of docs/validation.md."""
    lines = ["| rule | what is sent | verdict | at | why |", "|---|---|---|---|---|"]
    for rule in RULES:
        verdict = rule.verdict.value
        if rule.reason is not None:
            verdict += f", no-bid `{rule.reason.value}`"
        at = ", ".join(f"`{path}`" for path in paths(rule))
        lines.append(f"| `{rule.id}` | {rule.sent} | {verdict} | {at} | {rule.why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
