"""Consent strings for simulated people (IAB Tech Lab, "Consent string and vendor list formats v2", core string)."""

from __future__ import annotations

from base64 import urlsafe_b64encode

VENDOR = 33  # the bidder's id on the Global Vendor List as these exchanges know it: its setting `tcf_vendor_id`
_ALL_PURPOSES = 0xFFC000  # the first ten of 24


def consent_string(made_ds: int, granted: bool, vendor: int = VENDOR) -> str:
    """A TC string made at `made_ds` (deciseconds since 1970) that allows `vendor` all purposes, or none."""
    fields = (  # (value, bits)
        *((2, 6), (made_ds, 36), (made_ds, 36), (31, 12), (1, 12), (1, 6)),  # version, created, updated, CMP, screen
        *((4, 6), (13, 6), (90, 12), (4, 6), (1, 1), (0, 1), (0, 12)),  # language EN, vendor list, policy, flags
        *((_ALL_PURPOSES if granted else 0, 24), (0, 24)),  # purposes consented, legitimate interests
        *((0, 1), (3, 6), (4, 6)),  # purpose one treatment, publisher's country DE
        *((vendor, 16), (0, 1), (int(granted), vendor)),  # vendors up to ours, as a bit field
        *((0, 16), (0, 1), (0, 12)),  # vendors' legitimate interests, publisher restrictions: none
    )
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    text += "0" * (-len(text) % 8)
    return urlsafe_b64encode(int(text, 2).to_bytes(len(text) // 8, "big")).rstrip(b"=").decode()
