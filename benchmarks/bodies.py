"""Seeded OpenRTB bodies of 0.4 to 0.9 KB with the variety of an exchange's traffic.

Sites and apps; banner, video and native slots; phones, tablets and desktops of twelve countries; floors, deals, block
lists; a part under the GDPR with a TCF consent string, a part with US privacy strings, a part without any user id. Ids,
addresses, users and consent strings differ from body to body, so that no cache keyed by them can flatter a figure.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Sequence
from typing import Any

from benchmarks import market

SEED = 2026
COUNT = 1000
SMALLEST, LARGEST = 400, 900  # bytes

_COUNTRIES = tuple(market.COUNTRIES)
_WEIGHTS = {"USA": 34, "GBR": 10, "CAN": 8, "DEU": 8, "FRA": 7, "AUS": 6, "BRA": 6, "IND": 6, "MEX": 5, "ESP": 4}
_COUNTRY_WEIGHTS = tuple(_WEIGHTS.get(country, 3) for country in _COUNTRIES)

_SITE_WEIGHTS, _APP_WEIGHTS = market.popularity(len(market.SITES)), market.popularity(len(market.APPS))


def generate(count: int = COUNT, seed: int = SEED) -> list[bytes]:
    """`count` bodies, the same ones for the same seed; a longer list begins with the shorter one."""
    rng = random.Random(seed)
    bodies: list[bytes] = []
    while len(bodies) < count:
        body = json.dumps(_request(rng), separators=(",", ":")).encode()
        if SMALLEST <= len(body) <= LARGEST:
            bodies.append(body)
    return bodies


# Ids of persons and of the request itself, all hexadecimal and longer than any other number in a body.
_ID = re.compile(rb'"(?:id|buyeruid|ifa)":"([0-9a-f]{4})(?=[0-9a-f-]{12,32}")')


def with_people(chosen: Sequence[bytes], times: int) -> list[bytes]:
    """Each body `times` times, every time from another person and under another id; all else is as it was."""

    def renamed(body: bytes, turn: int) -> bytes:
        def other(found: re.Match[bytes]) -> bytes:
            head = found[0][: -len(found[1])]
            return head + b"%04x" % ((int(found[1], 16) + turn) % 65_536)

        return _ID.sub(other, body)

    return [renamed(body, turn) for turn in range(times) for body in chosen]


def _hex(rng: random.Random, digits: int) -> str:
    return f"{rng.getrandbits(digits * 4):0{digits}x}"


def _uuid(rng: random.Random) -> str:
    text = _hex(rng, 32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _request(rng: random.Random) -> dict[str, Any]:
    country = rng.choices(_COUNTRIES, _COUNTRY_WEIGHTS)[0]
    in_app = rng.random() < 0.4
    mobile = in_app or rng.random() < 0.5
    request: dict[str, Any] = {"id": _hex(rng, 24), "imp": [_imp(rng, mobile)]}
    if rng.random() < 0.04:
        request["imp"].append({**_imp(rng, mobile), "id": "2"})
    if in_app:
        app = rng.choices(range(len(market.APPS)), _APP_WEIGHTS)[0]
        publisher = {"id": market.PUBLISHERS[app % len(market.PUBLISHERS)]}
        request["app"] = {
            "id": str(100_000 + app),
            "bundle": market.APPS[app],
            "cat": [market.CATEGORIES[app % len(market.CATEGORIES)]],
            "publisher": publisher,
        }
    else:
        site = rng.choices(range(len(market.SITES)), _SITE_WEIGHTS)[0]
        domain, section = market.SITES[site], rng.randrange(4)
        publisher = {"id": market.PUBLISHERS[site % len(market.PUBLISHERS)]}
        request["site"] = {
            "id": str(200_000 + site),
            "domain": domain,
            "page": f"https://{domain}/{market.KEYWORDS[section]}/{rng.randrange(10**5)}",
            "cat": [market.CATEGORIES[(site + section * 5) % len(market.CATEGORIES)]],
            "publisher": publisher,
        }
        if rng.random() < 0.3:
            request["site"]["keywords"] = ",".join(rng.sample(market.KEYWORDS, 3))
    request["device"] = _device(rng, country, mobile, in_app)
    _user(rng, request, country)
    request["at"] = rng.choice((1, 1, 2))
    request["tmax"] = rng.choice((80, 100, 120, 150, 200))
    if rng.random() < 0.6:
        request["cur"] = ["USD"]
    if rng.random() < 0.3:
        request["bcat"] = [*rng.sample(market.CATEGORIES, rng.randint(1, 2)), "IAB25", "IAB26"]
    if rng.random() < 0.15:
        request["badv"] = [f"brand{rng.randrange(250)}.example" for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.1:
        node = {"asi": "exchange.example", "sid": publisher["id"], "hp": 1}
        request["source"] = {"tid": _hex(rng, 16), "schain": {"complete": 1, "ver": "1.0", "nodes": [node]}}
    return request


def _imp(rng: random.Random, mobile: bool) -> dict[str, Any]:
    imp: dict[str, Any] = {"id": "1", "secure": 1, "tagid": f"slot-{rng.randrange(1000)}"}
    imp["bidfloor"] = round(rng.uniform(0.02, 0.6), 2)
    if rng.random() < 0.3:
        imp["bidfloorcur"] = "USD"
    kind = rng.random()
    if kind < 0.72:
        sizes = rng.sample(market.MOBILE_SIZES if mobile else market.DESKTOP_SIZES, rng.choice((1, 1, 2)))
        imp["banner"] = {"format": [{"w": w, "h": h} for w, h in sizes], "pos": rng.choice((0, 1, 1, 3))}
        if rng.random() < 0.2:
            imp["banner"]["battr"] = [1, 3, 8, 9]
    elif kind < 0.86:
        w, h = rng.choice(market.VIDEO_SIZES)
        imp["video"] = {
            "mimes": ["video/mp4"],
            "minduration": 5,
            "maxduration": 30,
            "protocols": [2, 3, 5, 6, 7, 8],
            "w": w,
            "h": h,
            "plcmt": rng.choice((1, 2, 4)),
            "linearity": 1,
        }
    else:
        assets = [
            {"id": 1, "required": 1, "title": {"len": rng.choice((60, 90))}},
            {"id": 2, "required": 1, "img": {"type": 3, "wmin": 600}},
            {"id": 3, "data": {"type": 1}},
        ]
        imp["native"] = {"request": json.dumps({"ver": "1.2", "assets": assets}, separators=(",", ":")), "ver": "1.2"}
    if rng.random() < 0.06:
        imp["instl"] = 1
    if rng.random() < 0.08:
        imp["pmp"] = {"private_auction": 0, "deals": [{"id": rng.choice(market.DEALS), "bidfloor": 0.9, "at": 1}]}
    return imp


def _device(rng: random.Random, country: str, mobile: bool, in_app: bool) -> dict[str, Any]:
    languages, offset, places = market.COUNTRIES[country]
    region, city, metro, lat, lon = rng.choice(places)
    network = rng.choice((24, 71, 82, 93, 186))
    device: dict[str, Any] = {"ip": f"{network}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"}
    system, engine, product, facts = _phone(rng, in_app) if mobile else _desktop(rng)
    device["ua"] = f"Mozilla/5.0 ({system}) {engine} (KHTML, like Gecko){product}"
    device |= facts
    if mobile and rng.random() < 0.5:
        device["connectiontype"] = rng.choice((2, 6, 6, 7))
        device["carrier"] = rng.choice(market.CARRIERS)
    if in_app:
        device |= {"ifa": _uuid(rng), "lmt": int(rng.random() < 0.15)}
    device["language"] = rng.choice(languages)
    geo: dict[str, Any] = {"country": country, "region": region}
    if rng.random() < 0.6:
        geo["utcoffset"] = offset
    if rng.random() < 0.5:
        geo["city"] = city
        if metro:
            geo["metro"] = metro
    if rng.random() < 0.25:
        geo |= {"lat": round(lat + rng.uniform(-0.2, 0.2), 4), "lon": round(lon + rng.uniform(-0.2, 0.2), 4)}
    device["geo"] = geo
    return device


Hardware = tuple[str, str, str, dict[str, Any]]  # system, engine and product of the user agent; OpenRTB device fields


def _desktop(rng: random.Random) -> Hardware:
    systems = (
        ("Windows NT 10.0; Win64; x64", "Windows", "10"),
        ("Macintosh; Intel Mac OS X 10_15_7", "macOS", "10.15"),
    )
    system, os, osv = rng.choice(systems)
    product = f" Chrome/{rng.randint(118, 133)}.0.0.0 Safari/537.36"
    return system, "AppleWebKit/537.36", product, {"devicetype": 2, "os": os, "osv": osv}


def _phone(rng: random.Random, in_app: bool) -> Hardware:
    if rng.random() < 0.45:
        osv = f"{rng.randint(15, 18)}.{rng.randint(0, 6)}"
        system = f"iPhone; CPU iPhone OS {osv.replace('.', '_')} like Mac OS X"
        product = "" if in_app else f" Version/{osv} Mobile/15E148 Safari/604.1"
        return system, "AppleWebKit/605.1.15", product, {"devicetype": 4, "make": "Apple", "os": "iOS", "osv": osv}
    make, model = rng.choice((("Samsung", "SM-S911B"), ("Google", "Pixel 8"), ("Xiaomi", "2201117TY")))
    osv = str(rng.randint(10, 15))
    product = f" Chrome/{rng.randint(118, 133)}.0.0.0 Mobile Safari/537.36"
    facts = {"devicetype": rng.choice((4, 4, 4, 5)), "make": make, "os": "Android", "osv": osv}
    return f"Linux; Android {osv}; {model}", "AppleWebKit/537.36", product, facts


def _user(rng: random.Random, request: dict[str, Any], country: str) -> None:
    """User, regs and consent."""
    user: dict[str, Any] = {}
    if rng.random() < 0.75:
        user["buyeruid"] = _hex(rng, 20)
        if rng.random() < 0.4:
            user["id"] = _hex(rng, 16)
    if rng.random() < 0.4:
        user["data"] = [{"segment": [{"id": s} for s in rng.sample(market.SEGMENTS, rng.randint(1, 3))]}]
    if user and rng.random() < 0.15:
        user["eids"] = [{"source": rng.choice(market.EID_SOURCES), "uids": [{"id": _hex(rng, 16), "atype": 1}]}]
    if country in market.GDPR_COUNTRIES:
        request["regs"] = {"gdpr": 1}
        if rng.random() < 0.8:
            user["consent"] = consent_string(rng)
    elif country == "USA" and rng.random() < 0.4:
        request["regs"] = {"us_privacy": rng.choice(("1YNN", "1YNN", "1YYN"))}
    if user:
        request["user"] = user


def consent_string(rng: random.Random) -> str:
    """A TCF v2 core string (IAB Tech Lab, "Consent string and vendor list formats v2") for made-up vendors."""
    made = 17_672_256_000 + rng.randrange(10**8)  # deciseconds since 1970: in 2026
    vendors = 40
    fields = (  # (value, bits)
        *((2, 6), (made, 36), (made, 36), (31, 12), (1, 12), (1, 6)),  # version, created, updated, CMP and its screen
        *((4, 6), (13, 6), (90, 12), (4, 6), (1, 1), (0, 1), (0, 12)),  # language EN, vendor list, policy, flags
        *((rng.choice((0xFFC000, 0xC00000, 0)), 24), (0, 24)),  # purposes consented, legitimate interests
        *((0, 1), (3, 6), (4, 6)),  # purpose one treatment, publisher's country DE
        *((vendors, 16), (0, 1), (rng.getrandbits(vendors), vendors)),  # vendors consented, as a bit field
        *((0, 16), (0, 1), (0, 12)),  # vendors' legitimate interests, publisher restrictions: none
    )
    text = "".join(f"{value:0{bits}b}" for value, bits in fields)
    text += "0" * (-len(text) % 8)
    return base64.urlsafe_b64encode(int(text, 2).to_bytes(len(text) // 8, "big")).rstrip(b"=").decode()


if __name__ == "__main__":
    print(b"\n".join(generate()).decode())
