"""A catalogue from a file or from Redis: text to checked campaigns, and back. Format reference: docs/catalogue.md.

A catalogue is taken whole or not at all. Everything wrong with it is reported at once, by campaign, each line naming
the key: `campaign spring-sale: targeting.country.include[1]: "XX" is not an ISO 3166 country`. The caller keeps the
catalogue that it has. No clock and no network; `load_catalog` reads the one file that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import yaml
from msgspec import Struct

from campaign_express.bidding import catalog_rules, creative_rules, targeting_rules
from campaign_express.bidding.documents import DocumentError, Tell, read_document
from campaign_express.bidding.model import Advertiser, Budget, Campaign, Catalog, Creative, Exchanges
from campaign_express.bidding.money import MICROS, usd_to_micros
from campaign_express.bidding.shape import convert, join, show
from campaign_express.bidding.sharing import Known, share
from campaign_express.errors import CatalogError

MAX_FILE_BYTES = 256 * 2**20
MAX_CAMPAIGNS = 100_000
MAX_ADVERTISERS = 100_000
MAX_CREATIVES = 500  # of one campaign

_TITLE = "The catalogue is refused, and the last good one stays:"
# Names the layout of the encoded form. A change that older agents cannot read gets a new number, so that they say so.
_MAGIC = b"campaign-express-catalogue/1\n"

_BUDGET_KEYS = frozenset(Budget.__struct_fields__)

Item = TypeVar("Item")
Checking = Callable[[int, int], None]  # (done, of how many)


def load_catalog(
    path: Path, exchanges: Exchanges | None = None, reading: Tell | None = None, checking: Checking | None = None
) -> Catalog:
    """The catalogue in a .yaml, .yml or .json file. Raises CatalogError.

    With `exchanges`, campaigns may name only those. `reading` hears how much of the file is read, 0 to 1, then
    `checking` how many campaigns are checked, and of how many.
    """
    try:
        raw = read_document(path, MAX_FILE_BYTES, reading)
    except DocumentError as error:
        raise CatalogError(_TITLE, [f"{path}: {error}"]) from None
    return parse_catalog(raw, exchanges, checking)


def parse_catalog(raw: Any, exchanges: Exchanges | None = None, checking: Checking | None = None) -> Catalog:
    """A catalogue from the plain values of its file (amounts in USD).

    Raises CatalogError with every problem, by campaign. `checking`: see `load_catalog`.
    """
    if not isinstance(raw, Mapping):
        raise CatalogError(_TITLE, [f"must be an object with advertisers and campaigns, and is {show(raw)}"])
    problems = [f"{key}: no such key" for key in raw if key not in ("version", "advertisers", "campaigns")]
    version = raw.get("version", 0)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        problems.append(f"version: {show(version)} is not a whole number from 0")
    known = _Known(raw, exchanges)
    advertisers = _items("advertiser", raw, MAX_ADVERTISERS, _advertiser, known, problems)
    campaigns = _items("campaign", raw, MAX_CAMPAIGNS, _campaign, known, problems, checking)
    if problems:
        raise CatalogError(_TITLE, problems)
    return Catalog(version=version, advertisers=tuple(advertisers), campaigns=tuple(campaigns))


class _Known:
    """Names that campaigns may refer to, and those taken so far."""

    def __init__(self, raw: Mapping[str, Any], exchanges: Exchanges | None) -> None:
        advertisers = raw.get("advertisers")
        named = advertisers if isinstance(advertisers, list | tuple) else ()
        self.advertisers = {
            item["id"] for item in named if isinstance(item, Mapping) and isinstance(item.get("id"), str)
        }
        self.exchanges = {exchange.name for exchange in exchanges.exchanges} if exchanges else None
        self.creatives: dict[str, str] = {}  # id -> who has it


def _items(
    word: str,
    raw: Mapping[str, Any],
    most: int,
    check: Callable[[Any, str, _Known, list[tuple[str, str]]], Item | None],
    known: _Known,
    problems: list[str],
    checking: Checking | None = None,
) -> list[Item]:
    """The advertisers or campaigns of `raw`. Problems are added as `campaign ID: path: what`."""
    key = word + "s"
    values = raw.get(key)
    if not isinstance(values, list | tuple):
        problems.append(f"{key}: is missing" if values is None else f"{key}: must be a list, and is {show(values)}")
        return []
    if len(values) > most:
        problems.append(f"{key}: holds {len(values):,}; the most is {most:,}")
        return []
    made: list[Item] = []
    ids: dict[str, int] = {}
    for index, value in enumerate(values):
        name = value.get("id") if isinstance(value, Mapping) else None
        title = f"{word} {name}" if isinstance(name, str) and name else f"{key}[{index}]"
        found: list[tuple[str, str]] = []
        item = check(value, title, known, found)
        if isinstance(name, str) and ids.setdefault(name, index) != index:
            found.append(("id", f"is used twice ({key}[{ids[name]}] and {key}[{index}])"))
        problems += [f"{title}: {path}: {what}" if path else f"{title}: {what}" for path, what in found]
        if item is not None:
            made.append(item)
        if checking is not None:
            checking(index + 1, len(values))
    return made


def _advertiser(raw: Any, title: str, known: _Known, found: list[tuple[str, str]]) -> Advertiser | None:
    if isinstance(raw, Mapping) and isinstance(raw.get("budget"), Mapping):
        raw = {**raw, "budget": _budget(raw["budget"], found)}
    advertiser = convert(Advertiser, raw, "", found)
    if advertiser is not None:
        found += catalog_rules.advertiser_problems(advertiser)
    return advertiser


def _shared_creatives(value: Mapping[str, Any], title: str, seen: dict[str, str]) -> list[tuple[str, str]]:
    """Creative ids that an earlier creative has: win notices and reports know a creative by its id alone."""
    found = []
    creatives = value.get("creatives")
    for index, creative in enumerate(creatives if isinstance(creatives, list | tuple) else ()):
        name = creative.get("id") if isinstance(creative, Mapping) else None
        if isinstance(name, str) and name in seen:
            found.append((f"creatives[{index}].id", f"{show(name)} is used already, by {seen[name]}"))
        elif isinstance(name, str):
            seen[name] = f"{title}, creatives[{index}]"
    return found


def _campaign(raw: Any, title: str, known: _Known, found: list[tuple[str, str]]) -> Campaign | None:
    if not isinstance(raw, Mapping):
        found.append(("", f"must be an object, and is {show(raw)}"))
        return None
    creatives = raw.get("creatives")
    if isinstance(creatives, list | tuple) and len(creatives) > MAX_CREATIVES:
        found.append(("creatives", f"holds {len(creatives):,}; the most is {MAX_CREATIVES:,}"))
        return None
    parts: dict[str, Any] = {}
    campaign = convert(Campaign, _with_units(raw, found), "", found, parts)
    if campaign is not None:
        found += catalog_rules.campaign_problems(campaign)
    else:
        found += _problems_of_parts(parts)
    if isinstance(advertiser := raw.get("advertiser"), str) and advertiser not in known.advertisers:
        found.append(("advertiser", f"{show(advertiser)} is not an advertiser of this catalogue"))
    if known.exchanges is not None and isinstance(named := raw.get("exchanges"), list | tuple):
        for index, name in enumerate(named):
            if isinstance(name, str) and name not in known.exchanges:
                found.append((f"exchanges[{index}]", f"{show(name)} is not a defined exchange"))
    found += _shared_creatives(raw, title, known.creatives)
    return campaign


def _problems_of_parts(parts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the rules say about the good parts of a campaign that has a wrong type elsewhere."""
    found: list[tuple[str, str]] = []
    for path, part in parts.items():
        if isinstance(part, Creative):
            found += creative_rules.creative_problems(part, path)
        elif path == "targeting":
            for name in part.__struct_fields__:
                found += targeting_rules.targeting_problems(name, getattr(part, name), join(path, name))
        elif path.startswith("targeting.") and path.count(".") == 1 and "[" not in path:
            found += targeting_rules.targeting_problems(path.split(".")[1], part, path)
    return found


