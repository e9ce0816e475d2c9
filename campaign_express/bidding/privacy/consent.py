"""All privacy signals of one request → what may be done with the person's data. Pure; never raises.

Most requests carry no signal: those get a shared Consent without any work. The others are judged once for each distinct
set of signals and cached (bounded), since one person's requests repeat the same strings. docs/privacy.md is the table
of effects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import force_setattr

from campaign_express.bidding.privacy import tcf
from campaign_express.bidding.privacy.bits import MalformedSignal
from campaign_express.bidding.privacy.gpp import judge_gpp
from campaign_express.bidding.privacy.us_privacy import us_privacy_objection
from campaign_express.openrtb.request import BidRequest, Regs

# Longer strings are no consent (the longest TC string with every vendor and segment is about 1,500 characters), and
# would bloat the cache and every notice URL.
MAX_STRING = 4096
MAX_SECTIONS = 64  # of gpp_sid; some twenty are defined
_CACHE = 2048
_plain = re.compile(r"[A-Za-z0-9\-._~]*").fullmatch  # needs no percent-encoding: most strings, and cheaper to ask
_sid = re.compile(r"(?<![^,])[0-9]{1,4}(?![^,])").findall

_COPPA, _LMT, _DNT, _GPC = 1, 2, 4, 8
_LIMITS = ((_COPPA, "coppa"), (_LMT, "lmt"), (_DNT, "dnt"), (_GPC, "gpc"))


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """The operator's side. `vendor_id`: our IAB Global Vendor List id, 0 for none.

    `gdpr_countries`: where a request without any `gdpr` flag is under the GDPR, alpha-3; "" among them: where no
    country is known. See `regions.gdpr_countries`.
    """

    vendor_id: int
    gdpr_countries: frozenset[str]


class Consent(Struct, frozen=True, gc=False):
    """What may be done with the person's data, and the signals to pass on."""

    identify: bool  # read, store and log the person's ids (TCF purpose 1)
    personalise: bool  # use data on the person for targeting and scoring (TCF purposes 3 and 4)
    measure: bool  # measure the ad's performance for this person (TCF purpose 7)
    reason: str  # why the request is contextual, "" if it is not
    query: str  # "&gdpr=1&gdpr_consent=…", percent-encoded, for notice URLs; "" when there is nothing to pass on
    contextual: bool = False  # no user id is read, stored, logged or used; follows from the others

    def __post_init__(self) -> None:
        force_setattr(self, "contextual", not (self.identify and self.personalise))


UNRESTRICTED = Consent(True, True, True, "", "")
_GDPR_ASSUMED = Consent(False, False, False, "gdpr-no-consent", "&gdpr=1")


def assess(request: BidRequest, country: str, policy: PrivacyPolicy) -> Consent:
    """Consent for one request. `country` is alpha-3 or "" (unknown); only used where no `gdpr` flag is given."""
    regs = request.regs
    device = request.device
    user = request.user
    limits = 0
    if device is not None:
        if device.lmt:
            limits = _LMT
        if device.dnt:
            limits |= _DNT
        ext = device.ext
        if ext is not None and ext.gpc is not None and _is_set(ext.gpc):
            limits |= _GPC
    tc_string = ""
    if user is not None:
        tc_string = user.consent or ""
        if not tc_string and user.ext is not None:
            tc_string = user.ext.consent or ""
    assumed = country in policy.gdpr_countries
    if regs is None:
        if not limits and not tc_string:
            return _GDPR_ASSUMED if assumed else UNRESTRICTED
        return _judge(limits, None, assumed, _kept(tc_string), "", "", (), policy.vendor_id)
    if regs.coppa:
        limits |= _COPPA
    regs_ext = regs.ext
    if regs_ext is not None and regs_ext.gpc is not None and _is_set(regs_ext.gpc):
        limits |= _GPC
    us_privacy, gpp, gpp_sid = _strings(regs)
    if len(gpp_sid) > MAX_SECTIONS:
        gpp_sid = tuple(sorted(set(gpp_sid)))[:MAX_SECTIONS]
    gdpr = _gdpr_flag(regs)
    return _judge(limits, gdpr, assumed, _kept(tc_string), _kept(us_privacy), _kept(gpp), gpp_sid, policy.vendor_id)


def assess_query(signals: Mapping[str, str], gpc: bool, policy: PrivacyPolicy) -> Consent:
    """Consent of a browser that comes with signals in a URL, by the names of `Consent.query`; its country is not known.

    `gpc`: the browser sent `Sec-GPC: 1`. A flag that is neither 0 nor 1 is none.
    """
    limits = (_COPPA if signals.get("coppa") == "1" else 0) | (_GPC if gpc or signals.get("gpc") == "1" else 0)
    gdpr = {"0": False, "1": True}.get(signals.get("gdpr", ""))
    sids = [int(part) for part in _sid(signals.get("gpp_sid", ""))]
    return _judge(
        limits,
        gdpr,
        "" in policy.gdpr_countries,
        _kept(signals.get("gdpr_consent", "")),
        _kept(signals.get("us_privacy", "")),
        _kept(signals.get("gpp", "")),
        tuple(sorted(set(sids))[:MAX_SECTIONS]),
        policy.vendor_id,
    )


