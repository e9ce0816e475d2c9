"""The people whose visits are sold: a few come often, most seldom; each with a device, a country, ids and a consent.

Everything about a person follows from the seed and the person's number. `identity` is whose frequency caps an
impression counts for; it is the truth's own notion of a person, and does not look at how the bidder finds one:

    app    an advertising id (`ifa`), the same on every exchange
    web    a cookie id (`buyeruid`), another one on every exchange
    known  a cookie id and a shared id (`eids`), by which the exchanges mean the same person
    nobody no ids at all, or ids that may not be used (limited tracking, opted out, no consent)
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

import msgspec
from msgspec import Struct

from campaign_express.exchange import market
from campaign_express.exchange.consent import consent_string
from campaign_express.exchange.draws import PERSON, Draws, mix

_KINDS = (("app", 0.44), ("web", 0.36), ("known", 0.10), ("nobody", 0.10))
_LIMITED = 0.08  # of people with apps: tracking is switched off
_OPTED_OUT = 0.05  # of people in the USA
_CONSENT = 0.85  # of people who are asked
_NO_IFA = "00000000-0000-0000-0000-000000000000"
_CONSENT_MADE_DS = 17_672_256_000
_REMEMBERED = 200_000  # people whose parts of a request are kept


class Person(Struct, frozen=True, gc=False):
    """One person. `device`, `user` and `regs` are members of a request in JSON, each ending with a comma or empty."""

    number: int
    country: str
    in_app: bool
    mobile: bool
    tracked: bool  # whether the bidder may know who it is
    shared: bool  # whether the exchanges have an id in common for the person
    device: bytes
    regs: bytes
    user_start: str  # of the user object, after its opening brace and the cookie id
    cookies: bool  # whether the exchanges send a cookie id

    def identity(self, exchange: str) -> str:
        """Whose impressions these are, "" where nobody may know."""
        if not self.tracked:
            return ""
        return f"{self.number}" if self.shared else f"{self.number}@{exchange}"

    def user(self, exchange: str) -> bytes:
        """`"user":{...},` as this exchange sends it."""
        if self.cookies:
            return f'"user":{{"buyeruid":"{cookie(self.number, exchange)}"{self.user_start}}},'.encode()
        return f'"user":{{{self.user_start[1:]}}},'.encode() if self.user_start else b""


def cookie(number: int, exchange: str) -> str:
    """The exchange's id of a person."""
    return f"{mix(number * 1_000_003 + int.from_bytes(exchange.encode(), 'big')):016x}"


class People:
    """`count` people; the n-th most frequent visitor comes in proportion to 1 / (n + 20) ** exponent (Zipf's law,
    flattened at its head so that nobody is a robot)."""

    def __init__(self, count: int, seed: int, exponent: float = 0.8) -> None:
        if count < 1:
            raise ValueError("there must be somebody")
        self.count = count
        self._seed = seed
        self._until = list(accumulate((rank + 20.0) ** -exponent for rank in range(count)))
        self._known: dict[int, Person] = {}

    def pick(self, draws: Draws) -> Person:
        number = bisect_left(self._until, draws.unit() * self._until[-1])
        found = self._known.get(number)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[number] = self.person(min(number, self.count - 1))
        return found

    def person(self, number: int) -> Person:
        draws = Draws(self._seed, number, PERSON)
        kind = _weighted(draws, _KINDS)
        country = _weighted(draws, tuple((name, facts.weight / 100) for name, facts in market.COUNTRIES.items()))
        in_app = kind == "app" or (kind == "nobody" and draws.chance(0.3))
        mobile = in_app or draws.chance(0.45)
        limited = in_app and draws.chance(_LIMITED)
        asked = country in market.CONSENT_COUNTRIES
        granted = draws.chance(_CONSENT)
        opted_out = country == "USA" and draws.chance(_OPTED_OUT)
        told = kind != "nobody" and (granted or not asked)  # exchanges strip ids that nobody consented to
        ifa = ""
        if in_app:
            ifa = _uuid(draws) if told and not limited and kind == "app" else _NO_IFA
        device = _device(draws, country, mobile, in_app, ifa, limited)
        user = []
        if told and kind == "known":
            uid = {"id": f"{draws.integer():016x}", "atype": 1}
            user.append(f'"eids":[{_json({"source": market.EID_SOURCE, "uids": [uid]})}]')
        if told and draws.chance(0.5):
            segments = {draws.below(len(market.SEGMENTS)) for _ in range(1 + draws.below(3))}
            data = [{"segment": [{"id": market.SEGMENTS[at]} for at in sorted(segments)]}]
            user.append(f'"data":{_json(data)}')
        regs = ""
        if asked:
            regs = '"regs":{"gdpr":1},'
            user.append(f'"consent":"{consent_string(_CONSENT_MADE_DS, granted)}"')
        elif country == "USA":
            regs = f'"regs":{{"gdpr":0,"us_privacy":"{"1YYN" if opted_out else "1YNN"}"}},'
        return Person(
            number=number,
            country=country,
            in_app=in_app,
            mobile=mobile,
            tracked=told and not limited and not opted_out,
            shared=kind in ("app", "known"),
            device=device,
            regs=regs.encode(),
            user_start="".join(f",{part}" for part in user),
            cookies=told and kind in ("web", "known"),
        )


