"""The stream of bid requests: which exchange asks, for whom, for what. The n-th request is the same in every run."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from msgspec import Struct

from campaign_express.exchange.draws import REQUEST, Draws
from campaign_express.exchange.people import People, Person
from campaign_express.exchange.shapes import Shape, Shapes
from campaign_express.exchange.venues import Venue


class Call(Struct, frozen=True, gc=False):
    """One bid request, as it goes to the bidder."""

    number: int
    id: str
    venue: Venue
    person: Person
    shape: Shape
    body: bytes


class RequestStream:
    def __init__(self, seed: int, people: People, shapes: Shapes, venues: tuple[Venue, ...]) -> None:
        self._seed = seed
        self._people = people
        self._shapes = shapes
        self._venues = venues
        self._until = list(accumulate(venue.share for venue in venues))

    def call(self, number: int) -> Call:
        draws = Draws(self._seed, number, REQUEST)
        venue = self._venues[min(bisect_left(self._until, draws.unit() * self._until[-1]), len(self._venues) - 1)]
        person = self._people.pick(draws)
        fitting = self._shapes.fitting(person.in_app, person.mobile)
        shape = fitting[draws.below(len(fitting))]
        request_id = f"{draws.integer():016x}{number:08x}"
        body = b'{"id":"%s",%s%s%s%s"at":%d,"tmax":%d,"cur":["USD"]}' % (
            *(request_id.encode(), shape.head, person.device, person.user(venue.name), person.regs),
            *(2 if venue.second_price else 1, venue.exchange.tmax),
        )
        return Call(number, request_id, venue, person, shape, body)
