"""Every setting: its name, default and meaning. docs/configuration.md is tested against this file.

Values come from the Serve application's `args` (serve_config.yaml), then from the environment as
`CAMPAIGN_EXPRESS_<NAME>` (which wins), then from the defaults here. Unknown names in `args` are errors. Secrets come
only from the environment or files and are never printed: their fields are `Secret`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from campaign_express.errors import ConfigError

PREFIX = "CAMPAIGN_EXPRESS_"
Port = Annotated[int, Meta(ge=0, le=65_535)]  # 0 = any free port (tests)
Positive = Annotated[int, Meta(ge=1)]
Days = Annotated[int, Meta(ge=0, le=3650)]


class Secret(str):
    """A string that does not show itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # Listeners (the cell).
    host: str = "127.0.0.1"
    http_port: Port = 8080
    grpc_port: Port = 9090
    metrics_port: Port = 9091
    # Serve and dashboard (read by `up` and the check of ports; serve_config.yaml holds what Serve itself reads).
    serve_port: Port = 8000
    dashboard_port: Port = 8265
    # The cell.
    agents_per_cell: Positive = 2
    npu_per_agent: Annotated[int, Meta(ge=0, le=1)] = 0
    accelerator: Annotated[str, Meta(pattern="^(cpu|amd_xdna)$")] = "cpu"
    require_accelerator: bool = False
    npu_options: str = ""  # "key=value,key=value" for the accelerator's execution provider, see docs/model.md
    max_batch: Positive = 16  # more lets one agent work while others wait, fewer share less of what a batch costs
    batches_in_flight: Annotated[int, Meta(ge=1, le=8)] = 2  # for one agent
    max_queue: Positive = 1024  # requests waiting; beyond it they are shed
    max_body_bytes: Positive = 262_144
    max_decompressed_bytes: Positive = 1_048_576
    request_timeout_ms: Positive = 500  # the gateway answers no-bid after this long, whatever an agent does
    tmax_reserve_ms: Annotated[int, Meta(ge=0)] = 10  # kept back for the network and encoding
    keep_alive_s: Positive = 75
    connection_max_answers: Annotated[int, Meta(ge=0)] = 0  # close a connection after this many answers, 0 = never
    drain_window_s: Annotated[float, Meta(ge=0)] = 3.0
    socket_dir: str = ""  # Unix sockets of agents; empty: a directory below data_dir
    # State and events; empty: embedded servers below data_dir.
    redis_url: str = ""
    nats_url: str = ""
    data_dir: str = "var"
    embedded_redis_port: Port = 6379
    embedded_nats_port: Port = 4222
    # Persons: profiles and frequency counts, see docs/profiles.md.
    lease_s: Annotated[int, Meta(ge=1, le=3600)] = 60  # wall clock; must divide a quarter of an hour
    budget_headroom: Annotated[float, Meta(ge=0, le=0.2)] = 0.005  # share of the daily budget for what comes too late
    ledger_replicas: Annotated[int, Meta(ge=0, le=5)] = 0  # that must have a grant or an event before it counts
    state_timeout_ms: Positive = 8  # the longest that a batch waits for Redis
    profile_ttl_days: Annotated[int, Meta(ge=1, le=3650)] = 90  # profiles since their import, counts since their last
    profile_cache_entries: Positive = 20_000  # of one agent
    profile_cache_bytes: Positive = 16_000_000
    profile_cache_s: Annotated[float, Meta(ge=0)] = 60.0
    # What to bid with.
    catalog_file: str = ""  # empty: the packaged examples
    exchanges_file: str = ""
    rates_file: str = ""
    model_file: str = ""
    max_candidates: Positive = 256  # creatives scored for one impression, best first by max bid
    # Facts.
    geoip_file: str = ""  # MaxMind .mmdb
    data_center_file: str = ""  # CIDR lines
    crawler_file: str = ""  # regular expressions, one a line, beside the library's list
    sellers_file: str = ""  # ads.txt / sellers.json lists
    # Privacy.
    tcf_vendor_id: Annotated[int, Meta(ge=0)] = 0  # our IAB Global Vendor List id, 0 = none
    # Where a request without a `gdpr` flag is under the GDPR, see docs/privacy.md.
    gdpr_when_absent: str = "eea=applies,GB=applies,CH=applies,unknown=applies,other=does-not-apply"
    # Notices.
    notice_base_url: str = "http://127.0.0.1:8080"
    notice_keys: Secret = Secret("")  # "id:hex,id:hex", the first signs; embedded start makes one
    notice_lateness_s: Positive = 600  # how long after its bid's `exp` a notice may come and still find its reservation
    notice_url_life_s: Positive = 172_800  # after its bid a notice URL is expired
    price_keys: Secret = Secret("")  # "exchange=hex:hex,...": encryption and integrity key of encrypted prices
    click_window_s: Positive = 2_592_000  # a conversion is due to a click this long ago, at most
    view_window_s: Positive = 86_400  # likewise to a view
    # Events.
    publish_patience_ms: Positive = 50  # what JetStream has not acknowledged by then goes to the local spool
    spool_max_bytes: Positive = 1_073_741_824  # of one cell, in data_dir/spool; beyond it notices are refused
    stream_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    stream_max_age_s: Annotated[int, Meta(ge=0)] = 7_776_000  # 0: keep events for ever
    stream_max_bytes: Annotated[int, Meta(ge=0)] = 0  # 0: no limit but the disk
    stream_duplicate_window_s: Positive = 600
    # Decisions, see docs/events.md. Shares are of all requests; 0: none.
    decision_events: bool = True
    decision_share: Annotated[float, Meta(ge=0, le=1)] = 1.0  # bids
    no_bid_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    request_share: Annotated[float, Meta(ge=0, le=1)] = 0.01  # whole requests, stripped, for backtests
    decision_partitions: Annotated[int, Meta(ge=1, le=256)] = 1
    decision_buffer_bytes: Positive = 67_108_864  # of one cell: what JetStream has not acknowledged
    decision_max_age_s: Annotated[int, Meta(ge=0)] = 172_800
    decision_max_bytes: Annotated[int, Meta(ge=0)] = 8_589_934_592
    pseudonym_days: Annotated[int, Meta(ge=1, le=365)] = 30  # after which a person gets another one
    pseudonym_keep_days: Annotated[int, Meta(ge=1, le=3650)] = 400  # keys of past ones: as long as archives
    # Event pipeline, see docs/pipeline.md.
    clickhouse_url: str = ""  # empty: chDB below data_dir
    clickhouse_cluster: str = ""  # whose replicas hold the tables; empty: one server
    clickhouse_quorum: Annotated[int, Meta(ge=0, le=9)] = 0  # replicas that must have rows before they count as stored
    # How long tables keep rows, days: 3 or more, 0 for ever.
    events_keep_days: Days = 400
    decisions_keep_days: Days = 30
    requests_keep_days: Days = 14
    minute_sums_keep_days: Days = 40
    hour_sums_keep_days: Days = 400
    pipeline_linger_ms: Positive = 1000  # how long the first event of a batch waits for more
    pipeline_range: Positive = 20_000  # messages of one batch; frames of decisions count as 100
    # Treasury, see docs/treasury.md.
    audit_period_s: Positive = 60  # between two audits of the books
    audit_window_s: Annotated[int, Meta(ge=3600)] = 7200  # wall clock: what is compared with the event log
    breaker_factor: Annotated[float, Meta(ge=0)] = 10.0  # who spends so many times what its budget allows is stopped
    breaker_window_s: Positive = 300  # wall clock: in so much time
    breaker_floor_micros: Annotated[int, Meta(ge=0)] = 20_000_000  # and more than this
    # Pacing, see docs/pacing.md.
    pacing_multiplier_min: Annotated[float, Meta(ge=0.1, le=1)] = 0.5  # 1: bids are never lowered
    # Notifications, see docs/notifications.md. Nobody is told by a channel that is not set.
    notify_behind_share: Annotated[float, Meta(gt=0, le=1)] = 0.1  # of a day's goal that a campaign lacks,
    notify_behind_minutes: Positive = 60  # for so long, wall clock
    notify_silent_minutes: Positive = 15  # without a request of an exchange
    notify_webhook_url: Secret = Secret("")  # some services tell who may post by it alone
    notify_webhook_secret: Secret = Secret("")  # signs what is sent there
    notify_email_to: str = ""  # addresses with commas between
    notify_email_from: str = ""  # a sender that SendGrid has verified
    notify_sms_to: str = ""  # numbers (E.164) with commas between
    notify_sms_from: str = ""  # our number, or a messaging service (MG...)
    sendgrid_api_key: Secret = Secret("")
    sendgrid_url: str = "https://api.sendgrid.com"
    twilio_account_sid: Secret = Secret("")
    twilio_auth_token: Secret = Secret("")
    twilio_url: str = "https://api.twilio.com"
    # Time. Only for simulations: REAL_MS:START_MS:SPEED, see clock.py.
    simulated_clock: str = ""
    # Operator's app.
    operator_token: Secret = Secret("")
    # Traces and logs.
    otlp_endpoint: str = ""  # of an OpenTelemetry collector, OTLP over HTTP: http://tempo:4318
    trace_sample: Annotated[float, Meta(ge=0, le=1)] = 0.001  # of auctions, where otlp_endpoint is set
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"


