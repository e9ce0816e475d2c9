"""Rules across fields of a bid request; what one field alone can break is checked while decoding (`request`).

`rules` is the table of all of them, with what is tolerated and why. This runs for every request: it walks attributes
once and allocates nothing for a request of one impression.
"""

from __future__ import annotations

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.request import BidRequest


def validate(request: BidRequest) -> None:
    """Raise `InvalidRequest` at the first rule that `request` breaks."""
    imps = request.imp
    for imp in imps:
        if imp.banner is None and imp.video is None and imp.native is None and imp.audio is None:
            index = next(i for i, other in enumerate(imps) if other is imp)
            raise InvalidRequest("imp has none of banner, video, audio, native", f"$.imp[{index}]", "imp-without-media")
    if len(imps) > 1:
        seen: set[str] = set()
        for index, imp in enumerate(imps):
            if imp.id in seen:
                raise InvalidRequest("imp id is used twice", f"$.imp[{index}].id", "duplicate-imp-id")
            seen.add(imp.id)
    if request.site is not None:
        if request.app is not None:
            raise InvalidRequest("request has both site and app", "$.app", "one-inventory")
        if request.dooh is not None:
            raise InvalidRequest("request has both site and dooh", "$.dooh", "one-inventory")
    elif request.app is not None and request.dooh is not None:
        raise InvalidRequest("request has both app and dooh", "$.dooh", "one-inventory")
