"""Where the GDPR is taken to apply although a request does not say so: the setting `gdpr_when_absent`.

The setting is a table of regions. It is resolved once, at start, into the set of countries where the GDPR applies, so
that a request costs one look-up.
"""

from __future__ import annotations

from campaign_express.errors import ConfigError
from campaign_express.openrtb.iso3166 import ALPHA3_OF_ALPHA2, country_alpha3

SETTING = "gdpr_when_absent"
APPLIES = {"applies": True, "does-not-apply": False}
UNKNOWN = ""  # how `iso3166.country_alpha3` and the context name a country that is not known

# The European Economic Area.
EEA: frozenset[str] = frozenset(
    (
        *("AUT", "BEL", "BGR", "HRV", "CYP", "CZE", "DNK", "EST", "FIN", "FRA", "DEU", "GRC", "HUN", "IRL", "ITA"),
        *("LVA", "LTU", "LUX", "MLT", "NLD", "POL", "PRT", "ROU", "SVK", "SVN", "ESP", "SWE", "ISL", "LIE", "NOR"),
    )
)
# Territories with country codes of their own that have the data protection law of another country, or one made to equal
# it: outermost regions of the Union (Article 355(1) TFEU) and Åland; Gibraltar and the Crown dependencies.
LAW_OF: dict[str, str] = {
    **dict.fromkeys(("GLP", "GUF", "MAF", "MTQ", "MYT", "REU"), "FRA"),
    "ALA": "FIN",
    **dict.fromkeys(("GIB", "GGY", "IMN", "JEY"), "GBR"),
}


def gdpr_countries(table: str) -> frozenset[str]:
    """Countries (alpha-3; "" for an unknown one) where an absent `gdpr` flag means that the GDPR applies.

    `table`: "REGION=applies" or "REGION=does-not-apply", with commas between. A region is a country (ISO 3166-1,
    alpha-2 or alpha-3), "eea", "unknown" or "other", in any case. The most specific entry holds: the country's own,
    that of the country whose law it has, "eea", "other". "unknown" and "other" must be there. Raises ConfigError with
    every problem.
    """
    entries: dict[str, bool] = {}
    problems: list[str] = []
    for item in filter(None, (part.strip() for part in table.split(","))):
        name, equals, verdict = (part.strip() for part in item.partition("="))
        region = _region(name)
        if not equals:
            problems.append(f"{SETTING}: expected REGION=applies or REGION=does-not-apply, got {item!r}")
        elif not region:
            problems.append(f"{SETTING}: {name!r} is no country (ISO 3166-1) and none of eea, unknown, other")
        elif verdict not in APPLIES:
            problems.append(f"{SETTING}: {name} is either applies or does-not-apply, not {verdict!r}")
        elif region in entries:
            problems.append(f"{SETTING}: {name} is named twice")
        else:
            entries[region] = APPLIES[verdict]
    if not problems:
        problems += [f"{SETTING}: {region} is missing" for region in ("unknown", "other") if region not in entries]
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    found = {country for country in ALPHA3_OF_ALPHA2.values() if _applies(entries, country)}
    return frozenset(found | {UNKNOWN} if entries["unknown"] else found)


def _region(name: str) -> str:
    """One name for each region: alpha-3, or the group's; "" for what is neither."""
    group = name.lower()
    return group if group in ("eea", "unknown", "other") else country_alpha3(name)


def _applies(entries: dict[str, bool], country: str) -> bool:
    law = LAW_OF.get(country, country)
    for region in (country, law, *(("eea",) if law in EEA else ())):
        if region in entries:
            return entries[region]
    return entries["other"]
