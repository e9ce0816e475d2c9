"""No-bids that no agent made: overload, no agent, too late, over an exchange's limit.

An exchange is told in the way it wants (`Exchange.no_bid_status`): 204 without a body, or 200 and a response with the
request's id and `nbr`. Only for the latter is anything read of the request, and only its id. gRPC has no answer
without a message, so it gets the response whatever the exchange wants.
"""

from __future__ import annotations

from collections.abc import Iterable

from campaign_express.frames import BODY_GZIP, PROTOBUF, Answer, Ask
from campaign_express.openrtb.codec import encode_response
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.protobuf import encode_response_pb
from campaign_express.openrtb.request_id import request_id
from campaign_express.openrtb.response import BidResponse

SILENT = {reason: Answer(204, b"", reason.index) for reason in NoBidReason}


class NoBids:
    """Makes them, cheaply: this is where load is turned away."""

    def __init__(self) -> None:
        self._spoken: frozenset[str] = frozenset()

    def speak(self, exchanges: Iterable[str]) -> None:
        """Exchanges, by their names in the path, that want a response with `nbr`; all others get 204."""
        self._spoken = frozenset(exchanges)

    def answer(self, ask: Ask, reason: NoBidReason) -> Answer:
        """Raises nothing: where the request's id cannot be read, the answer is 204."""
        protobuf = ask.encoding == PROTOBUF
        if not protobuf and ask.exchange not in self._spoken:
            return SILENT[reason]
        named = request_id(ask.body, protobuf=protobuf, gzipped=bool(ask.flags & BODY_GZIP))
        if not named:
            return SILENT[reason]
        response = BidResponse(id=named, nbr=reason.nbr)
        return Answer(200, encode_response_pb(response) if protobuf else encode_response(response), reason.index)