def _with_units(raw: Mapping[str, Any], found: list[tuple[str, str]]) -> dict[str, Any]:
    """A campaign's values with amounts in micros and moments in UTC. What cannot be converted is reported, replaced."""
    made = dict(raw)
    if "max_bid" in made:
        made["max_bid"] = _amount(made["max_bid"], "max_bid", found)
    if isinstance(goal := made.get("goal"), Mapping) and "bid" in goal:
        made["goal"] = {**goal, "bid": _amount(goal["bid"], "goal.bid", found)}
    if isinstance(budget := made.get("budget"), Mapping):
        made["budget"] = _budget(budget, found)
    if isinstance(flight := made.get("flight"), Mapping):
        zone = made.get("time_zone", "UTC")
        zone = zone if isinstance(zone, str) and catalog_rules.known_time_zone(zone) else "UTC"
        made["flight"] = {
            key: _moment(value, f"flight.{key}", zone, key == "end", found) if key in ("start", "end") else value
            for key, value in flight.items()
        }
    return made


def _budget(raw: Mapping[str, Any], found: list[tuple[str, str]]) -> dict[str, Any]:
    """A budget with its amounts in micros; null stays, and means no limit. After a problem there is none either."""
    made = dict(raw)
    for key in sorted(_BUDGET_KEYS & raw.keys()):
        if raw[key] is not None:
            before = len(found)
            micros = _amount(raw[key], f"budget.{key}", found)
            made[key] = micros if len(found) == before else None
    return made


