"""What is odd in a bid request and tolerated (see `rules`): it makes one creative or one impression unfit at most."""

from __future__ import annotations

from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.rule_examples import (
    BANNER,
    VIDEO,
    Rule,
    Verdict,
    request,
    request_with_imp,
    request_with_native,
    request_with_text,
    tolerated,
)

_TITLE = '{"id":1,"required":1,"title":{"len":90}}'

TOLERATED: tuple[Rule, ...] = (
    # The request.
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
    # An impression.
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
    # Native.
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
