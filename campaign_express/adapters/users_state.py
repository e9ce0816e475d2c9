"""What Redis holds of a person, read and written: the formats of users_lua.py."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from struct import pack as pack_struct
from struct import unpack as unpack_struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from campaign_express.ports import Hold, UserState

BID = 10  # characters of a bid's key that tell it from the person's others: 60 bits
MAX_UNDER_WAY = 256  # weights and holds of a person; with more, the person is unknown
_WEIGHT, _HOLD, _ALIAS = b"nh@"
_WON = b"1"[0]

_shown = msgspec.msgpack.Decoder(dict[str, list[int]])


class Profile(NamedTuple):
    valid_until_ms: int
    first_seen_ms: int
    segments: tuple[str, ...]
    interests: tuple[float, ...]


_profile = msgspec.msgpack.Decoder(tuple[int, int, tuple[str, ...], tuple[float, ...]])
_encode = msgspec.msgpack.Encoder().encode
_FLOAT32 = 0xCA  # msgpack's mark of one
NO_PROFILE = Profile(0, 0, (), ())


def profile_value(profile: Profile) -> bytes:
    """What `profile_of` reads: msgpack, with interests as float32. Raises OverflowError for those that are none."""
    count = len(profile.interests)
    marked = [part for value in profile.interests for part in (_FLOAT32, value)]
    return b"\x94%b%b%b\xdc%b" % (  # an array of 4, the last of them an array of `count`
        *(_encode(profile.valid_until_ms), _encode(profile.first_seen_ms), _encode(profile.segments)),
        pack_struct(f">H{'Bf' * count}", count, *marked),
    )


def profile_of(value: bytes | None) -> Profile:
    """Raises msgspec.DecodeError for what is not ours."""
    return NO_PROFILE if value is None else Profile(*_profile.decode(value))


def bid_of(bid_key: str) -> tuple[bytes, bytes]:
    """(what names a bid among its user's holds, the hash that it is known by among impressions)."""
    return bid_key[:BID].encode(), b"%d" % crc32(bid_key.encode())


def stamp(wall_ms: int) -> bytes:
    """Times as scripts compare them: 13 digits."""
    return b"%013d" % wall_ms


def hold_of(hold: Hold, lateness_ms: int, won: bool = False) -> tuple[bytes, bytes]:
    """(bid, value of its field). Shown by: the end without the lateness of notices."""
    bid_key, entities, ends_ms = hold
    value = b"%013d%013d%d%010d%b" % (
        *(ends_ms, max(ends_ms - lateness_ms, 0), won, crc32(bid_key.encode())),
        ",".join(entities).encode(),
    )
    return bid_key[:BID].encode(), value


def rounded(interests: Sequence[float]) -> list[bytes]:
    """As they are kept: float32. Raises OverflowError for what is none."""
    shape = f"<{len(interests)}f"
    return [repr(value).encode() for value in unpack_struct(shape, pack_struct(shape, *interests))]


def profile_arguments(
    wall_ms: int,
    ttl_ms: int,
    valid_until_ms: int,
    first_seen_ms: int,
    segments: Sequence[str],
    interests: Sequence[float],
) -> list[bytes]:
    """Arguments of PROFILE. Raises OverflowError for interests that are no float32."""
    return [
        *(b"%d" % wall_ms, b"%d" % ttl_ms, b"%d" % valid_until_ms, b"%d" % first_seen_ms),
        *(b"%d" % len(segments), *[segment.encode() for segment in segments], *rounded(interests)),
    ]


class Reading(NamedTuple):
    """What a person's hash says, beside the state."""

    alias: str  # of whom this is only an alias, "" of nobody
    ended: list[bytes]  # bids whose holds have ended
    stale: list[bytes]  # fields of pending weights that have ended
    crowded: bool  # too much is under way to be told apart


NOTHING_ELSE = Reading("", [], [], False)


def read_counts(state: UserState, fields: list[bytes], now: bytes) -> Reading:
    """Fill `state` from the fields and values of a person's hash, without its own pending weight.

    `now` is a `stamp`. Raises msgspec.DecodeError or ValueError for what is not ours.
    """
    pairs = iter(fields)
    own, weight, held = state.token, 0, state.held
    alias = ""
    ended: list[bytes] = []
    stale: list[bytes] = []
    for field, value in zip(pairs, pairs, strict=True):
        kind = field[0]
        if kind == _WEIGHT:
            if value[3:16] <= now:
                stale.append(field)
            elif field[1:] != own:
                weight += int(value[:3])
        elif kind == _HOLD:
            if value[:13] > now:
                for entity in value[37:].decode().split(","):
                    held[entity] = held.get(entity, 0) + 1
            else:
                ended.append(field[1:])
        elif field == b"i":
            state.shown = {entity: tuple(times[1::2]) for entity, times in _shown.decode(value).items()}
        elif field == b"f":
            state.first_seen_ms = int(value)
        elif field == b"l":
            state.last_seen_ms = int(value)
        elif kind == _ALIAS:
            alias = value.decode()
    state.pending = weight
    if ended:
        _ripen(state, fields, ended)
    crowded = len(fields) > 2 * MAX_UNDER_WAY
    return Reading(alias, ended, stale, crowded) if alias or ended or stale or crowded else NOTHING_ELSE


def _ripen(state: UserState, fields: list[bytes], ended: list[bytes]) -> None:
    """Count what was won among the holds that have ended, as RIPEN will."""
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if field[0] == _HOLD and field[1:] in ended and value[26] == _WON:
            for entity in value[37:].decode().split(","):
                times = list(state.shown.get(entity, ()))
                insort(times, int(value[13:26]))
                state.shown[entity] = tuple(times)