def _amount(value: Any, path: str, found: list[tuple[str, str]]) -> int:
    """Micros of an amount in USD. After a problem 1, which breaks no other rule."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        exact = Decimal(str(value))
        if exact < 0 or exact.adjusted() > 8:  # model.Micros ends at 10^15, a thousand million USD
            found.append((path, f"{show(value)} is not between 0 and 1,000,000,000 USD"))
            return 1
        return usd_to_micros(value)
    except InvalidOperation:
        found.append((path, f'{show(value)} is not an amount in USD such as 2.5 or "2.50"'))
    except ValueError as error:
        what = str(error) if "decimal places" in str(error) else f"{show(value)} is not an amount in USD such as 2.5"
        found.append((path, what))
    return 1


def _moment(value: Any, path: str, zone: str, is_end: bool, found: list[tuple[str, str]]) -> datetime | None:
    """A moment in UTC. Without an offset it is the campaign's own time; a date alone means the whole day."""
    if value is None and is_end:
        return None
    try:
        if isinstance(value, str):
            text = value.strip()
            value = date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value + timedelta(days=1 if is_end else 0), time())
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    found.append((path, f'{show(value)} is not a date or time such as 2026-05-01 or "2026-05-01T08:00:00+02:00"'))
    return datetime.max.replace(tzinfo=UTC) if is_end else datetime.min.replace(tzinfo=UTC)


def encode_catalog(catalog: Catalog) -> bytes:
    """The typed catalogue with its version as MessagePack behind a line that names the layout."""
    return _MAGIC + msgspec.msgpack.encode(catalog)


class _Encoded(Struct, forbid_unknown_fields=True):
    """A `Catalog` whose campaigns are still encoded."""

    advertisers: tuple[Advertiser, ...]
    campaigns: tuple[msgspec.Raw, ...]
    version: int = 0


_catalog_decoder = msgspec.msgpack.Decoder(_Encoded)
_campaign_decoder = msgspec.msgpack.Decoder(Campaign)


def decode_catalog(data: bytes) -> Catalog:
    """What `encode_catalog` wrote, equal rules held once: types are checked again, rules are not. Raises CatalogError.

    Campaign by campaign, so that what one does not keep is the memory of the next one.
    """
    if not data.startswith(_MAGIC):
        first = data.split(b"\n", 1)[0][:40]
        raise CatalogError(_TITLE, [f"the encoded form begins with {first!r}, and {_MAGIC[:-1]!r} is understood"])
    try:
        encoded = _catalog_decoder.decode(memoryview(data)[len(_MAGIC) :])
        known: Known = {}
        campaigns = []
        for data_of_one in encoded.campaigns:
            campaign = _campaign_decoder.decode(data_of_one)
            share(campaign.targeting, known)
            campaigns.append(campaign)
        return Catalog(version=encoded.version, advertisers=encoded.advertisers, campaigns=tuple(campaigns))
    except msgspec.DecodeError as error:
        raise CatalogError(_TITLE, [f"the encoded form does not decode: {error}"]) from None


class _Amount(str):
    """A decimal amount that YAML writes as a plain number."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes short lists on one line, and never the anchors that a reader would have to follow."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Amount, lambda dumper, amount: dumper.represent_scalar("tag:yaml.org,2002:float", str(amount)))


def dump_catalog(catalog: Catalog) -> str:
    """The catalogue as YAML text that `load_catalog` reads back to an equal one. Moments are in UTC, amounts in USD."""
    plain = msgspec.to_builtins(catalog)
    for campaign in plain["campaigns"]:
        campaign["max_bid"] = _usd(campaign["max_bid"])
        campaign["goal"]["bid"] = _usd(campaign["goal"]["bid"])
    for item in (*plain["advertisers"], *plain["campaigns"]):
        if "budget" in item:
            item["budget"] = {key: _usd(micros) for key, micros in item["budget"].items()}
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _usd(micros: int) -> _Amount:
    whole, rest = divmod(micros, MICROS)
    return _Amount(f"{whole}.{f'{rest:06d}'.rstrip('0'):0<2}")
