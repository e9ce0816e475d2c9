"""deploy/clickhouse: its files in today's engine (chDB), its backups, its manifests."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_engine import Engine
from deployed_clickhouse import CLUSTER, FOLDER, HOSTS, KEEPERS, SECRETS

from campaign_express.analytics.migrate import migrations, rendered
from tests.support.manifests import (
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

AZURE = FOLDER.parent / "clickhouse-azure"
DENIED = "Not enough privileges"
DATABASE = "campaign_express"


def engine(tmp_path: Path, user: str = "", azure: bool = False) -> Engine:
    return Engine(FOLDER, tmp_path / (user or "all"), SECRETS, user, azure)


# Today's engine


def test_the_engine_knows_cluster_users_limits_and_quotas(tmp_path: Path) -> None:
    macros, clusters, users, profiles, quotas, named = engine(tmp_path).ask(
        "SELECT macro, substitution FROM system.macros ORDER BY macro",
        "SELECT cluster, shard_num, replica_num, host_name, port FROM system.clusters ORDER BY replica_num",
        "SELECT name FROM system.users ORDER BY name",
        "SELECT profile_name, setting_name, value FROM system.settings_profile_elements WHERE setting_name != ''",
        "SELECT name, apply_to_list FROM system.quotas ORDER BY name",
        "SELECT name, mapKeys(collection) FROM system.named_collections",
    )
    assert macros == f"cluster\t{CLUSTER}\nreplica\tclickhouse-0\nshard\t01\n"
    assert clusters == "".join(f"{CLUSTER}\t1\t{n + 1}\t{host}\t9000\n" for n, host in enumerate(HOSTS))
    assert users == "backup\ncampaign_express\ndefault\nreader\n"
    for line in ("default\tmax_memory_usage\t10000000000", "default\tmax_threads\t8", "reader\treadonly\t2"):
        assert line in str(profiles)
    assert quotas == "counted\t['backup','campaign_express','default']\npeople\t['reader']\n"
    assert named == "backups\t['access_key_id','secret_access_key','url']\n"


def test_azure_names_a_container_in_the_same_place(tmp_path: Path) -> None:
    [named] = engine(tmp_path, azure=True).ask("SELECT name, mapKeys(collection) FROM system.named_collections")
    assert named == "backups\t['account_key','account_name','container','storage_account_url']\n"


def test_the_products_rights_suffice_for_its_migrations_and_for_little_else(tmp_path: Path) -> None:
    statements = [f"CREATE DATABASE IF NOT EXISTS {DATABASE}", f"USE {DATABASE}"]
    statements += [rendered(statement, "") for each in migrations() for statement in each.statements()]
    allowed = [
        "INSERT INTO changes (time, id) VALUES (now64(3), 'x')",
        "SELECT count() FROM changes FINAL",
        "ALTER TABLE changes DELETE WHERE id = 'y'",
        "OPTIMIZE TABLE changes",
        "SELECT count() FROM system.parts",
        "CREATE TABLE rebuilt AS rollup_minute ENGINE = ReplacingMergeTree(built) ORDER BY start",
        "DROP TABLE rebuilt SYNC",
    ]
    forbidden = [
        f"DROP DATABASE {DATABASE}",
        "CREATE DATABASE other",
        "CREATE USER somebody",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        f"BACKUP DATABASE {DATABASE} TO File('x')",
        "SYSTEM SHUTDOWN",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
    ]
    answers = engine(tmp_path, "campaign_express").ask(*statements, *allowed, *forbidden)
    done, refused = answers[: -len(forbidden)], answers[-len(forbidden) :]
    assert not [answer for answer in done if str(answer).startswith("Code:")]
    for statement, answer in zip(forbidden, refused, strict=True):
        assert DENIED in str(answer), (statement, answer)


def test_the_reader_reads(tmp_path: Path) -> None:
    answers = engine(tmp_path, "reader").ask(
        "SELECT getSetting('max_memory_usage'), getSetting('max_threads')",
        "CREATE DATABASE other",
        f"CREATE TABLE {DATABASE}.t (a Int8) ENGINE = Memory",
        f"SELECT * FROM {DATABASE}.nothing",
    )
    assert answers[0] == "4000000000\t4\n"
    assert "readonly" in str(answers[1]) or DENIED in str(answers[1])
    assert "readonly" in str(answers[2]) or DENIED in str(answers[2])
    assert "UNKNOWN_DATABASE" in str(answers[3])  # it may look: there is no database here


def test_the_cluster_form_of_every_statement_is_what_the_engine_reads(tmp_path: Path) -> None:
    statements = [one for each in migrations() for one in each.statements()]
    shown = [rendered(statement, CLUSTER, DATABASE) for statement in statements]
    for text in shown:
        assert f"ON CLUSTER '{CLUSTER}'" in text
        engines = re.findall(r"ENGINE = (\w+)\((.*)\)", text)
        assert [name for name, _ in engines] == ["ReplicatedReplacingMergeTree"]
        assert engines[0][1].startswith("'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'")
        assert not re.search(r"AS rollup_minute", text)  # which a replica would look for in another database
    macros = {child.tag for child in _xml("config.xml").find("macros") or []}
    assert {"shard", "replica"} <= macros
    answers = engine(tmp_path).ask(*(f"EXPLAIN AST {text}" for text in shown))
    assert all(str(answer).startswith("CreateQuery") for answer in answers), answers


# Backups


CLIENT = """#!{python}
# clickhouse-client, as backup.sh calls it, in whose place today's engine is asked; what is an object store there is a
# directory here.
import json, re, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from clickhouse_engine import Engine
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert arguments["--user"] == "backup" and arguments["--password"] == "backup-password", arguments
if arguments["--host"] == "away":
    sys.exit(210)
