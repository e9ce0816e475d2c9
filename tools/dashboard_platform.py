"""Dashboards of what the bidder runs on: its event pipeline and brokers, Ray, pods, HAProxy, Redis."""

from __future__ import annotations

from tools.dashboard_panels import CE, Board, Panel, rate

LIMIT_RATIOS = {
    "memory {{pod}} {{container}}": "campaign_express:container_memory:limit_ratio",
    "CPU {{pod}} {{container}}": "campaign_express:container_cpu:limit_ratio_rate5m",
}
PENDING = "max by (stream_name, consumer_name) (jetstream_consumer_num_pending)"
STARTS = "sum by (deployment) (increase(ray_serve_deployment_replica_starts_total[$__rate_interval]))"
RESTARTS = 'increase(kube_pod_container_status_restarts_total{namespace="campaign-express"}[15m])'
FULL = "max by (persistentvolumeclaim) (kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes)"

PIPELINE = Board(
    "pipeline",
    "Campaign Express: event pipeline",
    {
        "From the cells": [
            Panel("Broker", "short", {"{{pod}}": f"min by (pod) ({CE}broker_up)"}, "1: JetStream acknowledges."),
            Panel(
                "Decisions",
                "ops",
                {"published": rate(f"{CE}published_decisions_total"), "dropped": rate(f"{CE}dropped_decisions_total")},
            ),
            Panel("Spool", "ops", {"in": rate(f"{CE}spooled_events_total"), "out": rate(f"{CE}drained_events_total")}),
        ],
        "To the tables": [
            Panel("Stored", "ops", {"{{partition}}": rate(f"{CE}pipeline_events_total", "partition")}),
            Panel("Lag", "s", {"{{partition}}": f"max by (partition) ({CE}pipeline_lag_seconds)"}),
            Panel("Not stored yet", "short", {"{{partition}}": f"max by (partition) ({CE}pipeline_lag_messages)"}),
            Panel(
                "Failures",
                "ops",
                {
                    "{{partition}}": rate(f"{CE}pipeline_failures_total", "partition"),
                    "sums": rate(f"{CE}pipeline_sum_failures_total"),
                },
            ),
            Panel(
                "Dead messages",
                "short",
                {
                    "pipeline": f"sum({CE}pipeline_dead_messages_total)",
                    "treasury": f"sum({CE}treasury_dead_events_total)",
                },
            ),
            Panel(
                "Owned partitions", "short", {"{{partition}}": f"sum by (partition) ({CE}pipeline_owned)"}, "1 each."
            ),
        ],
        "NATS": [
            Panel(
                "Stored in JetStream",
                "percentunit",
                {"{{pod}}": "max by (pod) (jetstream_server_total_message_bytes / jetstream_server_max_storage)"},
            ),
            Panel(
                "Pending by consumer",
                "short",
                {"{{stream_name}} {{consumer_name}}": PENDING},
            ),
            Panel("Slow consumers", "short", {"{{pod}}": "max by (pod) (gnatsd_varz_slow_consumers)"}),
        ],
        "ClickHouse": [
            Panel(
                "Queries",
                "ops",
                {"all": rate("ClickHouseProfileEvents_Query"), "failed": rate("ClickHouseProfileEvents_FailedQuery")},
            ),
            Panel("Rows inserted", "ops", {"{{pod}}": rate("ClickHouseProfileEvents_InsertedRows", "pod")}),
            Panel(
                "Replicas",
                "short",
                {
                    "read-only {{pod}}": "ClickHouseMetrics_ReadonlyReplica",
                    "delay {{pod}}": "ClickHouseAsyncMetrics_ReplicasMaxAbsoluteDelay",
                },
            ),
            Panel("Parts of a partition", "short", {"{{pod}}": "ClickHouseAsyncMetrics_MaxPartCountForPartition"}),
            Panel("Memory", "bytes", {"{{pod}}": "ClickHouseMetrics_MemoryTracking"}),
        ],
    },
)
RAY = Board(
    "ray",
    "Campaign Express: Ray",
    {
        "Cluster": [
            Panel(
                "Nodes",
                "short",
                {f"{kind} {{{{node_type}}}}": f"ray_cluster_{kind}_nodes" for kind in ("active", "pending", "failed")},
            ),
            Panel("npu slots", "short", {"{{State}}": 'sum by (State) (ray_resources{Name="npu"})'}),
            Panel("Actors", "short", {"{{Name}} {{State}}": "sum by (Name, State) (ray_actors)"}),
        ],
        "Serve": [
            Panel(
                "Healthy replicas",
                "short",
                {"{{deployment}}": "sum by (deployment) (ray_serve_deployment_replica_healthy)"},
            ),
            Panel(
                "Replicas started",
                "short",
                {"{{deployment}}": STARTS},
            ),
        ],
        "Nodes": [
            Panel("CPU", "percent", {"{{ip}}": "ray_node_cpu_utilization"}),
            Panel("Memory", "percentunit", {"{{ip}}": "ray_node_mem_used / ray_node_mem_total"}),
        ],
    },
)
INFRASTRUCTURE = Board(
    "infrastructure",
    "Campaign Express: infrastructure",
    {
        "Pods": [
            Panel("Share of limits", "percentunit", LIMIT_RATIOS),
            Panel(
                "Restarts in 15 minutes",
                "short",
                {"{{pod}} {{container}}": RESTARTS},
            ),
            Panel(
                "Phases", "short", {"{{phase}}": 'sum by (phase) (kube_pod_status_phase{namespace="campaign-express"})'}
            ),
            Panel(
                "Ready",
                "short",
                {"ready": 'sum(kube_pod_status_ready{namespace="campaign-express", condition="true"})'},
            ),
            Panel("Throttled periods", "ops", {"{{pod}}": rate("container_cpu_cfs_throttled_periods_total", "pod")}),
            Panel(
                "Volumes",
                "percentunit",
                {"{{persistentvolumeclaim}}": FULL},
            ),
        ],
        "HAProxy": [
            Panel("Requests", "reqps", {"{{proxy}}": rate("haproxy_frontend_http_requests_total", "proxy")}),
            Panel("Answers", "reqps", {"{{code}}": rate("haproxy_frontend_http_responses_total", "code")}),
            Panel(
                "Servers and sessions",
                "short",
                {
                    "servers {{proxy}}": "min by (proxy) (haproxy_backend_active_servers)",
                    "sessions": "sum(haproxy_frontend_current_sessions)",
                },
            ),
        ],
        "Redis": [
            Panel(
                "Memory of maxmemory",
                "percentunit",
                {"{{pod}}": "redis_memory_used_bytes / (redis_memory_max_bytes > 0)"},
            ),
            Panel("Commands, p99", "s", {"{{pod}}": "redis:commands_latency_seconds:p99_5m"}),
            Panel("Commands", "ops", {"{{pod}}": rate("redis_commands_processed_total", "pod")}),
            Panel("Clients", "short", {"{{pod}}": "redis_connected_clients"}),
            Panel("Evicted keys", "ops", {"{{pod}}": rate("redis_evicted_keys_total", "pod")}),
            Panel("Up, cluster whole", "short", {"up {{pod}}": "redis_up", "cluster {{pod}}": "redis_cluster_state"}),
        ],
        "NATS": [
            Panel("Connections", "short", {"{{pod}}": "max by (pod) (gnatsd_varz_connections)"}),
            Panel(
                "Messages",
                "ops",
                {"in {{pod}}": rate("gnatsd_varz_in_msgs", "pod"), "out {{pod}}": rate("gnatsd_varz_out_msgs", "pod")},
            ),
        ],
    },
)