def _weighted(draws: Draws, choices: tuple[tuple[str, float], ...]) -> str:
    left = draws.unit()
    for name, weight in choices:
        left -= weight
        if left < 0:
            return name
    return choices[-1][0]


def _uuid(draws: Draws) -> str:
    text = f"{draws.integer():016x}{draws.integer():016x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _device(draws: Draws, country: str, mobile: bool, in_app: bool, ifa: str, limited: bool) -> bytes:
    facts = market.COUNTRIES[country]
    region, city = facts.places[draws.below(len(facts.places))]
    network = facts.networks[draws.below(len(facts.networks))]
    system, engine, product, hardware = _phone(draws, in_app) if mobile else _desktop(draws)
    device: dict[str, object] = {
        "ua": f"Mozilla/5.0 ({system}) {engine} (KHTML, like Gecko){product}",
        "ip": f"{network}.{draws.below(256)}.{draws.below(256)}.{1 + draws.below(254)}",
        **hardware,
        "language": facts.languages[draws.below(len(facts.languages))],
        "geo": {"country": country, "region": region, "city": city, "utcoffset": facts.utc_offset},
    }
    if mobile:
        device["connectiontype"] = (2, 6, 7)[draws.below(3)]
    if ifa:
        device |= {"ifa": ifa, "lmt": int(limited)}
    return b'"device":' + msgspec.json.encode(device) + b","


Hardware = tuple[str, str, str, dict[str, object]]  # system, engine and product of the user agent; device members


def _desktop(draws: Draws) -> Hardware:
    system, os, osv = (
        ("Windows NT 10.0; Win64; x64", "Windows", "10"),
        ("Macintosh; Intel Mac OS X 10_15_7", "macOS", "10.15"),
    )[draws.below(2)]
    product = f" Chrome/{118 + draws.below(16)}.0.0.0 Safari/537.36"
    return system, "AppleWebKit/537.36", product, {"devicetype": 2, "os": os, "osv": osv}


def _phone(draws: Draws, in_app: bool) -> Hardware:
    if draws.chance(0.45):
        osv = f"{15 + draws.below(4)}.{draws.below(7)}"
        system = f"iPhone; CPU iPhone OS {osv.replace('.', '_')} like Mac OS X"
        product = "" if in_app else f" Version/{osv} Mobile/15E148 Safari/604.1"
        return system, "AppleWebKit/605.1.15", product, {"devicetype": 4, "make": "Apple", "os": "iOS", "osv": osv}
    make, model = (("Samsung", "SM-S911B"), ("Google", "Pixel 8"), ("Xiaomi", "2201117TY"))[draws.below(3)]
    osv = str(10 + draws.below(6))
    product = f" Chrome/{118 + draws.below(16)}.0.0.0 Mobile Safari/537.36"
    hardware: dict[str, object] = {"devicetype": 4, "make": make, "os": "Android", "osv": osv}
    return f"Linux; Android {osv}; {model}", "AppleWebKit/537.36", product, hardware
