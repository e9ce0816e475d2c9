"""Who may sell whose inventory: ads.txt, app-ads.txt and sellers.json (IAB Tech Lab), from files. Nothing is fetched.

`sellers_file` is one file or a folder. docs/privacy.md, "Authorised sellers", describes both. In short:

    one file                              a folder
    [exchanges]                           exchanges.txt              lines "our name = its domain"
    alpha = ssp.example                   news.example.ads.txt       as the site publishes it
    [news.example]                        com.news.app-ads.txt       as the app's developer publishes it
    ssp.example, pub-1, DIRECT            ssp.example.sellers.json   as the exchange publishes it

In files that others publish, records that cannot be read are passed over, as the ads.txt specification tells; in the
one file, which the operator writes, they are errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from campaign_express.adapters.enrichment_files import numbered_lines, read_text

_SETTING = "sellers_file"
_RELATIONS = ("DIRECT", "RESELLER")
_EXCHANGES = "exchanges"

Record = tuple[str, str]  # advertising system's domain, seller account id there


class _Seller(msgspec.Struct):
    seller_id: str | int


class _SellersJson(msgspec.Struct):
    sellers: list[_Seller]


class Sellers:
    """Answers from the lists that were read."""

    def __init__(self, file: str, problems: list[str]) -> None:
        """Reads `file`, a file or folder; what is wrong is added to `problems`."""
        self._systems: dict[str, str] = {}  # exchange name as we call it → its advertising system's domain
        self._sites: dict[str, frozenset[Record]] = {}
        self._apps: dict[str, frozenset[Record]] = {}
        self._sellers: dict[str, frozenset[str]] = {}  # advertising system → its seller ids
        path = Path(file)
        if path.is_dir():
            self._read_folder(path, problems)
        else:
            self._read_file(path, problems)

    def authorised(self, domain_or_bundle: str, exchange: str, publisher_id: str) -> bool | None:
        """False if a list that covers the seller lacks it; True if every list that covers it has it; None if none does.

        A site is covered by its own ads.txt or that of a parent domain, an app by its app-ads.txt; an exchange that is
        not among [exchanges] is known by its domain if its name is one.
        """
        system = self._systems.get(exchange) or (exchange.lower() if "." in exchange else "")
        if not system or not publisher_id:
            return None
        listed: bool | None = None
        records = self._records(domain_or_bundle.lower())
        if records is not None:
            listed = (system, publisher_id) in records
        sellers = self._sellers.get(system)
        if sellers is not None and listed is not False:
            listed = publisher_id in sellers
        return listed

    def _records(self, name: str) -> frozenset[Record] | None:
        records = self._apps.get(name)
        while records is None and name:
            records = self._sites.get(name)
            name = name.partition(".")[2]
        return records

    def _read_file(self, path: Path, problems: list[str]) -> None:
        section = ""
        sections: dict[str, set[Record]] = {}
        for number, line in numbered_lines(path, _SETTING, problems):
            where = f"{_SETTING}: {path}:{number}"
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1].strip().lower()
                if not section:
                    problems.append(f"{where}: a section without a name")
                elif section != _EXCHANGES:
                    sections.setdefault(section, set())
            elif not section:
                problems.append(f"{where}: a record before the first [section]")
            elif section == _EXCHANGES:
                self._add_exchange(line, where, problems)
            elif (record := _record(line)) is not None:
                sections[section].add(record)
            elif "=" not in line:
                problems.append(f"{where}: expected 'system domain, seller id, DIRECT or RESELLER', got '{line}'")
        for name, records in sections.items():
            self._sites[name] = self._apps[name] = frozenset(records)

    def _read_folder(self, path: Path, problems: list[str]) -> None:
        for file in sorted(path.iterdir()):
            name = file.name.lower()
            if name == "exchanges.txt":
                for number, line in numbered_lines(file, _SETTING, problems):
                    self._add_exchange(line, f"{_SETTING}: {file}:{number}", problems)
            elif name.endswith(".app-ads.txt"):
                self._apps[name.removesuffix(".app-ads.txt")] = _read_ads_txt(file, problems)
            elif name.endswith(".ads.txt"):
                self._sites[name.removesuffix(".ads.txt")] = _read_ads_txt(file, problems)
            elif name.endswith(".sellers.json"):
                self._sellers[name.removesuffix(".sellers.json")] = _read_sellers_json(file, problems)
            elif file.is_file() and not name.startswith("."):
                problems.append(f"{_SETTING}: {file}: not exchanges.txt, *.ads.txt, *.app-ads.txt or *.sellers.json")

    def _add_exchange(self, line: str, where: str, problems: list[str]) -> None:
        name, equals, domain = (part.strip() for part in line.partition("="))
        if not (name and equals and "." in domain):
            problems.append(f"{where}: expected 'exchange = its domain', got '{line}'")
            return
        self._systems[name] = domain.lower()


def _record(line: str) -> Record | None:
    """One ads.txt data record ("system, seller id, relation[, certification id]"); None if it is none."""
    fields = [field.strip() for field in line.partition(";")[0].split(",")]
    if len(fields) < 3 or fields[2].upper() not in _RELATIONS or "." not in fields[0] or not fields[1]:
        return None
    return fields[0].lower(), fields[1]


def _read_ads_txt(file: Path, problems: list[str]) -> frozenset[Record]:
    before = len(problems)
    lines: Iterable[str] = [line for _, line in numbered_lines(file, _SETTING, problems)]
    records = frozenset(record for record in map(_record, lines) if record is not None)
    if not records and lines and len(problems) == before:
        problems.append(f"{_SETTING}: {file}:1: not one record of the file can be read")
    return records


def _read_sellers_json(file: Path, problems: list[str]) -> frozenset[str]:
    before = len(problems)
    text = read_text(file, _SETTING, problems)
    if len(problems) > before:
        return frozenset()
    try:
        parsed = msgspec.json.decode(text, type=_SellersJson)
    except msgspec.DecodeError as error:
        problems.append(f"{_SETTING}: {file}: {error}")
        return frozenset()
    return frozenset(str(seller.seller_id) for seller in parsed.sellers)