def _kept(text: str) -> str:
    """`text`, or of one that is too long only as much as shows that: verdicts are remembered by these strings."""
    return text if len(text) <= MAX_STRING else text[: MAX_STRING + 1]


def _is_set(gpc: int | str | bool) -> bool:
    """GPC is a header ("1") that exchanges pass on as a number, a string or a boolean."""
    return gpc.strip().lower() in ("1", "true") if isinstance(gpc, str) else bool(gpc)


def _gdpr_flag(regs: Regs) -> bool | None:
    """regs.gdpr (2.6) and regs.ext.gdpr (2.5); if they disagree the GDPR applies. None: neither is given."""
    flags = [flag for flag in (regs.gdpr, regs.ext.gdpr if regs.ext is not None else None) if flag is not None]
    return any(flags) if flags else None


def _strings(regs: Regs) -> tuple[str, str, tuple[int, ...]]:
    """us_privacy, gpp, gpp_sid from their 2.6 places, else from regs.ext."""
    us_privacy, gpp, gpp_sid = regs.us_privacy, regs.gpp, regs.gpp_sid
    ext = regs.ext
    if ext is not None:
        us_privacy = us_privacy or ext.us_privacy
        gpp = gpp or ext.gpp
        gpp_sid = gpp_sid or ext.gpp_sid
    return us_privacy or "", gpp or "", gpp_sid or ()


@lru_cache(maxsize=_CACHE)
def _judge(
    limits: int,
    gdpr_flag: bool | None,
    gdpr_assumed: bool,
    tc_string: str,
    us_privacy: str,
    gpp: str,
    gpp_sid: tuple[int, ...],
    vendor_id: int,
) -> Consent:
    reason = next((reason for bit, reason in _LIMITS if limits & bit), "") if limits else ""
    if us_privacy:
        reason = reason or us_privacy_objection(us_privacy)
    in_gpp = judge_gpp(gpp if len(gpp) <= MAX_STRING else "-", gpp_sid, us_privacy)
    reason = reason or in_gpp.objection

    gdpr = gdpr_flag or in_gpp.gdpr or (gdpr_flag is None and gdpr_assumed)
    identify = personalise = not reason
    measure = not limits & _COPPA
    if gdpr:
        may_identify, may_personalise, may_measure, refusal = _judge_gdpr(tc_string, in_gpp.tc_string, vendor_id)
        identify = identify and may_identify
        personalise = personalise and may_personalise
        measure = measure and may_measure
        reason = reason or refusal
    query = _query(limits, True if gdpr else gdpr_flag, tc_string, us_privacy, gpp, gpp_sid)
    if identify and personalise and measure and not query:
        return UNRESTRICTED
    return Consent(identify, personalise, measure, reason, query)


def _judge_gdpr(user_string: str, gpp_string: str, vendor_id: int) -> tuple[bool, bool, bool, str]:
    """identify, personalise, measure under the GDPR, and why not. Of two different strings both must allow a use."""
    strings = {text for text in (user_string, gpp_string) if text}
    if not strings:
        return False, False, False, "gdpr-no-consent"
    if vendor_id <= 0:
        return False, False, False, "gdpr-no-vendor-id"
    identify = personalise = measure = True
    for text in strings:
        if len(text) > MAX_STRING:
            return False, False, False, "gdpr-malformed"
        try:
            vendor = tcf.read_tc_string(text, vendor_id)
        except MalformedSignal:
            return False, False, False, "gdpr-malformed"
        identify = identify and vendor.allows(tcf.STORE_AND_ACCESS)
        profile = vendor.allows(tcf.PERSONALISED_PROFILE) and vendor.allows(tcf.PERSONALISED_ADS)
        personalise = personalise and identify and profile
        measure = measure and vendor.allows(tcf.MEASURE_ADS)
    return identify, personalise, measure, "" if personalise else "gdpr-refused"


def _query(limits: int, gdpr: bool | None, tc_string: str, us_privacy: str, gpp: str, gpp_sid: tuple[int, ...]) -> str:
    """Signals for notice URLs, named as in the IAB's specifications (coppa and gpc have no name there: ours)."""
    parts = []
    if gdpr is not None:
        parts.append(f"&gdpr={gdpr:d}")
    sids = ",".join(map(str, gpp_sid))
    for name, text in (("gdpr_consent", tc_string), ("us_privacy", us_privacy), ("gpp", gpp), ("gpp_sid", sids)):
        if text and len(text) <= MAX_STRING:
            parts.append(f"&{name}={text if _plain(text) else quote(text, safe='', errors='replace')}")
    if limits & _COPPA:
        parts.append("&coppa=1")
    if limits & _GPC:
        parts.append("&gpc=1")
    return "".join(parts)
