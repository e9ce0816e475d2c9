-- Sums by minute, hour and day, each row written anew from what is stored whenever that has changed (`rollups.py`): the
-- last one written replaces those before. Nothing is summed as it is inserted, so a duplicate is never in a sum.
--
-- `dimension` says what `value` is: '' (the campaign as a whole), creative, exchange, place, country, device. Requests
-- that we did not bid on have no campaign: their dimensions are reason and exchange. `part` says where a row comes from:
-- decisions (bids, no_bids, price_micros) or events (all else), which are kept for different times.
-- Every query is of one dimension, so rows of one lie together: campaigns as a whole are a few thousand among millions.

CREATE TABLE IF NOT EXISTS rollup_minute ${on_cluster}
(
    start DateTime('UTC') CODEC(Delta, ZSTD(1)),
    advertiser LowCardinality(String),
    campaign LowCardinality(String),
    dimension LowCardinality(String),
    value LowCardinality(String),
    part LowCardinality(String),
    bids UInt64 CODEC(T64, ZSTD(1)),
    no_bids UInt64 CODEC(T64, ZSTD(1)),
    price_micros UInt64 CODEC(T64, ZSTD(1)),
    wins UInt64 CODEC(T64, ZSTD(1)),
    losses UInt64 CODEC(T64, ZSTD(1)),
    impressions UInt64 CODEC(T64, ZSTD(1)),
    clicks UInt64 CODEC(T64, ZSTD(1)),
    conversions UInt64 CODEC(T64, ZSTD(1)),
    spend_micros UInt64 CODEC(T64, ZSTD(1)),
    value_micros Int64 CODEC(T64, ZSTD(1)),
    users AggregateFunction(uniqCombined(14), String) CODEC(ZSTD(1)),
    built UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ${replacing:built}
PARTITION BY toYYYYMMDD(start)
ORDER BY (dimension, campaign, value, advertiser, part, start)
TTL start + INTERVAL 40 DAY;

CREATE TABLE IF NOT EXISTS rollup_hour ${on_cluster} AS rollup_minute
ENGINE = ${replacing:built}
PARTITION BY toYYYYMM(start)
ORDER BY (dimension, campaign, value, advertiser, part, start)
TTL start + INTERVAL 400 DAY;

CREATE TABLE IF NOT EXISTS rollup_day ${on_cluster} AS rollup_minute
ENGINE = ${replacing:built}
PARTITION BY toYear(start)
ORDER BY (dimension, campaign, value, advertiser, part, start);

-- Minutes that have got events ('dirty') and that were summed ('built'), days whose hours were summed ('day') and that
-- were summed after it ('day-built'), in milliseconds of the server's clock.
CREATE TABLE IF NOT EXISTS rollup_marks ${on_cluster}
(
    start DateTime('UTC'),
    kind LowCardinality(String),
    at UInt64
)
ENGINE = ${replacing:at}
PARTITION BY toYYYYMM(start)
ORDER BY (start, kind)
TTL start + INTERVAL 400 DAY;
