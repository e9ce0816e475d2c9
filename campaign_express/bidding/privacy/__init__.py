"""What a request's privacy signals allow: one `assess` call a request, everything else here serves it.

    consent.py       all signals of one request → Consent (cached)
    tcf.py           IAB TCF v2 string: what one vendor may do
    gpp.py           IAB Global Privacy Platform string: header and sections
    regions.py       where an absent `gdpr` flag means that the GDPR applies
    us_sections.py   GPP sections of the United States: opt-outs
    us_privacy.py    IAB US Privacy (CCPA) string
    bits.py          base64url text read bit by bit
    coarse.py        addresses and coordinates with the precise part taken off

docs/privacy.md says which signal has which effect; tests run from its tables.
"""

from campaign_express.bidding.privacy.coarse import IPV4_KEPT, IPV6_KEPT, truncate_coordinate, truncate_ip
from campaign_express.bidding.privacy.consent import UNRESTRICTED, Consent, PrivacyPolicy, assess, assess_query
from campaign_express.bidding.privacy.regions import gdpr_countries

__all__ = [
    "IPV4_KEPT",
    "IPV6_KEPT",
    "UNRESTRICTED",
    "Consent",
    "PrivacyPolicy",
    "assess",
    "assess_query",
    "gdpr_countries",
    "truncate_coordinate",
    "truncate_ip",
]
