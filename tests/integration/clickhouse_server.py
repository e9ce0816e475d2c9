"""A real clickhouse-server (Debian's 18.16) on free loopback ports, ended by its pid, and a warehouse in its words.

The native protocol is what is tested with it; of the SQL of today, what that version does not know is put into its
words here, textually. Its times are whole seconds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver import errors as driver_errors
from server_process import ServerProcess, free_port

from campaign_express.adapters.clickhouse import ClickHouseWarehouse
from campaign_express.ports import Rows

PASSWORD = "s3cret'&<word"
BINARY = shutil.which("clickhouse-server", path="/usr/sbin:/usr/bin:/usr/local/bin")

_CONFIG = """<yandex>
<logger><level>warning</level><console>1</console></logger>
<listen_host>127.0.0.1</listen_host><http_port>{http}</http_port><tcp_port>{tcp}</tcp_port>{tls}
<path>{directory}/data/</path><tmp_path>{directory}/tmp/</tmp_path><users_config>{directory}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>100000000</mark_cache_size><timezone>UTC</timezone>
</yandex>"""
_TLS = """<tcp_port_secure>{port}</tcp_port_secure>
<openSSL><server><certificateFile>{directory}/server.crt</certificateFile>
<privateKeyFile>{directory}/server.key</privateKeyFile><verificationMode>none</verificationMode>
<loadDefaultCAFile>false</loadDefaultCAFile><disableProtocols>sslv2,sslv3</disableProtocols></server></openSSL>"""
_USER = """<{name}><password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile>
<quota>default</quota></{name}>"""
_USERS = """<yandex><profiles><default>
<allow_experimental_low_cardinality_type>1</allow_experimental_low_cardinality_type>
</default></profiles><quotas><default></default></quotas><users>{users}</users></yandex>"""


class ClickHouseProcess(ServerProcess):
    """One server that a test may kill and start again on the same ports with the same data."""

    def __init__(self, directory: Path, tls: bool = False) -> None:
        """`tls`: with `server.crt` and `server.key`, which are there already, on `tls_port`."""
        super().__init__(directory)
        self.tls_port = free_port() if tls else 0
        shown = _TLS.format(port=self.tls_port, directory=directory) if tls else ""
        config = _CONFIG.format(http=free_port(), tcp=self.port, tls=shown, directory=directory)
        (directory / "config.xml").write_text(config)
        hidden = PASSWORD.replace("&", "&amp;").replace("<", "&lt;")
        users = _USER.format(name="default", password="") + _USER.format(name="loader", password=hidden)
        (directory / "users.xml").write_text(_USERS.format(users=users))
        self.url = f"clickhouse://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        assert BINARY is not None
        return [BINARY, f"--config-file={self.directory / 'config.xml'}"]

    def answers(self) -> bool:
        try:
            with Client("127.0.0.1", self.port, connect_timeout=1) as client:
                return bool(client.execute("SELECT 1") == [(1,)])
        except (driver_errors.Error, OSError, EOFError):
            return False


class OldWarehouse(ClickHouseWarehouse):
    """`ClickHouseWarehouse` whose statements are put into the words of 18.16."""

    def __init__(self, url: str, *, low_cardinality: bool = True, **more: Any) -> None:
        """`low_cardinality`: False for what compares such columns with plain ones, which it cannot."""
        super().__init__(url, server_binds=False, **{"connect_s": 30.0, **more})
        self._low_cardinality = low_cardinality

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        return super().query(self._old(sql), _listed(sql, parameters))

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().run(self._old(sql), _listed(sql, parameters))

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], token: str) -> None:
        in_seconds = {
            name: [value // 1000 for value in values] if name in ("time", "received") else values
            for name, values in columns.items()
        }
        super().insert(table, in_seconds, token)

    def _old(self, sql: str) -> str:
        return old(sql if self._low_cardinality else sql.replace("LowCardinality(String)", "String"))


def old(sql: str) -> str:
    """Types, codecs, terms and functions that came later."""
    sql = sql.replace("DateTime64(3, 'UTC')", "DateTime").replace("DateTime('UTC')", "DateTime")
    sql = re.sub(r" CODEC\((?:[^()]|\([^()]*\))*\)", "", sql)
    sql = re.sub(r"\n(TTL|SETTINGS) [^\n]*", "", sql)
    sql = sql.replace("uniqCombined(14)", "uniqCombined")
    sql = re.sub(r"(uniqCombined\w+)\(14\)", r"\1", sql)
    sql = re.sub(r"toDateTime\((.+?), 'UTC'\)", r"toDateTime(\1)", sql)
    if "UNION ALL" in sql:  # whose parts must be constants or columns alike
        sql = re.sub(r"(toU?Int64\(0\)|(?<![.\w])[01]|'') AS (?=\w)", r"materialize(\1) AS ", sql)
    return sql.replace("toUnixTimestamp64Milli(now64(3))", "toUInt64(toUnixTimestamp(now())) * 1000")


def _listed(sql: str, parameters: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What stands behind IN is a tuple there."""
    behind = set(re.findall(r"\bIN \{(\w+):", sql))
    return parameters and {name: tuple(value) if name in behind else value for name, value in parameters.items()}
