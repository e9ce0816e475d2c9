"""Notifications by e-mail: Twilio SendGrid's API v3, `POST /v3/mail/send`, which answers 202 when it has taken it."""

from __future__ import annotations

import msgspec

from campaign_express.adapters.http_post import accepted, checked_url, post
from campaign_express.config import Secret
from campaign_express.errors import ConfigError
from campaign_express.notifications import Letter

URL = "https://api.sendgrid.com"  # https://api.eu.sendgrid.com for subusers in the EU


class SendGrid:
    """`treasury.notify_sender.Channel`. A letter's `to` are addresses with commas between. Raises ConfigError."""

    def __init__(self, api_key: Secret, sender: str, url: str = URL) -> None:
        if not api_key or "@" not in sender:
            raise ConfigError(
                "Settings that cannot be used:",
                ["sendgrid_api_key, notify_email_from: e-mail needs a key and a verified sender's address"],
            )
        self._url = checked_url("sendgrid_url", url)
        self._api_key = api_key
        self._sender = sender

    def send(self, letter: Letter) -> None:
        """Blocking. Raises Undelivered or Refused."""
        notification = letter.notification
        mail = {
            "personalizations": [{"to": [{"email": address.strip()} for address in letter.to.split(",")]}],
            "from": {"email": self._sender},
            "subject": notification.title,
            "content": [{"type": "text/plain", "value": notification.text}],
            "custom_args": {"notification_id": notification.id},
        }
        headers = {"Authorization": f"Bearer {self._api_key!s}", "Content-Type": "application/json"}
        accepted(post(f"{self._url}/v3/mail/send", headers, msgspec.json.encode(mail)), "SendGrid")
