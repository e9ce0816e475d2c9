"""deploy/nats: what it may take of memory and disk, and that its manifests agree with each other and the table."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from pathlib import Path

from deployed_nats import CONFIG, NODES, SERVER
from nats.js.api import StorageType, StreamConfig
from server_process import free_port

from campaign_express.adapters.nats import close, connect
from campaign_express.errors import Unavailable
from tests.support.manifests import (
    DEPLOY,
    container,
    files_of,
    hardened,
    image,
    images_of,
    names,
    one,
    pod,
    ports,
    resources,
    size,
    valid,
    variables,
)

FOLDER = DEPLOY / "nats"


def test_a_full_memory_store_stays_within_the_container(tmp_path: Path) -> None:
    """Store, GOMEMLIMIT and limit of the deployment at a sixteenth, filled with small messages and written over."""
    part = 16
    server = container(one(resources(FOLDER), "StatefulSet", "nats"), "nats")
    limit = size(server["resources"]["limits"]["memory"]) // part
    go_limit = int(variables(server)["GOMEMLIMIT"].removesuffix("MiB")) * 2**20 // part
    (stored,) = [line for line in CONFIG.read_text().splitlines() if "max_memory_store:" in line]
    store = size(stored.split()[1].removesuffix("B")) // part
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{\n  store_dir: "{tmp_path}"\n  max_memory_store: {store}\n}}\n'
    )
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        ["env", f"GOMEMLIMIT={go_limit}", SERVER, "--config", str(config)], stdout=log, stderr=log
    )
    try:
        asyncio.run(_fill(port, store))
        status = Path(f"/proc/{process.pid}/status").read_text()
        (highest,) = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    finally:
        process.kill()
        process.wait()
        log.close()
    assert store < highest < limit


async def _fill(port: int, store: int) -> None:
    body = b"x" * 150
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                client = await connect(f"nats://127.0.0.1:{port}", "test")
                break
            await asyncio.sleep(0.05)
        context = client.jetstream()
        config = StreamConfig(name="M", subjects=["m.>"], storage=StorageType.MEMORY, max_bytes=store)
        await context.add_stream(config)
        for number in range(2 * store // 180):
            await client.publish(f"m.{number % 100}", body)
            if number % 2000 == 0:
                await context.stream_info("M")  # not faster than it stores
        state = (await context.stream_info("M")).state
        await close(client)
    assert state.bytes > 0.95 * store
    assert state.first_seq > 1  # it was full


# Manifests


def test_manifests_are_valid_and_agree_with_the_table() -> None:
    found = resources(FOLDER)
    for manifest in found:
        valid(manifest)
    hardened(found)
    table = names()["components"]
    assert images_of(found) == {image("nats"), image("nats-exporter")}
    headless = one(found, "Service", table["nats"]["headless"])
    service = one(found, "Service", table["nats"]["service"])
    assert {port["name"]: port["port"] for port in headless["spec"]["ports"]} == {
        **ports("nats"),
        **ports("nats-exporter"),
    }
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]}.items() <= ports("nats").items()
    text = CONFIG.read_text()
    assert f"name: {table['nats']['cluster']}\n" in text
    for setting, port in (("\nport", "client"), ("\n  port", "cluster"), ("\nhttp_port", "monitor")):
        assert f"{setting}: {ports('nats')[port]}\n" in text or f"{setting}: {ports('nats')[port]} " in text


def test_three_nodes_apart_one_of_which_may_be_away() -> None:
    found = resources(FOLDER)
    nodes = one(found, "StatefulSet", "nats")
    assert nodes["spec"]["replicas"] == NODES
    text = CONFIG.read_text()
    headless = nodes["spec"]["serviceName"]
    space = f"{names()['namespace']}.svc.{names()['cluster_domain']}"
    for number in range(NODES):
        assert f"nats-{number}.{headless}.{space}:6222" in text
    (apart,) = pod(nodes)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    budget = one(found, "PodDisruptionBudget", "nats")["spec"]
    assert budget["minAvailable"] == NODES - 1
    assert budget["selector"] == nodes["spec"]["selector"]
    signed = one(found, "Certificate", "nats-tls")["spec"]["dnsNames"]
    assert f"*.{headless}.{space}" in signed
    assert "nats" in signed


def test_disk_holds_a_full_store_and_every_secret_comes_from_one_place() -> None:
    nodes = one(resources(FOLDER), "StatefulSet", "nats")
    (claim,) = nodes["spec"]["volumeClaimTemplates"]
    (stored,) = [line for line in CONFIG.read_text().splitlines() if "max_file_store:" in line]
    assert size(claim["spec"]["resources"]["requests"]["storage"]) >= 1.1 * size(stored.split()[1].removesuffix("B"))
    assert "sync_interval: always" in CONFIG.read_text()
    server = container(nodes, "nats")
    wanted = {word.lstrip("$") for word in CONFIG.read_text().split() if word.startswith("$") and word[1:].isupper()}
    given = variables(server)
    assert {name for name in wanted if name.startswith("NATS_")} == {name for name in given if name.startswith("NATS_")}
    for name in wanted - {"POD_NAME"}:
        assert given[name]["secretKeyRef"]["name"] == "nats-auth"
    assert {"nats.conf", "reload.sh"} == files_of(FOLDER, "nats-config")
