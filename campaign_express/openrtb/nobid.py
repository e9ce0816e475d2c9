"""Why there is no bid: our own reasons, each with the code an exchange understands.

`nbr` codes are those of AdCOM 1.0, list "No-Bid Reason Codes" (OpenRTB 2.6 section 5 refers to it); 500 and above are
left to exchanges and buyers by that list. Members stand in the order in which they are found out, so of two reasons the
later one came further. A reason is a value, never an exception. The value of each member is the name
used in metrics, in `replay` and in `/v1/explain`.
"""

from __future__ import annotations

from enum import Enum


class NoBidReason(Enum):
    """value = label in metrics; `nbr` = OpenRTB code; `index` = its small integer on the agent's wire."""

    nbr: int
    index: int

    def __new__(cls, label: str, nbr: int) -> NoBidReason:
        member = object.__new__(cls)
        member._value_ = label
        member.nbr = nbr
        member.index = len(cls.__members__)
        return member

    # The whole request.
    INVALID_REQUEST = "invalid-request", 2
    TECHNICAL_ERROR = "technical-error", 1
    TIMEOUT = "deadline-passed", 15
    SHED = "shed", 1
    NO_AGENT = "no-agent", 1
    QPS_LIMIT = "qps-limit", 500
    CRAWLER = "crawler", 3
    DATA_CENTER = "data-center-ip", 5
    UNAUTHORISED_SELLER = "unauthorised-seller", 12
    CURRENCY = "currency", 501
    NO_CAMPAIGN = "no-campaign", 502
    # Campaigns against the request, in the order of bidding.eligibility.REQUEST_FILTERS.
    FLIGHT = "flight", 510
    PAUSED = "paused", 511
    EXCHANGE = "exchange", 513
    APPROVAL = "creative-approval", 514
    WANTED_SEAT = "seat", 512
    BLOCKED_CATEGORY = "blocked-category", 515
    BLOCKED_ADVERTISER = "blocked-advertiser", 516
    BLOCKED_APP = "blocked-app", 517
    DSA = "dsa", 539
    PRIVACY = "privacy", 518
    SUPPLY_CHAIN = "supply-chain", 16
    INVENTORY = "inventory", 519
    SITE = "site-domain", 520
    APP = "app-bundle", 521
    PUBLISHER = "publisher", 522
    COUNTRY = "country", 525
    REGION = "region", 526
    CITY = "city", 527
    METRO = "metro", 528
    DEVICE_TYPE = "device-type", 6
    OS = "os", 531
    OS_VERSION = "os-version", 532
    MAKE = "device-make", 533
    CONNECTION = "connection", 534
    CARRIER = "carrier", 535
    LANGUAGE = "language", 536
    HOUR = "hour-of-week", 538
    CATEGORY = "content-category", 523
    KEYWORD = "keyword", 524
    SEGMENT = "user-segment", 8
    EID_SOURCE = "eid-source", 537
    IP_RANGE = "ip-range", 530
    RADIUS = "radius", 529
    # One impression that we do not sell into.
    AD_POD = "ad-pod", 503
    DOOH_QUANTITY = "dooh-quantity", 504
    NATIVE_REQUEST = "native-request", 505
    # Creatives against the impression, in the order of bidding.eligibility.SLOT_FILTERS.
    MEDIA = "media-kind", 540
    SECURE = "secure", 541
    SIZE = "size", 542
    INTERSTITIAL = "interstitial", 552
    REWARDED = "rewarded", 553
    POSITION = "position", 551
    BLOCKED_ATTRIBUTE = "blocked-attribute", 543
    API = "api", 549
    MIME = "mime", 544
    PROTOCOL = "protocol", 545
    DURATION = "duration", 546
    SKIPPABLE = "skippability", 547
    PLACEMENT = "placement", 548
    NATIVE_ASSET = "native-asset", 550
    PRIVATE_AUCTION = "private-auction", 506
    DEAL = "deal", 554
    # Price and rank.
    FLOOR = "below-floor", 560
    OUTBID = "lost-internal-auction", 561
    NO_SCORE = "no-score", 562
    # Money and memory: used once budgets and caps are kept.
    BUDGET = "budget", 570
    FREQUENCY = "frequency-cap", 9
    STATE_UNKNOWN = "state-unknown", 571


BY_INDEX: tuple[NoBidReason, ...] = tuple(NoBidReason)