# Secrets of other services are also found under the names that those services give them.
USUAL_NAMES = {
    "sendgrid_api_key": "SENDGRID_API_KEY",
    "twilio_account_sid": "TWILIO_ACCOUNT_SID",
    "twilio_auth_token": "TWILIO_AUTH_TOKEN",
}


SECRET_FIELDS = frozenset(field.name for field in msgspec.structs.fields(Settings) if field.type is Secret)
URL_FIELDS = ("redis_url", "nats_url", "clickhouse_url")  # in which a password may stand


def _dec_hook(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(kind)


def load(args: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from Serve args and environment. Raises ConfigError with every problem at once, each with its key."""
    environ = os.environ if environ is None else environ
    fields = {f.name: f for f in msgspec.structs.fields(Settings)}
    raw: dict[str, Any] = dict(args or {})
    origin = {name: f"args.{name}" for name in raw}
    for name in fields:
        key = PREFIX + name.upper()
        if key not in environ:
            key = USUAL_NAMES.get(name, key)
        if key in environ:
            raw[name], origin[name] = environ[key], key
    problems = [f"{origin[name]}: no such setting" for name in raw if name not in fields]
    good: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in fields:
            continue
        try:
            strict = not isinstance(value, str)  # the environment knows only strings
            good[name] = msgspec.convert(value, fields[name].type, strict=strict, dec_hook=_dec_hook)
        except msgspec.ValidationError as error:
            problems.append(f"{origin[name]}: {error}")
    endpoint = str(good.get("otlp_endpoint", ""))
    if endpoint and not endpoint.startswith(("http://", "https://")):
        problems.append(f"{origin['otlp_endpoint']}: must be http://HOST:PORT or https://HOST:PORT")
    problems += [f"{origin[name]}: {_UNREADABLE}" for name in _SPLIT if not _is_read(str(good.get(name, "")))]
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    return Settings(**good)


_SPLIT = ("redis_url", "nats_url")  # by libraries, as the standard says; `clickhouse_url` is read by hand
_UNREADABLE = (
    "cannot be read as a url: in user and password write [ as %5B, ] as %5D, / as %2F, # as %23, ? as %3F, a comma as "
    "%2C"
)


def _is_read(urls: str) -> bool:
    """Whether each of comma-separated urls has its user and password where a reader looks for them, and a port."""
    for url in urls.split(","):
        try:
            parts = urlsplit(url.strip())
            parts.port  # noqa: B018  # raises for what is no number
        except ValueError:
            return False
        if "@" in url and "@" not in parts.netloc:
            return False
    return True


def refuse_secrets(args: dict[str, Any]) -> None:
    """Raises ConfigError for secrets among `args`, naming the environment variable each belongs in."""
    held = [name for name in args if name in SECRET_FIELDS]
    held += [name for name in URL_FIELDS if has_password(str(args.get(name) or ""))]
    if held:
        problems = [f"args.{name}: holds a secret; set {PREFIX}{name.upper()} in the environment" for name in held]
        raise ConfigError("Settings that cannot be used:", problems)


def has_password(urls: str) -> bool:
    """Whether one of comma-separated urls may carry a password (or a token in a user's place).

    By an @ anywhere: where a password has a slash or a bracket in it, nothing else of the url can be relied on.
    """
    return "@" in urls
