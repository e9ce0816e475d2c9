"""Dockerfiles and compose files: read by their own programs, and in agreement with the one table and the settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from benchmarks.balancer import CELLS, CONFIG, binary
from campaign_express.config import PREFIX, SECRET_FIELDS, Settings
from tests.support import dockerfile
from tests.support.manifests import DEPLOY, ROOT, image, names, ports

FOLDER = DEPLOY / "docker"
COMPOSE, DEV = FOLDER / "docker-compose.yml", FOLDER / "docker-compose.dev.yml"
DOCKERFILES = (FOLDER / "Dockerfile", FOLDER / "Dockerfile.dev")
BIN = Path(sys.prefix, "bin")
SEVEN = {"campaign-express", "nats", "redis", "clickhouse", "prometheus", "grafana", "haproxy"}
# service -> published port -> (component, port of it)
PUBLISHED = {
    "campaign-express": {8080: ("bidder", "http"), 9090: ("bidder", "grpc"), 9091: ("bidder", "metrics")},
    "nats": {4222: ("nats", "client"), 8222: ("nats", "monitor")},
    "redis": {6379: ("redis", "redis")},
    "clickhouse": {8123: ("clickhouse", "http"), 9000: ("clickhouse", "native")},
    "prometheus": {9092: ("prometheus", "web")},
    "grafana": {3000: ("grafana", "web")},
    "haproxy": {80: ("haproxy", "http"), 443: ("haproxy", "https"), 8404: ("haproxy", "stats")},
}


def compose(*files: Path) -> subprocess.CompletedProcess[str]:
    named = [word for file in files for word in ("-f", str(file))]
    command = [str(BIN / "docker-compose"), *named, "config", "--format", "json"]
    return subprocess.run(command, capture_output=True, text=True)


@cache
def stack(*files: Path) -> dict[str, Any]:
    ran = compose(*files)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, "no warning"
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_compose_refuses_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healthcheckk:", 1))
    assert compose(wrong).returncode


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_has_nothing_to_say(path: Path, tmp_path: Path) -> None:
    ran = subprocess.run([str(BIN / "hadolint"), str(path)], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(path.read_text() + "RUN cd /tmp && sudo apt-get install x\n")
    assert subprocess.run([str(BIN / "hadolint"), str(wrong)], capture_output=True).returncode


def test_there_are_seven_services_with_health_and_the_tables_images() -> None:
    services = stack(COMPOSE)["services"]
    assert set(services) == SEVEN
    for name, service in services.items():
        assert service["image"] == image("bidder" if name == "campaign-express" else name)
        assert "interval" in service["healthcheck"]
        assert ("test" in service["healthcheck"]) != (name == "campaign-express"), "whose image has its own"
        for needed in service.get("depends_on", {}).values():
            assert needed["condition"] == "service_healthy"
        keeps = any(volume["type"] == "volume" for volume in service["volumes"])
        assert keeps, "data outlives the container"
    assert set(services["campaign-express"]["depends_on"]) == {"nats", "redis", "clickhouse"}


def test_images_that_are_past_their_end_of_life_are_raised() -> None:
    raised = {name: entry for name, entry in names()["images"].items() if "reference" in entry}
    assert {"nats", "redis", "clickhouse", "prometheus", "grafana"} <= set(raised)
    page = (ROOT / "docs/docker.md").read_text()
    for name in ("nats", "redis", "clickhouse", "prometheus", "grafana"):
        assert raised[name]["reference"] in page
        assert raised[name]["tag"] in page


def test_published_ports_are_the_references_and_on_this_machine_alone() -> None:
    for name, service in stack(COMPOSE)["services"].items():
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        found = {int(port["published"]): port["target"] for port in service["ports"]}
        assert found == {published: ports(component)[port] for published, (component, port) in PUBLISHED[name].items()}
    assert names()["components"]["prometheus"]["ports"]["compose"] == 9092


def test_urls_name_the_tables_services_which_the_network_knows() -> None:
    services = stack(COMPOSE)["services"]
    known = {alias for one in services.values() for alias in (one["networks"]["default"] or {}).get("aliases", [])}
    known |= set(services)
    variables = services["campaign-express"]["environment"]
    for component, scheme, port in (
        ("nats", "nats", "client"),
        ("redis", "redis", "redis"),
        ("clickhouse", "http", "http"),
    ):
        name = names()["components"][component]["service"]
        assert variables[f"{PREFIX}{component.upper()}_URL"] == f"{scheme}://{name}:{ports(component)[port]}"
        assert name in known
    assert CELLS in known, "haproxy.cfg asks for it"
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert scraped["global"]["scrape_interval"] == "10s"
    targets = [t for job in scraped["scrape_configs"] for each in job["static_configs"] for t in each["targets"]]
    assert set(targets) == {
        f"campaign-express:{ports('bidder')['metrics']}",
        f"{names()['components']['haproxy']['service']}:{ports('haproxy')['stats']}",
        f"clickhouse:{ports('clickhouse')['metrics']}",
    }
    assert {target.split(":")[0] for target in targets} <= known


def test_variables_are_settings_and_none_is_a_secret() -> None:
    fields = {PREFIX + field.name.upper(): field.name for field in msgspec.structs.fields(Settings)}
    given = [dockerfile.variables(dockerfile.steps(path)) for path in DOCKERFILES]
    given += [stack(*files)["services"]["campaign-express"]["environment"] for files in ((COMPOSE,), (COMPOSE, DEV))]
    for variables in given:
        ours = {name for name in variables if name.startswith(PREFIX)}
        assert ours
        assert ours <= set(fields)
        assert not {fields[name] for name in ours} & SECRET_FIELDS
    health = dockerfile.last(dockerfile.steps(DOCKERFILES[0]), "HEALTHCHECK")
    assert set(re.findall(rf"{PREFIX}\w+", health)) == {f"{PREFIX}HTTP_PORT"}


def test_haproxy_is_the_deployed_one() -> None:
    found = stack(COMPOSE)
    assert Path(found["configs"]["haproxy"]["file"]).resolve() == CONFIG
    mounted = {one["source"]: one["target"] for one in found["services"]["haproxy"]["configs"]}
    assert mounted == {"haproxy": "/etc/haproxy/haproxy.cfg", "unlimited": "/etc/haproxy/unlimited.lst"}
    (tls,) = found["services"]["haproxy"]["volumes"]
    assert (tls["target"], tls["read_only"]) == ("/etc/haproxy/tls", True)
    assert found["services"]["haproxy"]["ulimits"]["nofile"]["hard"] > 2 * 100_000


def test_grafana_shows_the_clusters_dashboards() -> None:
    found = stack(COMPOSE)
    grafana, prometheus = (found["services"][name] for name in ("grafana", "prometheus"))
    mounted = {one["source"]: one["target"] for one in (*grafana["configs"], *prometheus["configs"])}
    provider = yaml.safe_load(Path(found["configs"]["dashboards"]["file"]).read_text())["providers"][0]
    assert mounted["dashboards"] == "/etc/grafana/provisioning/dashboards/dashboards.yml"
    (folder,) = [one for one in grafana["volumes"] if one["type"] == "bind"]
    assert (folder["target"], folder["read_only"]) == (provider["options"]["path"], True)
    boards = {path.name for path in Path(folder["source"]).glob("*.json")}
    assert len(boards) == 7
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(f"{folder['target']}/") in boards
    text = "".join(path.read_text() for path in Path(folder["source"]).glob("*.json"))
    asked = set(re.findall(r'"datasource": \{[^}]*"uid": "(\w+)"', text))
    given = {one["uid"] for one in yaml.safe_load(found["configs"]["datasource"]["content"])["datasources"]}
    assert asked
    assert asked <= given
    # Expressions name what the cluster's rules record.
    read = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"]
    rules = {name: Path(found["configs"][name]["file"]) for name in ("recording-rules", "slo-rules")}
    assert {mounted[name] for name in rules} == set(read)
    assert all(path.resolve().parent == DEPLOY / "monitoring/prometheus" for path in rules.values())


def test_the_made_certificate_is_one_that_haproxy_takes(tmp_path: Path) -> None:
    for _ in range(2):  # the second start keeps the first one's
        subprocess.run([sys.executable, str(FOLDER / "certificate.py"), str(tmp_path)], check=True)
        before = (tmp_path / "tls-combined.pem").read_bytes()
    assert (tmp_path / "tls-combined.pem").read_bytes() == before
    own = CONFIG.read_text().replace("/etc/haproxy/tls", str(tmp_path)).replace("/etc/haproxy", str(CONFIG.parent))
    (tmp_path / "haproxy.cfg").write_text(own)
    ran = subprocess.run([binary(), "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_nats_takes_its_configuration_which_has_the_references_sizes(tmp_path: Path) -> None:
    content = stack(COMPOSE)["configs"]["nats"]["content"]
    assert "max_memory_store: 4GiB" in content
    assert "max_file_store: 20GiB" in content
    (tmp_path / "nats.conf").write_text(content)
    ran = subprocess.run([str(BIN / "nats-server"), "-t", "-c", str(tmp_path / "nats.conf")], capture_output=True)
    assert ran.returncode == 0, ran.stderr


def test_redis_keeps_the_references_size_and_evicts_nothing() -> None:
    command = stack(COMPOSE)["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=False))
    assert (options["--maxmemory"], options["--maxmemory-policy"]) == ("2gb", "noeviction")
    assert options["--appendonly"] == "yes"


def test_the_development_stack_takes_the_working_copy() -> None:
    service = stack(COMPOSE, DEV)["services"]["campaign-express"]
    assert service["build"]["dockerfile"].endswith("Dockerfile.dev")
    sources = {Path(one["source"]).resolve(): one for one in service["volumes"] if one["type"] == "bind"}
    assert sources[ROOT / "campaign_express"]["target"] == "/app/campaign_express"
    assert set(stack(COMPOSE, DEV)["services"]) == SEVEN


def test_both_images_are_of_the_tables_python_and_user() -> None:
    table = names()["images"]["python"]
    for path in DOCKERFILES:
        found = dockerfile.steps(path)
        assert dockerfile.Step("ARG", f"PYTHON_IMAGE={table['tag']}") in found
        assert {step.rest.split(":")[0] for step in found if step.word == "FROM"} == {table["name"]}
        assert dockerfile.last(found, "USER") == "10001:10001"
        assert dockerfile.last(found, "EXPOSE").split() == [str(port) for port in ports("bidder").values()]
