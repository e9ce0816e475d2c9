"""ClickHouse servers over their native protocol (clickhouse-driver): the tables of a cluster.

Urls: `clickhouse://user:password@host:9000,host2:9000/database`, `clickhouses://` with TLS (port 9440). An `http://`
url, with which ClickHouse is often written down, is accepted: its port 8123 means the native 9000, `https://` and 8443
the native 9440 with TLS. Hosts are tried in order, and a broken connection goes to the next.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from clickhouse_driver import Client
from clickhouse_driver import errors as driver_errors

from campaign_express.errors import ConfigError, Unavailable, WarehouseError
from campaign_express.ports import Rows

DATABASE = "campaign_express"
NATIVE, NATIVE_TLS = 9000, 9440
# Read by hand: the library's reader knows one host, and puts the password into some of its errors.
_URL = re.compile(r"(?P<scheme>\w+)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)\??(?P<query>[^#]*)").fullmatch
_HOST = re.compile(r"\s*(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s\[\]:@]+))(?::(?P<port>\d{1,5}))?\s*").fullmatch
_SCHEMES = {"clickhouse": False, "clickhouses": True, "http": False, "https": True}
_HTTP_PORTS = {8123: NATIVE, 8443: NATIVE_TLS}
_LATER = frozenset({159, 202, 209, 210, 225, 236, 241, 242, 243, 252, 285, 286, 289, 319, 394, 425, 999})
_NO_DATABASE = 81
_PLACE = re.compile(r"\{(\w+):[^{}]+\}")
_AWAY = (driver_errors.NetworkError, driver_errors.SocketTimeoutError, EOFError, OSError)


class Address(NamedTuple):
    """A url of ClickHouse, read."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str
    password: str
    tls: bool
    ca_file: str
    shown: str  # without user and password


def parse_url(url: str) -> Address:
    """Raises ConfigError; a password is never part of its message."""
    read = _URL(url.strip())
    if read is None or read["scheme"] not in _SCHEMES:
        raise ConfigError(
            "Settings that cannot be used:", ["clickhouse_url: begins with none of " + ", ".join(_SCHEMES)]
        )
    scheme = read["scheme"]
    tls = _SCHEMES[scheme]
    credentials, _, places = read["authority"].rpartition("@")
    user, _, password = credentials.partition(":")
    options = dict(parse_qsl(read["query"]))
    problems = [f"clickhouse_url: no option {name}" for name in options if name != "ca_file"]
    hosts: list[tuple[str, int]] = []
    for place in map(_HOST, places.split(",")):
        port = (NATIVE_TLS if tls else NATIVE) if place is None or place["port"] is None else int(place["port"])
        if place is None or not 0 < port < 65_536:
            problems.append("clickhouse_url: a host or port is missing or wrong")
            continue
        hosts.append((place["v6"] or place["host"], _HTTP_PORTS.get(port, port) if scheme.startswith("http") else port))
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    return Address(
        tuple(hosts),
        unquote(read["path"]).strip("/") or DATABASE,
        unquote(user) or "default",
        unquote(password),
        tls,
        options.get("ca_file", ""),
        _listed(hosts),
    )


def redact(url: str) -> str:
    """Without user and password. Raises ConfigError."""
    address = parse_url(url)
    return f"{url.strip().partition('://')[0]}://{address.shown}/{address.database}"


def _listed(hosts: Sequence[tuple[str, int]]) -> str:
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)


class ClickHouseWarehouse:
    """`ports.Warehouse`. A connection a thread; each insert is compressed (LZ4) and sent by column."""

    def __init__(
        self,
        url: str,
        cluster: str = "",
        *,
        quorum: int = 0,
        connect_s: float = 3.0,
        answer_s: float = 300.0,
        server_binds: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """`quorum`: replicas that must have an insert before it is durable. Connects when it is first used.

        `server_binds`: False for servers before 22.8, which do not bind parameters: the driver then escapes them.
        Raises ConfigError.
        """
        self.address = parse_url(url)
        self.cluster = cluster
        self.where = f"ClickHouse at {self.address.shown}"
        self._timeouts = connect_s, answer_s
        self._server_binds = server_binds
        self._settings = dict(settings or {})
        if quorum:
            self._settings["insert_quorum"] = quorum
        self._local = threading.local()
        self._clients: list[Client] = []
        self._types: dict[str, list[tuple[str, str]]] = {}

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        rows, columns = self._do(lambda client: client.execute(*self._bound(sql, parameters), with_column_types=True))
        return Rows(tuple(name for name, _ in columns), list(rows))

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._do(lambda client: client.execute(*self._bound(sql, parameters)))

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], token: str) -> None:
        names = list(columns)
        values = [list(columns[name]) for name in names]
        sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES"  # names of our own tables
        settings = {"insert_deduplication_token": token} if token and self._server_binds else {}
        self._do(lambda client: client.execute(sql, values, columnar=True, settings=settings))

    def make_database(self) -> None:
        """On all servers of the cluster; without one, only where it is missing, for which rights may be given."""
        if not self.cluster:
            try:
                self.query("SELECT 1")
                return
            except WarehouseError as error:
                if f"code {_NO_DATABASE}:" not in str(error):
                    raise
        name = "`" + self.address.database.replace("\\", "\\\\").replace("`", "\\`") + "`"
        everywhere = f" ON CLUSTER '{self.cluster}'" if self.cluster else ""
        client = self._connect("")  # in the user's own one, which is there
        try:
            self._asked(client, lambda client: client.execute(f"CREATE DATABASE IF NOT EXISTS {name}{everywhere}"))
        finally:
            client.disconnect()

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
        self._clients.clear()

    def _bound(self, sql: str, parameters: Mapping[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
        if not parameters:
            return sql, None
        if self._server_binds:
            return sql, dict(parameters)
        return _PLACE.sub(r"%(\1)s", sql.replace("%", "%%")), dict(parameters)

    def _do(self, work: Callable[[Client], Any]) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect(self.address.database)
            self._clients.append(client)
        return self._asked(client, work)

    def _asked(self, client: Client, work: Callable[[Client], Any]) -> Any:
        try:
            return work(client)
        except driver_errors.ServerException as error:
            client.disconnect()
            message = str(error.message).split("Stack trace")[0].strip()[:500]
            kind = Unavailable if error.code in _LATER else WarehouseError
            raise kind(f"{self.where}: code {error.code}: {message}") from error
        except _AWAY as error:
            client.disconnect()
            raise Unavailable(f"{self.where}: {type(error).__name__}: {error}") from error
        except driver_errors.Error as error:
            client.disconnect()
            raise WarehouseError(f"{self.where}: {type(error).__name__}: {error}") from error

    def _connect(self, database: str) -> Client:
        address = self.address
        (host, port), *others = address.hosts
        connect_s, answer_s = self._timeouts
        return Client(
            host,
            port,
            alt_hosts=_listed(others) or None,
            database=database,
            user=address.user,
            password=address.password,
            client_name="campaign-express",
            secure=address.tls,
            ca_certs=address.ca_file or None,
            ssl_version=ssl.PROTOCOL_TLS_CLIENT if address.tls else None,
            compression=True,
            connect_timeout=connect_s,
            send_receive_timeout=answer_s,
            sync_request_timeout=connect_s,
            tcp_keepalive=hasattr(socket, "SO_KEEPALIVE"),
            settings={**self._settings, "server_side_params": self._server_binds},
        )
