"""Who answers reports: the bidder that runs here, ClickHouse, or the store on this machine while no bidder runs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError, InvalidRequest, Unavailable, WarehouseError
from campaign_express.ports import Warehouse

Ask = Callable[[Sequence[tuple[str, str]]], tuple[str, bytes]]  # parameters -> (media type, body)

HOST = "127.0.0.1"
CONNECT_S, ANSWER_S = 3.0, 150.0
STORE = "chdb"  # below data_dir
_NO_TABLES = ("code 60:", "code 81:")  # unknown table, unknown database


class NobodyThere(Unavailable):
    """Nothing listens where the bidder would."""


@contextmanager
def open_reports(settings: Settings) -> Iterator[Ask]:
    """What to ask. Asking raises InvalidRequest, or Unavailable and its like with what to do about it.

    A chDB directory belongs to one process, so a bidder that runs is asked, and its directory is opened only if none
    does. With `clickhouse_url` the servers are asked directly.
    """
    if settings.clickhouse_url:
        from campaign_express.adapters.clickhouse import ClickHouseWarehouse

        servers = ClickHouseWarehouse(settings.clickhouse_url, settings.clickhouse_cluster)
        try:
            yield _of(settings, servers)
        finally:
            servers.close()
        return
    opened: list[Warehouse] = []

    def ask(parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
        try:
            return ask_bidder(settings.serve_port, settings.operator_token, parameters)
        except NobodyThere as nobody:
            opened.append(open_store(Path(settings.data_dir) / STORE, str(nobody)))
            return _of(settings, opened[0])(parameters)

    try:
        yield ask
    finally:
        for store in opened:
            store.close()


def ask_bidder(port: int, token: str, parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
    """`GET /v1/reports` on this machine. Raises NobodyThere where nothing listens on the port."""
    where = f"http://{HOST}:{port}"
    connection = http.client.HTTPConnection(HOST, port, timeout=CONNECT_S)
    try:
        try:
            connection.connect()
        except ConnectionRefusedError:
            raise NobodyThere(f"no bidder runs at {where}") from None
        assert connection.sock is not None
        connection.sock.settimeout(ANSWER_S)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", f"/v1/reports?{_query(parameters)}", headers=headers)
        answer = connection.getresponse()
        status, kind, body = answer.status, answer.getheader("content-type", ""), answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{where} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if status == 200:
        return kind, body
    raise _told(status, body, where, bool(token))


def _query(parameters: Sequence[tuple[str, str]]) -> str:
    try:
        return urlencode(parameters)
    except UnicodeEncodeError:
        raise InvalidRequest("a parameter is not Unicode text", path="filter", rule="report") from None


def _told(status: int, body: bytes, where: str, with_token: bool) -> CampaignExpressError:
    try:
        error = json.loads(body)["error"]
        message, path = str(error["message"]), str(error.get("path", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, path = "", ""
    if status == 400 and message:
        return InvalidRequest(message, path=path, rule="report")
    if status == 401:
        known = "refuses the operator_token of these settings" if with_token else "wants its operator_token"
        return CampaignExpressError(f"{where} {known}: set CAMPAIGN_EXPRESS_OPERATOR_TOKEN to the bidder's own")
    if status == 404:
        return Unavailable(
            f"{where} has no /v1/reports: what listens there is no bidder, or one without an operator_token that is "
            "open to the network"
        )
    return Unavailable(f"{where} answers {status}: {message or body[:200].decode('utf-8', 'replace')}")


def open_store(directory: Path, why: str) -> Warehouse:
    """The store of this machine with its tables and sums up to date. `why` it is opened, for the error."""
    from campaign_express.adapters.chdb import ChdbWarehouse
    from campaign_express.analytics import migrate, rollups

    if not directory.is_dir():
        raise Unavailable(f"{why}, and {directory} does not exist: nothing has been recorded yet")
    store = ChdbWarehouse(directory)
    try:
        migrate.migrate(store)
        while rollups.catch_up(store, everything=True):
            pass
    except BaseException:
        store.close()
        raise
    return store


def _of(settings: Settings, warehouse: Warehouse) -> Ask:
    def ask(parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
        from campaign_express.analytics.reports import answer, budgets_of
        from campaign_express.cli.catalog import current

        now_ms = parse_clock(settings.simulated_clock).now_ms()
        try:
            return answer(warehouse, parameters, now_ms, lambda: budgets_of(current(settings)[0]))
        except WarehouseError as error:
            if any(code in str(error) for code in _NO_TABLES):
                raise Unavailable(f"there is no data yet: {error}") from error
            raise

    return ask
