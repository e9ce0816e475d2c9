"""HAProxy, as it is deployed, before two cells: who is sent what, also while cells come and go."""

from __future__ import annotations

import collections
import contextlib
import http.client
import signal
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from benchmarks.balancer import CELLS
from campaign_express.gateway.grpc import SERVICE
from tests.support.haproxy_world import World, until

FIRST, SECOND = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("haproxy")) as made:
        made.start_cells(FIRST, SECOND)
        yield made


@pytest.fixture(autouse=True)
def both(world: World) -> None:
    """Every test begins with two cells, whatever the one before did to them."""
    gone = [address for address in (FIRST, SECOND) if address not in world.cells]
    if gone:
        world.start_cells(*gone)


class Bids:
    """One bid after another in the background, from two connections and from ever new ones; answers are counted."""

    def __init__(self, world: World) -> None:
        self.world, self.over = world, threading.Event()
        self.answers: collections.Counter[object] = collections.Counter()
        self._threads = [threading.Thread(target=self._run, args=(n % 2,)) for n in range(4)]

    def _run(self, ever_new: int) -> None:
        connection = self.world.connection()
        while not self.over.is_set():
            try:
                connection.request("POST", "/v1/bid", b"{}")
                answer = connection.getresponse()
                self.answers[answer.status if answer.status != 200 else answer.read().decode()] += 1
                if answer.status != 200:
                    answer.read()
            except Exception as error:  # whatever becomes of a request is counted
                self.answers[repr(error)] += 1
                connection.close()
            if ever_new:
                connection.close()
            time.sleep(0.002)
        connection.close()

    def __enter__(self) -> collections.Counter[object]:
        for thread in self._threads:
            thread.start()
        return self.answers

    def __exit__(self, *error: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()


def test_bids_are_shared_by_the_cells_that_dns_names(world: World) -> None:
    answers = collections.Counter(world.bid() for _ in range(100))
    assert set(answers) == {(200, FIRST.encode()), (200, SECOND.encode())}
    assert min(answers.values()) > 30
    assert world.names.asked == {CELLS}


def test_the_least_busy_cell_is_asked(world: World) -> None:
    """Five bids wait at one cell or the other; those that come meanwhile go where fewer wait."""
    waiting = [threading.Thread(target=world.bid, args=("slow",)) for _ in range(5)]
    for thread in waiting:
        thread.start()
    time.sleep(0.1)
    answers = collections.Counter(world.bid()[1] for _ in range(20))
    for thread in waiting:
        thread.join()
    assert max(answers.values()) >= 18, "3 wait at one, 2 at the other"


def test_a_cell_that_dies_costs_no_bid_and_comes_back(world: World) -> None:
    with Bids(world) as answers:
        time.sleep(0.3)
        world.kill_cell(FIRST)
        until(lambda: FIRST not in world.up("bk_campaign_express"), "it is not asked any more", 3)
        before = answers[FIRST]
        time.sleep(0.3)
        assert answers[FIRST] == before
        world.start_cells(FIRST)
        until(lambda: answers[FIRST] > before, "it is asked again", 3)
    assert set(answers) == {FIRST, SECOND}, answers


def test_a_cell_that_is_not_ready_is_sent_nothing_new(world: World) -> None:
    with Bids(world) as answers:
        world.signal_cell(SECOND, signal.SIGUSR1)
        until(lambda: world.up("bk_campaign_express") == {FIRST}, "one is up", 3)
        until(lambda: world.up("bk_grpc") == {FIRST}, "one is up for gRPC", 3)
        time.sleep(0.2)
        before = answers[SECOND]
        time.sleep(0.2)
        assert answers[SECOND] == before
    assert set(answers) == {FIRST, SECOND}, answers
    world.kill_cell(SECOND)


def test_a_bid_whose_cell_dies_is_asked_of_another_and_a_postback_is_not(world: World) -> None:
    world.names.addresses = [FIRST]
    until(lambda: world.up("bk_campaign_express") == {FIRST}, "DNS has forgotten one", 10)
    with pytest.raises(http.client.RemoteDisconnected):  # so that its sender, who alone knows, decides
        world.ask("POST", "/v1/conversion?die", b"{}")
    world.cells.pop(FIRST).wait(3)
    assert world.cells[SECOND].poll() is None
    world.start_cells(FIRST)
    # Whichever is asked dies, then the other: the third try finds nobody.
    with contextlib.suppress(http.client.RemoteDisconnected):
        assert world.bid("die")[0] in (502, 503)
    assert [process.wait(3) for process in world.cells.values()] == [1, 1]
    world.cells.clear()


def test_without_a_cell_it_says_so_and_at_once(world: World) -> None:
    for address in (FIRST, SECOND):
        world.kill_cell(address)
    until(lambda: not world.up("bk_campaign_express"), "none is up", 3)
    began = time.monotonic()
    status, headers, body = world.ask("POST", "/v1/bid", b"{}")
    assert (status, headers["content-type"]) == (503, "application/json")
    assert b"no bidder is ready" in body
    assert time.monotonic() - began < 1
    assert world.get("/health")[0] == 503
    assert world.get("/healthz", "stats")[0] == 200  # the proxy itself is well


def test_a_reload_costs_no_request(world: World) -> None:
    def workers() -> str:
        return world.admin("show info").split("Pid: ")[1].split()[0]

    old = workers()
    slow: list[tuple[int, bytes]] = []
    with Bids(world) as answers:
        waiting = threading.Thread(target=lambda: slow.append(world.bid("slow")))
        waiting.start()
        time.sleep(0.1)
        world.reload()
        until(lambda: workers() != old, "a new worker", 5)
        before = sum(answers.values())
        until(lambda: sum(answers.values()) > before + 50, "bids go on", 10)
        waiting.join()
    assert set(answers) == {FIRST, SECOND}, answers
    assert slow[0][0] == 200


def test_names_that_cannot_be_resolved_take_no_cell_away(world: World) -> None:
    world.names.silent = True
    try:
        time.sleep(4)  # three tries of 500 ms, the 1 s until the next, and once more
        assert world.up("bk_campaign_express") == world.up("bk_grpc") == {FIRST, SECOND}
        assert world.bid()[0] == 200
    finally:
        world.names.silent = False


def test_grpc_goes_to_both_cells_and_past_a_dead_one(world: World) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{world.ports['grpc']}") as channel:
        bid = channel.unary_unary(f"/{SERVICE}/Bid")
        answers = collections.Counter(bid(b"x", timeout=5) for _ in range(20))
        assert answers == {f"{FIRST} x".encode(): 10, f"{SECOND} x".encode(): 10}
        world.kill_cell(FIRST)
        assert {bid(b"x", timeout=5) for _ in range(20)} == {f"{SECOND} x".encode()}


def test_a_grpc_stream_keeps_its_cell(world: World) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{world.ports['grpc']}") as channel:
        stream = channel.stream_stream(f"/{SERVICE}/BidStream")
        answers = list(stream(iter([b"%d" % n for n in range(50)]), timeout=10))
    cells = {answer.split()[0] for answer in answers}
    assert len(cells) == 1
    assert [answer.split()[1] for answer in answers] == [b"%d" % n for n in range(50)]