if arguments["--query"] == "SELECT 1":
    sys.exit(0)
place = r"(?:S3|AzureBlobStorage)\\(backups, 'campaign_express/([^']*)'\\)"
query = re.sub(place, r"File('\\1')", arguments["--query"])
with open({log!r}, "a") as log:
    log.write(arguments["--query"] + "\\n")
[answer] = Engine(Path({deployed!r}), Path({folder!r}), json.loads({secrets!r})).ask(query)
sys.exit(str(answer) if answer.startswith("Code:") else 0)
"""


class Nights:
    """backup.sh on nights of a test's own, with today's engine as the server."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(FOLDER, folder / "store", SECRETS)
        self.log = folder / "asked"
        self._programs = folder / "bin"
        self._programs.mkdir()
        client = self._programs / "clickhouse-client"
        here = Path(__file__).resolve()
        client.write_text(
            CLIENT.format(
                python=sys.executable,
                paths=[str(here.parent), str(here.parents[2])],
                log=str(self.log),
                deployed=str(FOLDER),
                folder=str(folder / "store"),
                secrets=json.dumps(SECRETS),
            )
        )
        client.chmod(client.stat().st_mode | stat.S_IXUSR)

    def back_up(
        self, today: str, hosts: str = "away clickhouse-0", engine: str = "S3"
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "ENGINE": engine,
            "HOSTS": hosts,
            "PASSWORD": SECRETS["CLICKHOUSE_BACKUP_PASSWORD"],
            "TODAY": today,
        }
        return subprocess.run(
            ["sh", str(FOLDER / "backup.sh")], env=environment, capture_output=True, text=True, timeout=60
        )

    def write(self, number: int) -> None:
        [answer] = self.engine.ask(f"INSERT INTO {DATABASE}.kept VALUES ({number})")
        assert answer == ""

    def restored(self, name: str) -> str:
        """What the numbers were on that night."""
        _, answer, found = self.engine.ask(
            f"DROP DATABASE {DATABASE} SYNC",
            f"RESTORE DATABASE {DATABASE} FROM File('{name}')",
            f"SELECT groupArray(n) FROM (SELECT n FROM {DATABASE}.kept ORDER BY n)",
        )
        assert "RESTORED" in str(answer), answer
        return str(found).strip()


