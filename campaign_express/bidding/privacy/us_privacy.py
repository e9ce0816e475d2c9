"""IAB US Privacy string, version 1 (CCPA opt-out of sale): four characters such as "1YNN".

Characters: version, explicit notice, opt-out of sale, limited service provider agreement; each of the last three Y, N
or "-"
(not applicable). Source: IAB Tech Lab, "U.S. Privacy String", version 1.0.
"""

from __future__ import annotations

NOT_APPLICABLE = "1---"


def us_privacy_objection(text: str) -> str:
    """Why the string forbids personal use, "" if it does not.

    "us-privacy": the person opted out of sale, or got no notice and so no chance to. "us-privacy-malformed": not a
    string of this format, or an opt-out left unknown although the law applies, which the specification rules out; both
    count as opted out.
    """
    text = text.upper()
    if text == NOT_APPLICABLE:
        return ""
    if len(text) != 4 or text[0] != "1" or not set(text[1:]) <= {"Y", "N", "-"} or text[2] == "-":
        return "us-privacy-malformed"
    return "us-privacy" if text[2] == "Y" or text[1] == "N" else ""
