"""What became of each bid, as SQL: one row a bid, from its decision and its events. Sums and reports are made of it.

Of a bid it matters which kinds of its events came and what the exchange's price notice says, just as in the ledger
(`bidding/settlement.py`): the first win, billing or impression makes it cost what was authorised, the price notice puts
its clear price in that place unless it is above what was authorised or not believed. All events of a bid carry its
time, so they are in one minute. What notices do not say (place, country, device) comes from the bid's decision.

Grouping the bid's decision with its events stands for a join, and needs no memory for one. An event beyond the first of
its kind is none (`FINAL`, and the sorting key of `events`). Conversions that are due to nobody have no bid: they are
one row a minute and advertiser.
"""

from __future__ import annotations

SETTLING = "kind IN ('win', 'billing', 'impression')"

# What a row of `bids_of` costs, micros.
COST = "if(settled = 1, if(priced = 1, clear, authorised), 0)"


def bids_of(chosen: str, kept: str = "told = 1", decided: str = "1") -> str:
    """A SELECT of bids.

    `chosen` says which rows of `decisions` and `events` are read, by columns that both have; `decided` which decisions,
    by theirs; `kept` which bids there are: "told = 1" those with events, "known = 1" those with a decision.
    """
    return f"""
    SELECT start, bid_key, advertiser, max(campaign) AS campaign, max(creative) AS creative,
        max(exchange) AS exchange, max(place) AS place, max(country) AS country, max(device) AS device,
        max(is_told) AS told, max(is_known) AS known, max(won) AS won, max(lost) AS lost, max(shown) AS shown,
        max(clicked) AS clicked, sum(converted) AS converted, max(settled) AS settled, max(authorised) AS authorised,
        max(says) AS priced, argMinIf(said, seq, says = 1) AS clear, sum(worth) AS worth, max(person) AS person,
        max(stands) AS weight, max(price) AS price_micros
    FROM
    (
        SELECT toStartOfMinute(time) AS start, id AS bid_key, advertiser, campaign, creative, exchange, place, country,
            toString(device) AS device, 0 AS is_told, 1 AS is_known, 0 AS won, 0 AS lost, 0 AS shown, 0 AS clicked,
            0 AS converted, 0 AS settled, toInt64(0) AS authorised, 0 AS says, toInt64(0) AS said, toUInt64(0) AS seq,
            toInt64(0) AS worth, '' AS person, decisions.weight AS stands, decisions.price_micros AS price
        FROM decisions FINAL
        WHERE {chosen} AND kind = 'bid' AND {decided}
        UNION ALL
        SELECT toStartOfMinute(time) AS start, bid_key, advertiser, campaign, creative, exchange, '' AS place,
            '' AS country, '' AS device, 1 AS is_told, 0 AS is_known, kind = 'win' AS won, kind = 'loss' AS lost,
            kind = 'impression' AS shown, kind = 'click' AS clicked, kind = 'conversion' AS converted,
            {SETTLING} AS settled, toInt64(authorised_micros) AS authorised,
            {SETTLING} AND sets_price = 1 AND (clear_micros >= 0 OR quarantined != '') AS says,
            if(quarantined != '' OR clear_micros > toInt64(authorised_micros), toInt64(authorised_micros), clear_micros)
                AS said,
            seq, if(kind = 'conversion', value_micros, toInt64(0)) AS worth,
            if(kind = 'impression', user, '') AS person, toUInt32(0) AS stands, toUInt64(0) AS price
        FROM events FINAL
        WHERE {chosen}
    )
    GROUP BY start, advertiser, bid_key
    HAVING {kept}
"""  # noqa: S608  # only names of our own