def test_a_week_of_backups_can_be_restored(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    assert nights.engine.ask(
        f"CREATE DATABASE {DATABASE}",
        f"CREATE TABLE {DATABASE}.kept (n UInt8) ENGINE = MergeTree ORDER BY n",
        f"INSERT INTO {DATABASE}.kept VALUES (1)",
    ) == ["", "", ""]
    first = nights.back_up("2026-11-27")  # a Friday, before there is any Sunday
    assert first.returncode == 0, first.stderr
    assert "2026-11-27-whole: whole" in first.stdout
    nights.write(2)
    assert "2026-11-29: whole" in nights.back_up("2026-11-29").stdout
    nights.write(3)
    assert "2026-11-30: what has changed since 2026-11-29" in nights.back_up("2026-11-30").stdout
    asked = nights.log.read_text()
    assert (
        "BACKUP DATABASE campaign_express TO S3(backups, 'campaign_express/2026-11-30') "
        "SETTINGS base_backup = S3(backups, 'campaign_express/2026-11-29')\n" in asked
    )
    assert nights.restored("2026-11-30") == "[1,2,3]"
    assert nights.restored("2026-11-27-whole") == "[1]"


def test_a_night_without_a_server_is_a_failure(tmp_path: Path) -> None:
    done = Nights(tmp_path).back_up("2026-11-29", hosts="away away")
    assert done.returncode != 0
    assert "no server answers" in done.stderr


# Manifests


def _xml(name: str) -> Any:
    return ElementTree.parse(FOLDER / name).getroot()


def test_manifests_are_valid_and_agree_with_the_table() -> None:
    found = resources(FOLDER)
    for manifest in found:
        valid(manifest)
    hardened(found)
    table = names()["components"]
    assert images_of(found) == {image("clickhouse"), image("clickhouse-keeper"), image("bidder")}
    headless = one(found, "Service", table["clickhouse"]["headless"])["spec"]["ports"]
    assert {port["name"]: port["port"] for port in headless} == ports("clickhouse")
    service = one(found, "Service", table["clickhouse"]["service"])["spec"]["ports"]
    assert {port["name"]: port["port"] for port in service}.items() <= ports("clickhouse").items()
    keeper = one(found, "Service", table["clickhouse-keeper"]["service"])["spec"]["ports"]
    assert {port["name"]: port["port"] for port in keeper}.items() <= ports("clickhouse-keeper").items()
    config = _xml("config.xml")
    for path, port in (
        ("http_port", "http"),
        ("tcp_port", "native"),
        ("interserver_http_port", "interserver"),
        ("prometheus/port", "metrics"),
    ):
        assert config.findtext(path) == str(ports("clickhouse")[port])
    keepers = _xml("keeper_config.xml").find("keeper_server")
    assert keepers.findtext("tcp_port") == str(ports("clickhouse-keeper")["client"])
    assert keepers.findtext("http_control/port") == str(ports("clickhouse-keeper")["control"])
    assert {one.findtext("port") for one in keepers.iter("server")} == {str(ports("clickhouse-keeper")["raft"])}


def test_two_replicas_and_three_keepers_apart() -> None:
    found = resources(FOLDER)
    for name, count, hosts in (("clickhouse", 2, HOSTS), ("clickhouse-keeper", 3, KEEPERS)):
        nodes = one(found, "StatefulSet", name)
        assert nodes["spec"]["replicas"] == count
        space = f"{nodes['spec']['serviceName']}.{names()['namespace']}.svc.{names()['cluster_domain']}"
        assert hosts == [f"{name}-{number}.{space}" for number in range(count)]
        (apart,) = pod(nodes)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        budget = one(found, "PodDisruptionBudget", name)["spec"]
        assert budget.get("maxUnavailable") == 1 or budget["minAvailable"] == count - 1
        assert budget["selector"] == nodes["spec"]["selector"]
    config = _xml("config.xml")
    assert [host.text for host in config.iterfind("remote_servers/campaign_express/shard/replica/host")] == HOSTS
    assert [host.text for host in config.iterfind("zookeeper/node/host")] == KEEPERS
    raft = list(_xml("keeper_config.xml").iterfind("keeper_server/raft_configuration/server"))
    assert [(each.findtext("id"), each.findtext("hostname")) for each in raft] == [
        (str(number + 1), host) for number, host in enumerate(KEEPERS)
    ]
    command = container(one(found, "StatefulSet", "clickhouse-keeper"), "keeper")["command"][-1]
    shown = command.split(";")[0].replace("export ", "") + "; echo $KEEPER_ID"
    told = subprocess.run(["sh", "-c", shown], env={"POD_NAME": "clickhouse-keeper-2"}, capture_output=True, text=True)
    assert told.stdout == "3\n"


def test_a_query_has_ten_gigabytes_and_the_server_stays_below_its_limit() -> None:
    users, config = _xml("users.xml"), _xml("config.xml")
    assert users.findtext("profiles/default/max_memory_usage") == "10000000000"
    assert users.findtext("profiles/default/max_threads") == "8"
    nodes = one(resources(FOLDER), "StatefulSet", "clickhouse")
    limit = size(container(nodes, "clickhouse")["resources"]["limits"]["memory"])
    assert 10e9 < float(config.findtext("max_server_memory_usage_to_ram_ratio")) * limit < 0.9 * limit
    (claim,) = nodes["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "200Gi"


def test_every_value_from_the_environment_is_given() -> None:
    found = resources(FOLDER)
    server = variables(container(one(found, "StatefulSet", "clickhouse"), "clickhouse"))
    wanted = {
        element.attrib["from_env"]
        for name in ("config.xml", "users.xml", "backups.xml", "../clickhouse-azure/backups.xml")
        for element in _xml(name).iter()
        if "from_env" in element.attrib
    }
    assert wanted == set(server) & wanted
    assert wanted - {"POD_NAME", "POD_HOST"} == set(SECRETS)
    for secret in ("clickhouse-auth", "clickhouse-backup"):
        kept = {one["secretKey"] for one in one(found, "ExternalSecret", secret)["spec"]["data"]}
        asked = {
            value["secretKeyRef"]["key"]
            for value in server.values()
            if isinstance(value, dict) and value.get("secretKeyRef", {}).get("name") == secret
        }
        assert asked == kept
    assert files_of(FOLDER, "clickhouse-config") == {"config.xml", "users.xml", "backups.xml"}
    assert files_of(FOLDER, "clickhouse-keeper-config") == {"keeper_config.xml"}
    assert files_of(FOLDER, "clickhouse-backup-script") == {"backup.sh"}


def test_tables_are_made_by_the_product() -> None:
    job = container(one(resources(FOLDER), "Job", "clickhouse-migrate"), "migrate")
    assert job["command"] == ["campaign-express", "db", "migrate"]
    assert variables(job)["CAMPAIGN_EXPRESS_CLICKHOUSE_CLUSTER"] == CLUSTER
    assert not [path for path in FOLDER.rglob("*") if path.suffix == ".sql" or "CREATE TABLE" in _text(path)]


def _text(path: Path) -> str:
    return re.sub(r"<query>.*</query>", "", path.read_text("utf-8")) if path.is_file() else ""


def test_azure_changes_the_disk_and_where_backups_go() -> None:
    overlay = yaml.safe_load((AZURE / "kustomization.yaml").read_text("utf-8"))
    disk, engine_of = (yaml.safe_load(patch["patch"])[0] for patch in overlay["patches"])
    assert disk["value"] == yaml.safe_load((AZURE / "storage-class.yaml").read_text())["metadata"]["name"]
    backup = container(one(resources(FOLDER), "CronJob", "clickhouse-backup"), "backup")
    assert backup["env"][0] == {"name": "ENGINE", "value": "S3"}
    assert engine_of["path"].endswith("/env/0/value")
    assert engine_of["value"] == "AzureBlobStorage"


@pytest.mark.parametrize("folder", [FOLDER, AZURE], ids=lambda path: path.name)
def test_everything_that_is_listed_exists(folder: Path) -> None:
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    for path in listed["resources"]:
        assert (folder / path).exists()
    for made in listed["configMapGenerator"]:
        assert all((folder / file).is_file() for file in made["files"])
