"""Doubles of SendGrid's and Twilio's documented APIs and of a webhook's receiver, on a free loopback port.

They check what the real ones check (path, credentials, required fields) and answer as those do: SendGrid 202 without a
body, Twilio 201 with a message resource, errors as JSON. `answers` are given first, to whoever asks.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from campaign_express.adapters import webhook

API_KEY, ACCOUNT, TOKEN, SECRET = "SG.key-of-a-test", "AC0123456789", "token-of-a-test", "secret-of-a-test-0123"


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0


@dataclass
class Doubles:
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def start(self) -> None:
        doubles = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                if doubles.answers:
                    status, headers = doubles.answers.pop(0)
                    reply: Any = {"errors": [{"message": "as the test wants it"}]}
                else:
                    (status, reply), headers = doubles.answer(asked), {}
                asked.status = status
                doubles.asked.append(asked)
                payload = b"" if reply is None else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(payload))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/v3/mail/send":
            return _sendgrid(asked)
        if asked.path.startswith("/2010-04-01/"):
            return _twilio(asked)
        return _receiver(asked)

    def delivered(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path and 200 <= one.status < 300]


def _sendgrid(asked: Asked) -> tuple[int, Any]:
    if asked.headers.get("authorization") != f"Bearer {API_KEY}":
        return 401, {"errors": [{"message": "authorization required", "field": None, "help": None}]}
    mail = json.loads(asked.body)
    whole = mail.get("from", {}).get("email") and mail.get("subject") and mail["personalizations"][0]["to"]
    content = mail.get("content") or [{}]
    if not whole or content[0].get("type") != "text/plain" or not content[0].get("value"):
        return 400, {"errors": [{"message": "a required field is missing", "field": "content", "help": None}]}
    return 202, None


def _twilio(asked: Asked) -> tuple[int, Any]:
    if asked.path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
        return 404, {"code": 20404, "message": "not found", "status": 404}
    scheme, _, credentials = asked.headers.get("authorization", "").partition(" ")
    if scheme != "Basic" or b64decode(credentials).decode() != f"{ACCOUNT}:{TOKEN}":
        return 401, {"code": 20003, "message": "Authenticate", "status": 401}
    form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    if not form.get("To", "").startswith("+"):
        return 400, {"code": 21211, "message": "Invalid 'To' Phone Number", "status": 400}
    if "Body" not in form or not ("From" in form or "MessagingServiceSid" in form):
        return 400, {"code": 21602, "message": "Message body is required", "status": 400}
    return 201, {"sid": "SM" + "0" * 32, "status": "queued", "to": form["To"], "body": form["Body"]}


def _receiver(asked: Asked) -> tuple[int, Any]:
    timestamp = asked.headers.get(webhook.TIMESTAMP.lower(), "")
    signature = asked.headers.get(webhook.SIGNATURE.lower(), "")
    if not webhook.verify(SECRET, timestamp, asked.body, signature, time.time()):
        return 403, {"error": "signature"}
    return 200, {}
