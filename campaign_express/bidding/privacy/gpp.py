"""IAB Global Privacy Platform string: a header that lists section ids, then the sections, joined by "~".

Header (base64url): type, 6 bits, 3; version, 6 bits, 1; then a Fibonacci range of section ids: a 12-bit count, and for
each item
one bit (0 an id, 1 a run of ids), the distance from the id before as a Fibonacci integer and, for a run, its length
likewise. Source: IAB Tech Lab, Global Privacy Platform, "Core/ConsentStringSpecification".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from campaign_express.bidding.privacy.bits import BitReader, MalformedSignal
from campaign_express.bidding.privacy.us_privacy import us_privacy_objection
from campaign_express.bidding.privacy.us_sections import LAYOUTS, read_us_section

TCF_EU_V1, TCF_EU_V2, HEADER, SIGNAL_INTEGRITY, TCF_CANADA, US_PRIVACY = range(1, 7)
_NO_CHOICE = (HEADER, SIGNAL_INTEGRITY)  # sections that say nothing of a person's choice
_TYPE, _VERSION = 3, 1
_LONGEST_RUN = 64  # there are some thirty sections


def read_gpp(text: str) -> dict[int, str]:
    """Section id → the section's own text. Raises MalformedSignal."""
    header, *sections = text.split("~")
    ids = _section_ids(header)
    if len(ids) != len(sections):
        raise MalformedSignal("the header does not list the sections that are there")
    return dict(zip(ids, sections, strict=True))


@lru_cache(maxsize=256)  # a handful of headers serve nearly all requests
def _section_ids(header: str) -> tuple[int, ...]:
    bits = BitReader(header)
    if bits.read(6) != _TYPE or bits.read(6) != _VERSION:
        raise MalformedSignal("not a GPP string of version 1")
    ids: list[int] = []
    last = 0
    for _ in range(bits.read(12)):
        is_run = bits.read(1)
        last += bits.fibonacci()
        ids.append(last)
        if is_run:
            length = bits.fibonacci()
            if length > _LONGEST_RUN:
                raise MalformedSignal("a run of sections that do not exist")
            ids.extend(range(last + 1, last + length + 1))
            last += length
    return tuple(ids)


class GppVerdict(NamedTuple):
    """What the sections in force say.

    `objection`: why they forbid personal use, "" if they do not. `gdpr`: the sender says that the GDPR applies (section
    1 or 2 is in force). `tc_string`: section 2, "" if absent.
    """

    objection: str
    gdpr: bool
    tc_string: str


_SILENCE = GppVerdict("", False, "")


def judge_gpp(text: str, gpp_sid: Sequence[int], us_privacy: str) -> GppVerdict:
    """What a GPP string and the list of sections in force (regs.gpp_sid) allow. Never raises.

    Ids of 0 and below mean "unknown" and "none" in the CMP API: a list of nothing but -1 says that no section is in
    force; an empty list says nothing, and every section of the string counts (section 2 only if the GDPR turns out to
    apply). `us_privacy` is the string outside of GPP; where there is one it answers for section 6 when the GPP string
    lacks it.
    """
    if not text and not gpp_sid:
        return _SILENCE
    named = [sid for sid in gpp_sid if sid > 0]
    gdpr = TCF_EU_V2 in named or TCF_EU_V1 in named
    try:
        sections = read_gpp(text) if text else {}
    except MalformedSignal:
        return GppVerdict("gpp-malformed", gdpr, "")
    if named:
        in_force = named
    elif -1 in gpp_sid:
        in_force = []
    else:
        in_force = [sid for sid in sections if sid not in (TCF_EU_V1, TCF_EU_V2)]
    objection = ""
    for sid in in_force:
        objection = objection or _objection(sid, sections.get(sid), us_privacy)
    return GppVerdict(objection, gdpr, sections.get(TCF_EU_V2, ""))


def _objection(sid: int, section: str | None, us_privacy: str) -> str:
    if sid in _NO_CHOICE or sid in (TCF_EU_V1, TCF_EU_V2):
        return ""
    if sid == US_PRIVACY:
        if section is None and us_privacy:
            return ""  # judged by itself
        return us_privacy_objection(section or "").replace("us-privacy", "gpp")
    if sid not in LAYOUTS:
        return "gpp-unsupported"
    try:
        return "gpp" if read_us_section(sid, section or "").objects else ""
    except MalformedSignal:
        return "gpp-malformed"
