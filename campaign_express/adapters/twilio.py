"""Notifications by SMS: Twilio's Messages resource, `POST /2010-04-01/Accounts/{sid}/Messages.json`, answered 201."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

from campaign_express.adapters.http_post import accepted, checked_url, post
from campaign_express.config import Secret
from campaign_express.errors import ConfigError
from campaign_express.notifications import Letter

URL = "https://api.twilio.com"
LONGEST = 1600  # characters of a message's body


class Twilio:
    """`treasury.notify_sender.Channel`. A letter's `to` is one number (E.164). Raises ConfigError.

    `sender`: a number of ours, or the id (`MG...`) of a messaging service.
    """

    def __init__(self, account_sid: Secret, auth_token: Secret, sender: str, url: str = URL) -> None:
        if not account_sid.isalnum() or not auth_token or not sender:
            raise ConfigError(
                "Settings that cannot be used:",
                ["twilio_account_sid, twilio_auth_token, notify_sms_from: SMS needs all three"],
            )
        base = checked_url("twilio_url", url)
        self._url = f"{base}/2010-04-01/Accounts/{account_sid!s}/Messages.json"
        self._credentials = Secret(b64encode(f"{account_sid!s}:{auth_token!s}".encode()).decode())
        self._from = ("MessagingServiceSid" if sender.startswith("MG") else "From", sender)

    def send(self, letter: Letter) -> None:
        """Blocking. Raises Undelivered or Refused."""
        body = f"{letter.notification.title}\n{letter.notification.text}"[:LONGEST]
        form = urlencode([("To", letter.to), self._from, ("Body", body)]).encode()
        headers = {
            "Authorization": f"Basic {self._credentials!s}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        accepted(post(self._url, headers, form), "Twilio")
