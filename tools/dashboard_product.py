"""Dashboards of the bidder itself: what it does, how fast, for what money."""

from __future__ import annotations

from tools.dashboard_panels import CE, Board, Panel, p99_by, quantiles, rate

HITS, MISSES = rate(f"{CE}profile_cache_hits_total"), rate(f"{CE}profile_cache_misses_total")

MAIN = Board(
    "campaign-express",
    "Campaign Express",
    {
        "What comes in and goes out": [
            Panel("Bid requests", "reqps", {"{{protocol}}": rate(f"{CE}requests_total", "protocol")}),
            Panel("Bid rate", "percentunit", {"bids": "campaign_express:bids:ratio_rate5m"}),
            Panel("Outcomes", "reqps", {"{{outcome}}": "campaign_express:outcomes:rate5m"}),
        ],
        "How fast": [
            Panel(
                "Bid latency",
                "s",
                {
                    "p99": "campaign_express:bid_latency_seconds:p99_5m",
                    "p95": "campaign_express:bid_latency_seconds:p95_5m",
                    "p50": "campaign_express:bid_latency_seconds:p50_5m",
                },
                "HighBidLatency: p99 above 50 ms for 5 minutes.",
            ),
            Panel("Inference, a batch", "s", {"p99": "campaign_express:inference_time_seconds:p99_5m"}),
            Panel("Load of agents", "percentunit", {"load": "campaign_express:agents:load_rate5m"}),
        ],
        "Objectives": [
            Panel(
                "Not decided",
                "percentunit",
                {w: f"campaign_express:slo_availability:error_ratio_rate{w}" for w in ("5m", "1h", "6h", "3d")},
                "Objective: 0.1 % over 30 days.",
            ),
            Panel(
                "Slower than 50 ms",
                "percentunit",
                {w: f"campaign_express:slo_latency:error_ratio_rate{w}" for w in ("5m", "1h", "6h", "3d")},
                "Objective: 1 % over 30 days.",
            ),
            Panel("Errors of ours", "percentunit", {"errors": "campaign_express:errors:ratio_rate5m"}),
        ],
    },
)
BIDDING = Board(
    "bidding",
    "Campaign Express: bidding",
    {
        "Requests": [
            Panel(
                "No-bids by reason", "reqps", {"{{reason}}": rate(f'{CE}outcomes_total{{outcome="no-bid"}}', "reason")}
            ),
            Panel("Invalid, by rule", "reqps", {"{{rule}}": rate(f"{CE}invalid_requests_total", "rule")}),
            Panel("Refused by the gateway", "reqps", {"{{status}}": rate(f"{CE}refusals_total", "status")}),
        ],
        "Late and shed": [
            Panel(
                "Late, shed, sent again",
                "reqps",
                {n: rate(f"{CE}{n}_requests_total") for n in ("late", "shed", "retried")},
            ),
            Panel("Time in the queue", "s", quantiles(f"{CE}queue_time_seconds")),
            Panel(
                "Latency by pod, p99",
                "s",
                p99_by(f"{CE}bid_latency_seconds", "pod"),
            ),
        ],
        "Cells": [
            Panel("Agents", "short", {"live": f"sum({CE}live_agents)", "wanted": f"sum({CE}agents)"}),
            Panel(
                "Queued and in flight",
                "short",
                {"queued": f"sum({CE}queued_requests)", "in flight": f"sum({CE}in_flight_requests)"},
            ),
            Panel("Connections", "short", {"{{pod}}": f"sum by (pod) ({CE}connections)"}),
            Panel(
                "Agents that came back",
                "short",
                {"{{pod}}": f"sum by (pod) (increase({CE}agent_restarts_total[$__rate_interval]))"},
            ),
            Panel("Catalogue", "short", {"oldest": f"min({CE}catalog_version)", "newest": f"max({CE}catalog_version)"}),
            Panel("Memory of cells", "bytes", {"{{pod}} {{cell}}": f"{CE}resident_memory_bytes"}),
        ],
        "People": [
            Panel("Wait for Redis", "s", quantiles(f"{CE}state_time_seconds")),
            Panel(
                "Unknown persons",
                "percentunit",
                {"unknown": f"{rate(f'{CE}unknown_persons_total')} / {rate(f'{CE}persons_total')}"},
            ),
            Panel(
                "Profiles remembered",
                "percentunit",
                {"hits": f"{HITS} / ({HITS} + {MISSES})"},
            ),
        ],
    },
)
MONEY = Board(
    "money",
    "Campaign Express: money",
    {
        "Spending": [
            Panel("Committed, USD a second", "currencyUSD", {"committed": rate(f"{CE}treasury_committed_usd_total")}),
            Panel("Leased, USD a second", "currencyUSD", {"leased": rate(f"{CE}leased_usd_total")}),
            Panel("Prices of bids, CPM", "currencyUSD", quantiles(f"{CE}bid_price_usd_cpm")),
            Panel(
                "Campaigns against their curve",
                "short",
                {"{{place}}": f"max by (place) ({CE}treasury_paced_campaigns)"},
            ),
        ],
        "Notices": [
            Panel("Notices", "ops", {"{{kind}} {{outcome}}": rate(f"{CE}notices_total", "kind, outcome")}),
            Panel("Prices not plainly believed", "ops", {"{{remark}}": rate(f"{CE}notice_prices_total", "remark")}),
            Panel("Durable after", "s", quantiles(f"{CE}event_publish_seconds")),
            Panel("Waiting in spools", "bytes", {"{{pod}}": f"sum by (pod) ({CE}spool_bytes)"}),
        ],
        "Ledger": [
            Panel("Treasuries that lead", "short", {"leaders": f"sum({CE}treasury_leader)"}, "1, always."),
            Panel("Lag", "s", {"oldest": f"max({CE}treasury_lag_seconds)"}),
            Panel("Events", "ops", {"{{outcome}}": rate(f"{CE}treasury_events_total", "outcome")}),
            Panel(
                "Wrong books",
                "short",
                {
                    "{{kind}}": f"max by (kind) ({CE}treasury_audit_findings)",
                    "lost": f"max({CE}treasury_lost_ledgers)",
                    "stuck": f"max({CE}treasury_stuck_events)",
                },
            ),
            Panel(
                "Failures by part",
                "ops",
                {"{{part}}": rate(f"{CE}treasury_failures_total", "part"), "leases": rate(f"{CE}lease_failures_total")},
            ),
            Panel(
                "Stopped by the breaker",
                "short",
                {"trips": f"sum(increase({CE}treasury_breaker_trips_total[$__rate_interval]))"},
            ),
        ],
    },
)
INFERENCE = Board(
    "inference",
    "Campaign Express: inference",
    {
        "The model": [
            Panel(
                "Inference, a batch",
                "s",
                quantiles(f"{CE}inference_time_seconds"),
                "NPUInferenceLatency: p99 above 10 ms.",
            ),
            Panel(
                "By node, p99",
                "s",
                p99_by(f"{CE}inference_time_seconds", "node"),
            ),
            Panel(
                "Models that could not be loaded", "short", {"{{pod}}": f"sum by (pod) ({CE}model_load_failures_total)"}
            ),
        ],
        "Batches": [
            Panel("Requests in a batch", "short", quantiles(f"{CE}batch_size_requests")),
            Panel("Decision, a batch", "s", quantiles(f"{CE}decision_time_seconds")),
            Panel(
                "Share of the model in a decision",
                "percentunit",
                {"share": f"{rate(f'{CE}inference_time_seconds_sum')} / {rate(f'{CE}decision_time_seconds_sum')}"},
            ),
        ],
    },
)
