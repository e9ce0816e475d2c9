"""Equal rules of a catalogue, held once.

Sites, countries, categories and sizes repeat from campaign to campaign, and a decoder makes each of them anew: with ten
thousand campaigns they would be two fifths of what the catalogue takes in every agent.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import force_setattr

from campaign_express.bidding.model import CategoryMatch, Match, Targeting

Known = dict[object, object]  # of each text and each rule the one that stands for all that are equal
_RULES = tuple(f.name for f in msgspec.structs.fields(Targeting) if isinstance(f.default, Match | CategoryMatch))


def share(targeting: Targeting, known: Known) -> None:
    """Replace each rule of `targeting` by an equal known one, its texts by equal known ones; what is new becomes known.

    `targeting` stays equal to what it was. `known` serves one catalogue; whoever is done with that throws it away.
    """
    same = known.setdefault
    for name in _RULES:
        rule = getattr(targeting, name)
        if not rule.include and not rule.exclude:
            continue
        shared = known.get(rule)
        if shared is None:
            include = tuple([same(text, text) for text in rule.include])
            exclude = tuple([same(text, text) for text in rule.exclude])
            shared = msgspec.structs.replace(rule, include=include, exclude=exclude)
            known[shared] = shared
        force_setattr(targeting, name, shared)
