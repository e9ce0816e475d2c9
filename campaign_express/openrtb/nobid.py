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
    FLIGHT = "flight", 503
    PAUSED = "paused", 504
    EXCHANGE = "exchange", 505
    APPROVAL = "creative-approval", 506
    WANTED_SEAT = "seat", 507
    BLOCKED_CATEGORY = "blocked-category", 508
    BLOCKED_ADVERTISER = "blocked-advertiser", 509
    BLOCKED_APP = "blocked-app", 510
    DSA = "dsa", 511
    PRIVACY = "privacy", 512
    SUPPLY_CHAIN = "supply-chain", 16
    INVENTORY = "inventory", 513
    APP = "app-bundle", 514
    PUBLISHER = "publisher", 515
    COUNTRY = "country", 516
    METRO = "metro", 517
    DEVICE_TYPE = "device-type", 6
    OS = "os", 518
    MAKE = "device-make", 519
    CONNECTION = "connection", 520
    CARRIER = "carrier", 521
    LANGUAGE = "language", 522
    SITE = "site-domain", 523
    REGION = "region", 524
    CITY = "city", 525
    OS_VERSION = "os-version", 526
    CATEGORY = "content-category", 527
    HOUR = "hour-of-week", 528
    KEYWORD = "keyword", 529
    SEGMENT = "user-segment", 8
    EID_SOURCE = "eid-source", 530
    IP_RANGE = "ip-range", 531
    RADIUS = "radius", 532
    # One impression that we do not sell into.
    AD_POD = "ad-pod", 533
    DOOH_QUANTITY = "dooh-quantity", 534
    NATIVE_REQUEST = "native-request", 535
    # Creatives against the impression, in the order of bidding.eligibility.SLOT_FILTERS.
    MEDIA = "media-kind", 536
    SECURE = "secure", 537
    SIZE = "size", 538
    INTERSTITIAL = "interstitial", 539
    REWARDED = "rewarded", 540
    POSITION = "position", 541
    BLOCKED_ATTRIBUTE = "blocked-attribute", 542
    API = "api", 543
    MIME = "mime", 544
    PROTOCOL = "protocol", 545
    DURATION = "duration", 546
    SKIPPABLE = "skippability", 547
    PLACEMENT = "placement", 548
    NATIVE_ASSET = "native-asset", 549
    # Campaigns as they stand just now, in the order of bidding.standing.
    STOPPED = "stopped", 557
    BUDGET = "budget", 555
    STATE_UNKNOWN = "state-unknown", 556
    FREQUENCY = "frequency-cap", 9
    PACING = "pacing", 558
    PRIVATE_AUCTION = "private-auction", 550
    DEAL = "deal", 551
    # Price and rank.
    FLOOR = "below-floor", 552
    OUTBID = "lost-internal-auction", 553
    NO_SCORE = "no-score", 554


BY_INDEX: tuple[NoBidReason, ...] = tuple(NoBidReason)
