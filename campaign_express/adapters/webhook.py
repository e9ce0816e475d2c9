"""Notifications to a webhook of the operator's: JSON, signed with HMAC-SHA256. How to verify: docs/notifications.md."""

from __future__ import annotations

import hashlib
import hmac
import time

import msgspec

from campaign_express.adapters.http_post import accepted, checked_url, post
from campaign_express.config import Secret
from campaign_express.errors import ConfigError
from campaign_express.notifications import Letter

ID, TIMESTAMP, SIGNATURE = "X-Notification-Id", "X-Notification-Timestamp", "X-Notification-Signature"
LEAST_SECRET = 16  # characters
TOLERANCE_S = 300


class Webhook:
    """`treasury.notify_sender.Channel`. Raises ConfigError for a url or secret that will not do."""

    def __init__(self, url: str, secret: Secret) -> None:
        if len(secret) < LEAST_SECRET:
            raise ConfigError(
                "Settings that cannot be used:", [f"notify_webhook_secret: is shorter than {LEAST_SECRET} characters"]
            )
        self._url = checked_url("notify_webhook_url", url)
        self._secret = secret

    def send(self, letter: Letter) -> None:
        """Blocking. Raises Undelivered or Refused."""
        body = msgspec.json.encode(letter.notification)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            ID: letter.notification.id,
            TIMESTAMP: timestamp,
            SIGNATURE: sign(self._secret, timestamp, body),
        }
        accepted(post(self._url, headers, body), "the webhook")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """`v1=` and the hexadecimal HMAC-SHA256 of `<timestamp>.<body>`."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


def verify(secret: str, timestamp: str, body: bytes, signature: str, now_s: float) -> bool:
    """What a receiver does: the signature fits, and it was made within TOLERANCE_S seconds."""
    fresh = timestamp.isdigit() and abs(now_s - int(timestamp)) <= TOLERANCE_S
    return hmac.compare_digest(sign(secret, timestamp, body), signature) and fresh
