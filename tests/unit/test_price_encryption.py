"""Encrypted prices, against the example that Authorized Buyers publish ("Decrypt Price Confirmations")."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.price_encryption import decrypt_price, encrypt_price

ENCRYPTION = base64.urlsafe_b64decode("skU7Ax_NL5pPAFyKdkfZjZz2-VhIN8bjj1rVFOaJ_5o=")
INTEGRITY = base64.urlsafe_b64decode("arO23ykdNqUQ5LEoQ0FVmPkBd7xB5CO89PDZlSjpFxo=")
PUBLISHED = {
    "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCce_6msaw": 100,
    "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCAWJRxOgA": 1900,
    "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemC32prpWWw": 2700,
}


@pytest.mark.parametrize(("text", "price"), PUBLISHED.items())
def test_published_examples(text: str, price: int) -> None:
    assert decrypt_price(text, ENCRYPTION, INTEGRITY) == price
    assert decrypt_price(text + "==", ENCRYPTION, INTEGRITY) == price
    assert encrypt_price(price, b"abc123def456ghi7", ENCRYPTION, INTEGRITY) == text


@given(st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16))
def test_what_was_encrypted_is_read(price: int, iv: bytes) -> None:
    text = encrypt_price(price, iv, ENCRYPTION, INTEGRITY)
    assert len(text) == 38
    assert decrypt_price(text, ENCRYPTION, INTEGRITY) == price


@pytest.mark.parametrize(
    "text",
    ["", "x", "é", "${AUCTION_PRICE}", "1.25", "YWJjMTIzZGVmNDU2Z2hpN7fhCuPemCce_6msa", "A" * 38, "A" * 5000]
    + [text.replace("N", "M") for text in PUBLISHED],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decrypt_price(text, ENCRYPTION, INTEGRITY)
    assert caught.value.rule == "notice-price"


def test_other_keys_are_refused() -> None:
    text = next(iter(PUBLISHED))
    for keys in ((INTEGRITY, ENCRYPTION), (ENCRYPTION, b"x"), (b"x", INTEGRITY)):
        with pytest.raises(InvalidRequest):
            decrypt_price(text, *keys)


def test_the_iv_is_16_bytes() -> None:
    with pytest.raises(ValueError, match="15 bytes"):
        encrypt_price(1, b"x" * 15, ENCRYPTION, INTEGRITY)
