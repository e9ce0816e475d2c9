"""Prices that an exchange encrypts before it puts them into a notice URL (`Exchange.price_encryption`).

The one published scheme is Google's (Authorized Buyers, "Decrypt Price Confirmations"), which other exchanges use with
keys of their own. A message is 28 bytes in web-safe base64 without padding:

    iv            16 bytes
    hidden price   8 bytes: the price XOR the first 8 bytes of HMAC-SHA1(encryption key, iv)
    check          4 bytes: the first 4 bytes of HMAC-SHA1(integrity key, price then iv)

where the price is an unsigned integer, most significant byte first. Its unit is the exchange's; Authorized Buyers send
micros of the account's currency. Four bytes of integrity keep out noise, not an attacker with time, so a decrypted
price is still held against the signed price of the bid.
"""

from __future__ import annotations

import binascii
import hmac

from campaign_express.errors import InvalidRequest

IV = 16
PRICE = 8
CHECK = 4


def decrypt_price(text: str, encryption_key: bytes, integrity_key: bytes) -> int:
    """The price in `text`, in the exchange's unit. Raises InvalidRequest, rule `notice-price`."""
    message = _decode(text)
    iv, hidden, check = message[:IV], message[IV : IV + PRICE], message[IV + PRICE :]
    price = _xor(hidden, _pad(iv, encryption_key))
    if not hmac.compare_digest(check, _check(price, iv, integrity_key)):
        raise InvalidRequest("price was not encrypted with our keys", "$.query.price", "notice-price")
    return int.from_bytes(price, "big")


def encrypt_price(price: int, iv: bytes, encryption_key: bytes, integrity_key: bytes) -> str:
    """What an exchange sends for `price`; `iv` is 16 bytes, never the same twice. For simulated exchanges."""
    if len(iv) != IV:
        raise ValueError(f"iv has {len(iv)} bytes instead of {IV}")
    plain = price.to_bytes(PRICE, "big")
    message = iv + _xor(plain, _pad(iv, encryption_key)) + _check(plain, iv, integrity_key)
    return binascii.b2a_base64(message, newline=False).decode().translate(str.maketrans("+/", "-_")).rstrip("=")


def _decode(text: str) -> bytes:
    try:
        standard = text.rstrip("=").translate(str.maketrans("-_", "+/"))
        message = binascii.a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True)
    except ValueError:
        message = b""
    if len(message) != IV + PRICE + CHECK:
        raise InvalidRequest("encrypted price is not 28 bytes of web-safe base64", "$.query.price", "notice-price")
    return message


def _pad(iv: bytes, key: bytes) -> bytes:
    return hmac.digest(key, iv, "sha1")[:PRICE]


def _check(price: bytes, iv: bytes, key: bytes) -> bytes:
    return hmac.digest(key, price + iv, "sha1")[:CHECK]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
