"""Notifications to people: what is said, to whom it goes, and how it lies in the work queue (stream NOTIFY)."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

STREAM = "NOTIFY"
SUBJECTS = "notify.>"
CHANNELS = ("webhook", "email", "sms")


class Notification(Struct, frozen=True, kw_only=True):
    """One condition on one day. This, as JSON, is what a webhook gets."""

    id: str  # the same for the same condition and day, however often it is found
    condition: str  # budget-80, budget-100, under-delivery, exchange-silent
    subject: str  # campaign:<id>, account:<id>, exchange:<name>
    title: str
    text: str
    at_ms: int  # wall clock when it was found, Unix ms
    facts: dict[str, int | float | str] = {}


class Letter(Struct, frozen=True, kw_only=True):
    """A notification on its way to one recipient by one channel."""

    notification: Notification
    channel: str
    to: str = ""  # e-mail addresses with commas between, or one number; "" for the webhook

    @property
    def id(self) -> str:
        """Message id in the queue."""
        return hashlib.sha256(f"{self.notification.id}\n{self.channel}\n{self.to}".encode()).hexdigest()[:32]


encode_letter = msgspec.json.Encoder().encode
decode_letter = msgspec.json.Decoder(Letter).decode
