"""Messages of a JetStream consumer, pulled and collected: some four times as fast as the client's own subscription."""

from __future__ import annotations

import asyncio

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from campaign_express.adapters.nats import ACK_S
from campaign_express.errors import Unavailable

ENDS = frozenset({"Batch Completed", "Message Size Exceeds MaxBytes"})  # of an answer, no fault


class Pull:
    """Asks for messages and collects them.

    JetStream ends its answer with a message of status (its reference, "consumer next"), which has nowhere to reply to:
    404 nothing is there (any more), 408 the time is over, 409 with one of ENDS what was asked for is there. What comes
    after its time is returned with the next batch; so a batch may be empty though there is more.
    """

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._messages: list[Msg] = []
        self._wanted = 0
        self._problem = ""
        self._over = asyncio.Event()

    async def start(self) -> None:
        await self._client.subscribe(self._inbox, cb=self._on_message)

    async def take(self, most: int, wait_s: float, most_bytes: int = 0) -> list[Msg]:
        """Those that are there; where none is, waits up to `wait_s` for one. Raises Unavailable.

        `most_bytes` bounds them as well (0: it does not), but for a single message that is larger.
        """
        await self._ask(most, 0.0, most_bytes)
        if not self._messages and wait_s:
            await self._ask(1, wait_s)
        messages, self._messages = self._messages, []
        return messages

    async def _ask(self, most: int, wait_s: float, most_bytes: int = 0) -> None:
        self._wanted = len(self._messages) + most
        self._over.clear()
        terms: dict[str, int | bool] = {"batch": most}
        if wait_s:
            terms["expires"] = int(wait_s * 1e9)
        else:
            terms["no_wait"] = True
        if most_bytes:
            terms["max_bytes"] = most_bytes
        await self._client.publish(self._next, msgspec.json.encode(terms), self._inbox)
        try:
            await asyncio.wait_for(self._over.wait(), wait_s + ACK_S)
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        if self._problem:
            raise Unavailable(self._problem)

    async def _on_message(self, message: Msg) -> None:
        if message.reply:
            self._messages.append(message)
            if len(self._messages) < self._wanted:
                return
        else:
            headers = message.headers or {}
            status, description = headers.get("Status", ""), headers.get("Description", "")
            if status not in ("404", "408") and not (status == "409" and description in ENDS):
                self._problem = f"status {status}: {description}"
        self._over.set()
