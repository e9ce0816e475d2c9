-- What is stored of every event. Sorted and partitioned by the event's own time (that of its bid), never by when it came:
-- duplicates are replaced only within a partition, and among rows that are equal in the whole sorting key. The minute
-- comes first in it, since sums are made by the minute; within one, rows of a campaign stand together and compress well.

CREATE TABLE IF NOT EXISTS events ${on_cluster}
(
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    advertiser LowCardinality(String),
    campaign LowCardinality(String),
    creative LowCardinality(String),
    exchange LowCardinality(String),
    bid_key String CODEC(ZSTD(1)),
    kind LowCardinality(String),
    detail String CODEC(ZSTD(1)),
    auction String CODEC(ZSTD(1)),
    imp String CODEC(ZSTD(1)),
    bid String CODEC(ZSTD(1)),
    authorised_micros UInt64 CODEC(T64, ZSTD(1)),
    lease UInt32 CODEC(Delta, ZSTD(1)),
    clear_micros Int64 CODEC(T64, ZSTD(1)),
    sets_price UInt8,
    quarantined String CODEC(ZSTD(1)),
    value_micros Int64 CODEC(T64, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user String CODEC(ZSTD(1)),
    macros String CODEC(ZSTD(1)),
    test UInt8,
    seq UInt64 CODEC(Delta, ZSTD(1)),
    rank UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ${replacing:rank}
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfMinute(time), advertiser, campaign, time, bid_key, kind, detail)
TTL toDateTime(time) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS decisions ${on_cluster}
(
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kind LowCardinality(String),
    id String CODEC(ZSTD(1)),
    exchange LowCardinality(String),
    advertiser LowCardinality(String),
    campaign LowCardinality(String),
    creative LowCardinality(String),
    reason LowCardinality(String),
    weight UInt32 CODEC(T64, ZSTD(1)),
    price_micros UInt64 CODEC(T64, ZSTD(1)),
    floor_micros UInt64 CODEC(T64, ZSTD(1)),
    pctr_ppm UInt32 CODEC(T64, ZSTD(1)),
    pcvr_ppm UInt32 CODEC(T64, ZSTD(1)),
    deal LowCardinality(String),
    media LowCardinality(String),
    size LowCardinality(String),
    inventory LowCardinality(String),
    place LowCardinality(String),
    country LowCardinality(String),
    region LowCardinality(String),
    device UInt8,
    os LowCardinality(String),
    user String CODEC(ZSTD(1)),
    contextual UInt8,
    catalog UInt32 CODEC(Delta, ZSTD(1)),
    model LowCardinality(String),
    latency_us UInt32 CODEC(T64, ZSTD(1)),
    test UInt8
)
ENGINE = ${replacing}
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfMinute(time), campaign, time, id)
TTL toDateTime(time) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS requests ${on_cluster}
(
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id String CODEC(ZSTD(1)),
    exchange LowCardinality(String),
    body String CODEC(ZSTD(3)),
    segments Array(String) CODEC(ZSTD(1)),
    bids String CODEC(ZSTD(1)),
    reason LowCardinality(String),
    user String CODEC(ZSTD(1)),
    catalog UInt32 CODEC(Delta, ZSTD(1)),
    model LowCardinality(String),
    weight UInt32 CODEC(T64, ZSTD(1))
)
ENGINE = ${replacing}
PARTITION BY toYYYYMMDD(time)
ORDER BY (time, id)
TTL toDateTime(time) + INTERVAL 14 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS changes ${on_cluster}
(
    time DateTime64(3, 'UTC'),
    id String,
    kind LowCardinality(String),
    actor String,
    advertiser String,
    campaign String,
    exchange String,
    catalog UInt32,
    before String CODEC(ZSTD(3)),
    after String CODEC(ZSTD(3))
)
ENGINE = ${replacing}
PARTITION BY toYYYYMM(time)
ORDER BY (time, id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
