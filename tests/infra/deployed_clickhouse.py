"""Two real ClickHouse servers that run deploy/clickhouse, agreeing by three ZooKeepers.

The servers are Debian's, 18.16. ZooKeeper (Debian's) stands for the keepers, whose language it is. Addresses and paths
of the deployed files are replaced, and what that version does not know is left out or put into its words, here.
"""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver import errors as driver_errors
from clickhouse_server import BINARY, OldWarehouse
from server_process import ServerProcess, free_port

from tests.support.manifests import DEPLOY

FOLDER = DEPLOY / "clickhouse"
JAVA = shutil.which("java")
JAR = Path("/usr/share/java/zookeeper.jar")
HOSTS = [f"clickhouse-{number}.clickhouse-headless.campaign-express.svc.cluster.local" for number in range(2)]
KEEPERS = [f"clickhouse-keeper-{number}.clickhouse-keeper.campaign-express.svc.cluster.local" for number in range(3)]
CLUSTER = "campaign_express"
SECRETS = {
    "CLICKHOUSE_APP_PASSWORD": "app'password",
    "CLICKHOUSE_READER_PASSWORD": "reader-password",
    "CLICKHOUSE_BACKUP_PASSWORD": "backup-password",
    "CLICKHOUSE_INTERSERVER_PASSWORD": "interserver-password",
    "CLICKHOUSE_CLUSTER_SECRET": "cluster-secret",
    "CLICKHOUSE_BACKUP_URL": "https://bucket.example/backups",
    "CLICKHOUSE_BACKUP_KEY_ID": "key-id",
    "CLICKHOUSE_BACKUP_KEY": "key",
}


def present() -> str:
    """What is missing of the programs, or nothing."""
    lacking = {"clickhouse-server": BINARY, "java (zookeeper)": JAVA, "zookeeper": JAR.exists() or None}
    return ", ".join(name for name, found in lacking.items() if not found)


class ZooKeeper(ServerProcess):
    """One of three."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.peer_port, self.election_port = free_port(), free_port()

    def configure(self, number: int, all_of_them: list[ZooKeeper]) -> None:
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "data" / "myid").write_text(str(number + 1))
        servers = [f"server.{n + 1}=127.0.0.1:{one.peer_port}:{one.election_port}" for n, one in enumerate(all_of_them)]
        lines = [
            *(
                "tickTime=500",
                "initLimit=20",
                "syncLimit=10",
                "maxSessionTimeout=5000",
                f"dataDir={self.directory / 'data'}",
            ),
            *(f"clientPort={self.port}", "clientPortAddress=127.0.0.1", "admin.enableServer=false", *servers),
            "4lw.commands.whitelist=srvr",
        ]
        (self.directory / "zoo.cfg").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        heap = ("-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return [str(JAVA), *heap, "-cp", str(JAR), main, str(self.directory / "zoo.cfg")]

    def answers(self) -> bool:
        """It listens: it serves once two do."""
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.election_port)) == 0 or self.serves()

    def serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.sendall(b"srvr")
                return b"Mode:" in link.recv(1000)
        except OSError:
            return False


class Replica(ServerProcess):
    def __init__(self, directory: Path, number: int) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.number = number
        self.http_port, self.interserver_port = free_port(), free_port()

    def configure(self, replicas: list[Replica], keepers: list[ZooKeeper]) -> None:
        text = (FOLDER / "config.xml").read_text("utf-8")
        for number, replica in enumerate(replicas):
            text = replaced(
                text,
                f"<host>{HOSTS[number]}</host>\n          <port>9000</port>",
                f"<host>127.0.0.1</host>\n          <port>{replica.port}</port>"
                "<user>campaign_express</user><password>app'password</password>",  # in the place of the secret
            )
        for number, keeper in enumerate(keepers):
            text = replaced(
                text,
                f"<host>{KEEPERS[number]}</host>\n      <port>9181</port>",
                f"<host>127.0.0.1</host>\n      <port>{keeper.port}</port>",
            )
        for old, new in (
            ("<listen_host>0.0.0.0", "<listen_host>127.0.0.1"),
            ("<http_port>8123", f"<http_port>{self.http_port}"),
            ("<tcp_port>9000", f"<tcp_port>{self.port}"),
            ("<interserver_http_port>9009", f"<interserver_http_port>{self.interserver_port}"),
            ("/var/lib/clickhouse/", f"{self.directory}/data/"),
            ("/etc/clickhouse-server/users.xml", f"{self.directory}/users.xml"),
            ('      <secret from_env="CLICKHOUSE_CLUSTER_SECRET"/>\n', ""),  # of 20.10
            ("<level>information", "<level>warning"),
        ):
            text = replaced(text, old, new)
        (self.directory / "config.xml").write_text(_yandex(text))
        (self.directory / "config.d").mkdir(exist_ok=True)
        (self.directory / "config.d" / "backups.xml").write_text(_yandex((FOLDER / "backups.xml").read_text("utf-8")))
        users = (FOLDER / "users.xml").read_text("utf-8")
        users = replaced(
            users,
            "      <distributed_ddl_output_mode>null_status_on_timeout</distributed_ddl_output_mode>\n",  # of 21.x
            "      <allow_experimental_low_cardinality_type>1</allow_experimental_low_cardinality_type>\n",
        )
        (self.directory / "users.xml").write_text(_yandex(users))

    def command(self) -> list[str]:
        environment = {**SECRETS, "POD_NAME": f"clickhouse-{self.number}", "POD_HOST": "127.0.0.1"}
        values = [f"{name}={value}" for name, value in environment.items()]
        return ["env", *values, str(BINARY), f"--config-file={self.directory / 'config.xml'}"]

    def client(self, user: str = "campaign_express", password: str = "app'password", **more: Any) -> Client:
        return Client("127.0.0.1", self.port, user=user, password=password, connect_timeout=2, **more)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.execute("SELECT 1") == [(1,)])
        except (driver_errors.Error, OSError, EOFError):
            return False


class DeployedClickHouse:
    def __init__(self, directory: Path) -> None:
        self.keepers = [ZooKeeper(directory / f"keeper{number}") for number in range(3)]
        for number, keeper in enumerate(self.keepers):
            keeper.configure(number, self.keepers)
        self.replicas = [Replica(directory / f"replica{number}", number) for number in range(2)]
        for replica in self.replicas:
            replica.configure(self.replicas, self.keepers)

    def warehouse(self, *replicas: Replica) -> ClusterWarehouse:
        """As the product is given it: these in order, or both."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in replicas or self.replicas)
        return ClusterWarehouse(f"clickhouse://campaign_express:app%27password@{hosts}", cluster=CLUSTER)

    def kill(self) -> None:
        for one in [*self.replicas, *self.keepers]:
            one.kill()


class ClusterWarehouse(OldWarehouse):
    """In the words of 18.16, which does not replace the name of a table in its path."""

    def _old(self, sql: str) -> str:
        name = re.search(r"CREATE TABLE IF NOT EXISTS (\w+)", sql)
        named = sql.replace("{database}/{table}", f"campaign_express/{name[1]}") if name else sql
        return super()._old(named)


def replaced(text: str, old: str, new: str) -> str:
    """`old` is there, or the test would run something else than is deployed."""
    assert old in text, old
    return text.replace(old, new)


def _yandex(text: str) -> str:
    return text.replace("<clickhouse>", "<yandex>").replace("</clickhouse>", "</yandex>")
