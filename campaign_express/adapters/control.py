"""Kill switches and paces in Redis: written by operators and the treasury, followed by every agent.

A Redis that is away, or has come back empty, clears no switch: whoever follows keeps what it was told last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from campaign_express.adapters.documents import Document, DocumentStore, Stored
from campaign_express.control import (
    PACES_KEY,
    SWITCHES_KEY,
    Paces,
    Switches,
    decode_paces,
    decode_switches,
    encode,
)
from campaign_express.errors import ControlError, Unavailable

SWITCHES = Document("switches", SWITCHES_KEY, SWITCHES_KEY)
PACES = Document("paces", PACES_KEY, PACES_KEY)
UPDATE_ATTEMPTS = 100


class ControlStore:
    """All methods but `watch` raise Unavailable when Redis does not answer, ControlError for what does not decode."""

    def __init__(self, url: str) -> None:
        self._documents = DocumentStore(url)
        self.where = self._documents.where

    def switches(self) -> Switches:
        found = self._documents.read(SWITCHES)
        return Switches() if found is None else _switches(found)

    def update(self, change: Callable[[Switches], Switches]) -> Switches:
        """Apply `change` to the switches as they are now; returns what is in force then.

        It is called again where another writer was faster, so that neither's change is lost.
        """
        for _ in range(UPDATE_ATTEMPTS):
            found = self._documents.read(SWITCHES)
            before = Switches() if found is None else _switches(found)
            after = change(before)
            if after == before or self._documents.swap(SWITCHES, found.version if found else 0, encode(after)):
                return after
        raise Unavailable(f"other writers of the switches were faster {UPDATE_ATTEMPTS} times in a row")

    def paces(self) -> Paces:
        found = self._documents.read(PACES)
        return Paces() if found is None else _paces(found)

    def write_paces(self, paces: Paces, epoch: int) -> bool:
        """Put these paces in force. False where a treasury of a later epoch (`adapters/leader.py`) has written some."""
        return bool(self._documents.put(PACES, encode(paces), epoch))

    def watch(
        self, on_switches: Callable[[Switches], None], on_paces: Callable[[Paces], None], stop: threading.Event
    ) -> threading.Thread:
        """Start a thread that tells every change until `stop` is set, beginning with what is in force; returns it.

        Within half a second also where an announcement is lost. See `DocumentStore.watch`.
        """
        return self._documents.watch(
            {SWITCHES: lambda found: on_switches(_switches(found)), PACES: lambda found: on_paces(_paces(found))}, stop
        )

    def close(self) -> None:
        self._documents.close()


def _switches(found: Stored) -> Switches:
    try:
        return decode_switches(found.blob)
    except msgspec.DecodeError as error:
        raise ControlError(f"{SWITCHES_KEY} in Redis, version {found.version}, does not decode: {error}") from None


def _paces(found: Stored) -> Paces:
    try:
        return decode_paces(found.blob)
    except msgspec.DecodeError as error:
        raise ControlError(f"{PACES_KEY} in Redis, version {found.version}, does not decode: {error}") from None
