"""GPP sections of the United States: what the person objected to, nationally (7) or by state (8 to 23).

A section is "core" or "core.gpc", base64url. The core begins with a 6-bit version and goes on with 2-bit fields only,
so a layout is the order and number of those fields. 2-bit values: 0 not applicable; opt-outs: 1 opted out, 2 did not;
consents: 1 no consent, 2 consent; notices: 1 given, 2 not given. The GPC sub-section is a 2-bit type (1) and one bit.
Source: IAB Tech Lab, Global Privacy Platform, "Sections/US-National" and "Sections/US-States".

Sections 24 and up (Maryland onwards) changed to another structure; they are not read, and `gpp.py` counts them as an
objection.
"""

from __future__ import annotations

from typing import NamedTuple

from campaign_express.bidding.privacy.bits import BitReader, MalformedSignal

NATIONAL, CALIFORNIA, VIRGINIA, COLORADO, UTAH, CONNECTICUT, FLORIDA, MONTANA = range(7, 15)
OREGON, TEXAS, DELAWARE, IOWA, NEBRASKA, NEW_HAMPSHIRE, NEW_JERSEY, TENNESSEE, MINNESOTA = range(15, 24)

_GPC_SEGMENT = 1


class Layout(NamedTuple):
    """Number of 2-bit fields, in order; last come three of the MSPA: covered, opt-out mode, service provider mode.

    `notices` names the opt-out notices by letter, in order: (p)rocessing or sharing in general, s(a)le, (s)haring,
    (t)argeted advertising, sensitive data (x). `opt_outs` the same for opt-outs.
    """

    notices: str
    opt_outs: str
    sensitive: int  # SensitiveDataProcessing, one field a kind of data
    child: int  # KnownChildSensitiveDataConsents
    consent: int  # PersonalDataConsents or AdditionalDataProcessingConsent: 1 where the section has it

    @property
    def fields(self) -> int:
        return len(self.notices) + len(self.opt_outs) + self.sensitive + self.child + self.consent + 3


_NATIONAL_1 = Layout("pastxx", "ast", 12, 2, 1)
_NATIONAL_2 = Layout("pastxx", "ast", 16, 3, 1)

LAYOUTS: dict[int, Layout] = {
    NATIONAL: _NATIONAL_1,  # and _NATIONAL_2, see `_layout`
    CALIFORNIA: Layout("asx", "as", 9, 2, 1),
    VIRGINIA: Layout("pat", "at", 8, 1, 0),
    COLORADO: Layout("pat", "at", 7, 1, 0),
    UTAH: Layout("patx", "at", 8, 1, 0),
    CONNECTICUT: Layout("pat", "at", 8, 3, 0),
    FLORIDA: Layout("pat", "at", 8, 3, 1),
    MONTANA: Layout("pat", "at", 8, 3, 1),
    OREGON: Layout("pat", "at", 11, 3, 1),
    TEXAS: Layout("pat", "at", 8, 1, 1),
    DELAWARE: Layout("pat", "at", 9, 5, 1),
    IOWA: Layout("patx", "at", 8, 1, 0),
    NEBRASKA: Layout("pat", "at", 8, 1, 1),
    NEW_HAMPSHIRE: Layout("pat", "at", 8, 3, 1),
    NEW_JERSEY: Layout("pat", "at", 10, 5, 1),
    TENNESSEE: Layout("pat", "at", 8, 1, 1),
    MINNESOTA: Layout("pat", "at", 8, 1, 1),
}


class UsChoices(NamedTuple):
    """The fields of a section that bear on a bid, raw 2-bit values; 0 where the section has no such field."""

    sale_notice: int
    sharing_notice: int
    targeted_notice: int
    sale_opt_out: int
    sharing_opt_out: int
    targeted_opt_out: int
    child: tuple[int, ...]
    consent: int
    service_provider_mode: int
    gpc: bool

    @property
    def objects(self) -> bool:
        """The person's data may not be used for this bid.

        Opted out of sale, sharing or targeted advertising; no notice given, hence no chance to opt out; GPC on; a known
        child (whatever was consented to for the child); consent to unrelated uses withheld; or the sender acts in
        service provider mode, in which data is never sold or shared. 3 is no valid value of a 2-bit field and counts as
        the objection.
        """
        opt_outs = (self.sale_opt_out, self.sharing_opt_out, self.targeted_opt_out, self.consent)
        notices = (self.sale_notice, self.sharing_notice, self.targeted_notice)
        return (
            self.gpc
            or any(value in (1, 3) for value in opt_outs)
            or any(value >= 2 for value in notices)
            or any(self.child)
            or self.service_provider_mode in (1, 3)
        )


def _layout(section_id: int, version: int, bits: int) -> Layout:
    layout = LAYOUTS.get(section_id)
    if layout is None:
        raise MalformedSignal(f"section {section_id} is not supported")
    # Version 2 added fields in the middle. Encoders were writing them under version 1 for a while, told apart by
    # length.
    if section_id == NATIONAL and (version == 2 or (version == 1 and bits >= 6 + 2 * _NATIONAL_2.fields)):
        return _NATIONAL_2
    if version != 1:
        raise MalformedSignal(f"version {version} of section {section_id} is not supported")
    return layout


def read_us_section(section_id: int, text: str) -> UsChoices:
    """Choices in the text of one section. Raises MalformedSignal."""
    core, *segments = text.split(".")
    bits = BitReader(core)
    size = bits.left
    layout = _layout(section_id, bits.read(6), size)
    body = bits.read(2 * layout.fields)
    values = [(body >> shift) & 3 for shift in range(2 * layout.fields - 2, -2, -2)]
    notices = dict(zip(layout.notices, values, strict=False))
    opt_outs = dict(zip(layout.opt_outs, values[len(layout.notices) :], strict=False))
    child_at = len(layout.notices) + len(layout.opt_outs) + layout.sensitive
    consent_at = child_at + layout.child
    gpc = False
    for segment in segments:
        reader = BitReader(segment)
        if reader.read(2) == _GPC_SEGMENT:
            gpc = gpc or reader.read(1) == 1
    return UsChoices(
        sale_notice=notices.get("a", 0),
        sharing_notice=notices.get("s", 0),
        targeted_notice=notices.get("t", 0),
        sale_opt_out=opt_outs.get("a", 0),
        sharing_opt_out=opt_outs.get("s", 0),
        targeted_opt_out=opt_outs.get("t", 0),
        child=tuple(values[child_at:consent_at]),
        consent=values[consent_at] if layout.consent else 0,
        service_provider_mode=values[-1],
        gpc=gpc,
    )
